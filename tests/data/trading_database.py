"""The trading database on a real PostgreSQL 15, declared by the role's files and the module, filled by its loader."""

from __future__ import annotations

import contextlib
import importlib
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.pg_optimization.run import Report, run
from ansible.modules import postgresql_optimization
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles" / "mltrading"
SQL = ROLE / "files" / "sql"
MAJOR = 15
REAL = ("AAPL", "MSFT", "IBM", "GOOG", "FB")
END_TIME = "2026-03-13T20:00"


DEFAULTS = {
    name: value
    for path in sorted((ROLE / "defaults" / "main").glob("*.yml"))
    for name, value in yaml.safe_load(path.read_text()).items()
}
PRIVILEGES = [
    {**given, "role": {"write": "mltrading_rw", "only": "mltrading_ro"}[given["role"].split("_role")[0].split("_")[-1]]}
    for given in DEFAULTS["mltrading_privileges"]
]
BARS = Path(str(importlib.import_module("bokeh_sampledata").package_path("stocks.csv.gz")))


def applied_indexes(declaration: str) -> list[dict[str, Any]]:
    """Return the indexes that the role applies where a declaration is chosen."""
    variables = DEFAULTS | {"mltrading_declaration": declaration}
    templar = Templar(loader=DataLoader(), variables=variables)
    return list(templar.template(trust_as_template(DEFAULTS["mltrading_indexes"])))


@dataclass
class Database:
    """A trading database on the server of this session."""

    server: Any
    name: str

    def rows(self, query: Any, values: tuple[Any, ...] | None = None) -> list[tuple[Any, ...]]:
        """Return the rows of a query, asked in UTC as the superuser."""
        connection = self.server.connect(self.name, options="-c TimeZone=UTC")
        with contextlib.closing(connection), connection.cursor() as cursor:
            cursor.execute(query, values)
            return list(cursor.fetchall()) if cursor.description else []

    def value(self, query: Any, values: tuple[Any, ...] | None = None) -> Any:
        """Return the one value of a query."""
        return self.rows(query, values)[0][0]

    def missing(self) -> dict[str, list[str]]:
        """Ask what the role asks: which tables and statements are missing."""
        done = self.server.run(
            "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", str(self.server.home), "-p", str(self.server.port),
            "-U", "postgres", "-d", self.name, "-v", "owner=mltrading_owner",
            "-v", f"tables={','.join(DEFAULTS['mltrading_tables'])}", "-v", f"privileges={json.dumps(PRIVILEGES)}",
            "-f", self.readable(SQL / "missing.sql"),
        )  # fmt: skip
        found: dict[str, list[str]] = json.loads(done.stdout)
        return found

    def readable(self, path: Path) -> str:
        """Put a file where the server's user can read it."""
        copy = self.server.home / path.name
        copy.write_bytes(path.read_bytes())
        copy.chmod(0o644)
        return str(copy)

    def create_tables(self) -> None:
        """Create what is missing, in one transaction as the owner, as the role does."""
        plan = self.missing()
        files = [(SQL / "tables" / f"{name}.sql").read_text() for name in plan["tables"]]
        statements = [f"{statement};" for statement in plan["statements"]]
        self.rows("\n".join(["BEGIN; SET LOCAL ROLE mltrading_owner;", *statements, *files, "COMMIT"]))

    def declaration(self, name: str) -> dict[str, Any]:
        """The role's declaration as parameters of the module."""
        views = [
            {**view, "query": (SQL / "materialized_views" / f"{view['name']}.sql").read_text()}
            for view in DEFAULTS["mltrading_materialized_views"]
        ]
        for view in views:
            view.pop("query_file")
        append = DEFAULTS["mltrading_append_parameters"]
        parameters = [
            {**table, "parameters": append if isinstance(table["parameters"], str) else table["parameters"]}
            for table in DEFAULTS["mltrading_table_parameters"]
        ]
        return {
            "login_db": self.name, "login_unix_socket": str(self.server.home), "login_port": self.server.port,
            "session_role": "mltrading_owner", "indexes": DEFAULTS["mltrading_index_sets"][name],
            "materialized_views": views, "statistics": DEFAULTS["mltrading_statistics"],
            "column_statistics": DEFAULTS["mltrading_column_statistics"], "table_parameters": parameters,
        }  # fmt: skip

    def declare(self, name: str, **more: Any) -> dict[str, Any]:
        """Apply the role's declaration with the module, with other parameters where given; return what it did."""
        given = self.declaration(name) | more
        validated = ArgumentSpecValidator(postgresql_optimization.argument_spec()).validate(given)
        assert not validated.error_messages, validated.error_messages
        report = Report()
        run(postgresql_optimization.request(dict(validated.validated_parameters), check=False), report)
        result: dict[str, Any] = report.result()
        return result

    def script(self, name: str, *arguments: str) -> list[str]:
        """The command line of one of the role's scripts for this database."""
        return [
            sys.executable, str(ROLE / "files" / name), f"--host={self.server.home}", f"--port={self.server.port}",
            f"--database={self.name}", *arguments,
        ]  # fmt: skip

    def loader(self, **more: object) -> list[str]:
        """The command line of a load; small unless said otherwise."""
        few = self.server.home / "few.csv.gz"
        asked = {"bars": few, "rows": 1000, "symbols": 10, "seed": 1, "end_time": END_TIME} | more
        options = [f"--{key.replace('_', '-')}={value}" for key, value in asked.items()]
        return self.script("load_sample_data.py", f"--sql={SQL / 'sample'}", *options)

    def load(self, **more: object) -> dict[str, Any]:
        """Load sample data, and return what the script said."""
        done = subprocess.run(self.loader(**more), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said: dict[str, Any] = json.loads(done.stdout)
        return said
