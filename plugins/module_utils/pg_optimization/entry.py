"""What the modules have in common: the parameters of the login, of waiting and of disk space, and how a module ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .apply import Patience
from .errors import OptimizationError
from .run import Request, Space, bytes_given


def common_spec(*, lock_timeout: float, lock_budget: float) -> dict[str, Any]:
    """Return the parameters that every module has.

    Args:
        lock_timeout: default of the longest wait of one attempt, in seconds.
        lock_budget: default of the longest wait of all attempts, in seconds.
    """
    return {
        "login_db": {"type": "str", "required": True, "aliases": ["db", "database"]},
        "login_user": {"type": "str", "default": "postgres"},
        "login_password": {"type": "str", "no_log": True},
        "login_host": {"type": "str", "default": "", "aliases": ["host"]},
        "login_port": {"type": "int", "default": 5432, "aliases": ["port"]},
        "login_unix_socket": {"type": "path", "default": ""},
        "ssl_mode": {
            "type": "str",
            "choices": ["allow", "disable", "prefer", "require", "verify-ca", "verify-full"],
            "default": "prefer",
        },
        "ca_cert": {"type": "path", "aliases": ["ssl_rootcert"]},
        "session_role": {"type": "str"},
        "lock_timeout": {"type": "float", "default": lock_timeout},
        "lock_budget": {"type": "float", "default": lock_budget},
        "build_wait": {"type": "float", "default": 600.0},
        "run_wait": {"type": "float", "default": 60.0},
        "space_check": {"type": "str", "choices": ["when_known", "required", "off"], "default": "when_known"},
        "space_reserve": {"type": "int", "default": 0},
        "free_space": {"type": "dict", "default": {}},
    }


def request(
    params: Mapping[str, Any],
    *,
    check: bool,
    search_path: tuple[str, ...],
    session_settings: Mapping[str, Any] | None = None,
) -> Request:
    """Return what a run is given, from a module's parameters.

    Raises:
        RefusedError: the free space is no number of bytes.
    """
    host = params["login_host"] or params["login_unix_socket"]
    connection = {
        "dbname": params["login_db"],
        "user": params["login_user"],
        "password": params["login_password"],
        "host": host,
        "port": params["login_port"],
        "sslmode": params["ssl_mode"],
        "sslrootcert": params["ca_cert"],
    }
    return Request(
        params=params,
        connection={key: value for key, value in connection.items() if value not in {None, ""}},
        session_role=params["session_role"],
        search_path=search_path,
        session_settings={key: str(value) for key, value in (session_settings or {}).items()},
        patience=Patience(params["lock_timeout"], params["lock_budget"], params["build_wait"]),
        lock_wait=params["run_wait"],
        space=Space(
            policy=params["space_check"],
            given=bytes_given(params["free_space"]),
            reserve=params["space_reserve"],
            local=not host or host.startswith("/"),
        ),
        check=check,
    )


def difference(actions: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return the actions as differences for --diff."""
    return [
        {
            "before_header": f"{action['kind']} {action['name']}",
            "after_header": f"{action['kind']} {action['name']} ({action['action']}: {action['reason']})",
            "before": action["before"],
            "after": action["after"],
        }
        for action in actions
    ]


def end(module: Any, result: dict[str, Any], error: OptimizationError | None) -> None:
    """End a module with its result: its warnings said, and its differences where they are asked for."""
    for warning in result.pop("warnings"):
        module.warn(warning)
    if module._diff:
        result["diff"] = difference(result["actions"])
    if error is not None:
        module.fail_json(msg=error.message, **result)
    module.exit_json(**result)
