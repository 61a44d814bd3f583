"""The module that partitions, run in a test's database, and the trading database's own table and declaration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.pg_optimization.errors import OptimizationError
from ansible.module_utils.pg_optimization.run import Report
from ansible.modules import postgresql_partition as module
from conftest import Database

ROOT = Path(__file__).resolve().parents[2]
TRADING = ROOT / "roles" / "mltrading"
DEFAULTS: dict[str, Any] = {
    name: value
    for path in sorted((TRADING / "defaults" / "main").glob("*.yml"))
    for name, value in yaml.safe_load(path.read_text()).items()
}


@dataclass
class Conversion:
    """What the module returned; `failed` and `msg` as Ansible has them."""

    failed: bool
    msg: str
    result: dict[str, Any]

    @property
    def changed(self) -> bool:
        """Tell whether something was, or would be, changed."""
        return bool(self.result["changed"])

    @property
    def said(self) -> list[tuple[str, str, str]]:
        """Return (kind, name, action) of each action."""
        return [(action["kind"], action["name"], action["action"]) for action in self.result["actions"]]

    @property
    def plan(self) -> list[dict[str, Any]]:
        """Return the actions without what only a run knows."""
        known = {"state", "seconds", "stall_seconds"}
        return [{key: value for key, value in a.items() if key not in known} for a in self.result["actions"]]


def partition(db: Database, *, check: bool = False, **given: Any) -> Conversion:
    """Run the module's work in this process, as the owner, with short patience."""
    raw = {
        "login_db": db.name, "login_user": "owner", "login_unix_socket": str(db.server.home),
        "login_port": db.server.port, "table": "bars", "column": "ts", "run_wait": 20.0, "lock_budget": 10.0, **given,
    }  # fmt: skip
    validated = ArgumentSpecValidator(module.argument_spec()).validate(raw)
    assert not validated.error_messages, validated.error_messages
    params = dict(validated.validated_parameters)
    result = module.Result(Report())
    try:
        module.run(module.request(params, check=check), module.wanted(params), result)
    except OptimizationError as error:
        return Conversion(True, error.message, result.result(error))
    return Conversion(False, "", result.result())


def settle(db: Database, **given: Any) -> Conversion:
    """Run it; it must succeed, do what check mode said, and find nothing the second time."""
    check = partition(db, check=True, **given)
    assert not check.failed, check.msg
    done = partition(db, **given)
    assert not done.failed, done.msg
    assert done.plan == check.plan
    again = partition(db, **given)
    assert (again.failed, again.changed, again.said) == (False, False, []), again.msg
    return done


def trading_declaration(which: str) -> dict[str, Any]:
    """Return the declaration of the trading database, as far as it is about this table and its view."""
    table = "feature_engineered_data"

    def about(name: str) -> list[dict[str, Any]]:
        return [item for item in DEFAULTS[name] if item["table"] == table]

    queries = TRADING / "files" / "sql" / "materialized_views"
    views = [
        {key: value for key, value in view.items() if key != "query_file"}
        | {"query": (queries / f"{view['name']}.sql").read_text()}
        for view in DEFAULTS["mltrading_materialized_views"]
    ]
    return {
        "indexes": [index for index in DEFAULTS["mltrading_index_sets"][which] if index["table"] == table],
        "materialized_views": views,
        "statistics": about("mltrading_statistics"),
        "column_statistics": about("mltrading_column_statistics"),
        "table_parameters": about("mltrading_table_parameters"),
    }


def trading_table(db: Database, which: str) -> dict[str, Any]:
    """Make the table as the application does, with rows and the declaration."""
    table = (TRADING / "files" / "sql" / "tables" / "feature_engineered_data.sql").read_text()
    db.execute(f"SET ROLE owner; {table}; RESET ROLE")
    db.execute(
        "INSERT INTO feature_engineered_data"
        " (symbol, timestamp, feature_version, rsi_1d, price_ma_short, is_market_open)"
        " SELECT 'S' || s, date_trunc('hour', now()::timestamp) - t * interval '1 hour', '3.0', t, t, t % 2"
        " FROM generate_series(1, 20) s, generate_series(1, 200) t"
    )
    declaration = trading_declaration(which)
    assert not db.optimise(**declaration).failed
    return declaration
