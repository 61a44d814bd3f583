"""What the ending of a variable's name says of its value: a _port is a port. A rule returns what is wrong, or ""."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import cast

PORTS = range(1, 65536)
SHORTEST_SECRET = 20
PLACEHOLDER = "CHANGE_ME"
LONGEST_IDENTIFIER = 63
WILDCARDS = {"*", "0.0.0.0", "::"}  # noqa: S104  # refused, not listened on


def identifier(value: object) -> str:
    """A name in PostgreSQL that needs no quotes."""
    fits = re.fullmatch(r"[a-z_][a-z0-9_]*", str(value)) and len(str(value)) <= LONGEST_IDENTIFIER
    return "" if fits else f"a name in PostgreSQL is lower-case letters, digits and _, {LONGEST_IDENTIFIER} at most"


def port(value: object) -> str:
    """A TCP port."""
    return "" if int(str(value)) in PORTS else f"a port is {PORTS.start} to {PORTS.stop - 1}"


def network(value: object) -> str:
    """A network that is not the whole world."""
    try:
        found = ipaddress.ip_network(str(value))
    except ValueError as error:
        return f"a network is written as 10.0.0.0/24, and {error}"
    return "" if found.prefixlen else "it lets the whole world in"


def address(value: object) -> str:
    """Where to listen: a name or an address, and not all of them."""
    if str(value) in WILDCARDS:
        return "an address is named, never a wildcard"
    return "" if re.fullmatch(r"[A-Za-z0-9.:_-]+", str(value)) else "it is neither an address nor a name"


def secret(value: object) -> str:
    """A secret that is one, and that every file and protocol on its way carries as it is."""
    if PLACEHOLDER in str(value):
        return f"it still says {PLACEHOLDER}"
    if not isinstance(value, str):
        return "it is a number to YAML, which need not keep it as it is written: put it in quotes"
    if not re.fullmatch(r"[ -~]*", value):
        return "a secret is one line of plain ASCII"
    return "" if len(str(value)) >= SHORTEST_SECRET else f"a secret has {SHORTEST_SECRET} characters or more"


@cache
def cron_problem(project: Path) -> Callable[[str], str]:
    """The roles' own filter for schedules."""
    spec = spec_from_file_location("cron", project / "plugins/filter/cron.py")
    assert spec is not None  # noqa: S101  # it is for what is no Python
    assert spec.loader is not None  # noqa: S101
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return cast("Callable[[str], str]", module.cron_problem)


def schedule(value: object) -> str:
    """The five fields of cron."""
    return cron_problem(Path(__file__).resolve().parents[3])(str(value))


def absolute(value: object) -> str:
    """A path from the root, or from a home."""
    return "" if str(value).startswith(("/", "~")) else "a path begins with /"


def positive(value: object) -> str:
    """A count that means something."""
    return "" if float(str(value)) > 0 else "it is more than 0"


def not_negative(value: object) -> str:
    """A count."""
    return "" if float(str(value)) >= 0 else "it is 0 or more"


# What a name's ending says of each value; the first that fits is the rule.
RULES: tuple[tuple[str, Callable[[object], str]], ...] = (
    (r"_port\Z", port),
    (r"_networks\Z", network),
    (r"_listen_address(es)?\Z", address),
    (r"_(password|passphrase)\Z", secret),
    (r"_schedule\Z", schedule),
    (r"_(directory|path|dir)\Z", absolute),
    (r"_(database|owner|role)\Z", identifier),
    (
        r"_(mb|days|rows|symbols|time_limit|processes|processors|pool_size)\Z|_max_(client_)?connections\Z",
        positive,
    ),
)
COUNTS = {"int", "float"}
HOSTS = re.compile(r"_(primary|repository_host|database_hosts|replica_hosts)\Z")
