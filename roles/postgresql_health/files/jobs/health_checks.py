"""What a check is, what its rows mean, and the server that answers it."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extras

# Tests give another root.
ROOT = Path(os.environ.get("HEALTH_ROOT", "/"))
FRAGMENTS, STATE = ROOT / "etc/mltrading-db/health.d", ROOT / "var/lib/mltrading-db"
QUERIES = Path(__file__).resolve().parent / "sql" / "health"

EXIT_CODES = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}
# The worst first. What is not configured, or has no data yet, is nobody's fault and nobody's alarm.
RANKS = ("critical", "unknown", "warning", "no_data", "ok", "info", "not_configured")
UNITS = {"": 1, "s": 1, "min": 60, "h": 3600, "d": 86400, "ms": 1, "kB": 1024, "MB": 1024**2, "GB": 1024**3}
LEVEL = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")
# The guards of every query: it reads, and takes neither long nor a lock that somebody waits behind.
GUARDS = "SET LOCAL statement_timeout = %s; SET LOCAL lock_timeout = '500ms'; SET LOCAL TimeZone = 'UTC'"
SETTINGS: dict[str, Any] = {
    "server": True,
    "os_user": "",
    "host": "/run/postgresql",
    "port": 5432,
    "user": "postgres",
    "role": "monitor",
    "replicas": 0,
    "certificates": [],
    "disks": [],
    "timeout": "5s",
}


class ConfigurationError(Exception):
    """The fragments do not describe checks."""


def level(value: float | str | None, unit: str) -> float | None:
    """A level as a number: 80, 100GB, 5min; of a check in ms, a time in seconds is turned into ms."""
    if value is None:
        return None
    found = LEVEL.fullmatch(str(value).strip())
    if not found or found[2] not in UNITS:
        raise ConfigurationError(f"{value!r} is no level: a number, with {', '.join(filter(None, UNITS))} or nothing")
    return float(found[1]) * UNITS[found[2]] * (1000 if unit == "ms" and found[2] not in ("", "ms") else 1)


@dataclass(frozen=True)
class Check:
    """One thing that is looked at. The fields are explained in checks.yml of the role postgresql_health."""

    name: str
    title: str
    unit: str = ""
    warning: float | None = None
    critical: float | None = None
    below: bool = False
    scope: str = "cluster"
    database: str = ""
    role: str = ""
    empty: str = "ok"
    needs: str = ""
    record: bool = False
    do: str = ""
    probe: str = ""
    jobs: tuple[str, ...] = ()
    quiet: tuple[str, ...] = ()
    query: str = ""
    queries: tuple[dict[str, Any], ...] = field(default=(), repr=False)

    @property
    def has_levels(self) -> bool:
        """Whether it can alarm; otherwise it informs."""
        return self.warning is not None or self.critical is not None

    def state_of(self, value: float | None) -> str:
        """What a value means."""
        if value is None:
            return "no_data"
        for state, limit in (("critical", self.critical), ("warning", self.warning)):
            if limit is not None and (value < limit if self.below else value > limit):
                return state
        return "ok"


@dataclass(frozen=True)
class Result:
    """What a check found. Rows of a check with levels have item, value, detail and state."""

    check: Check
    state: str
    text: str
    value: float | None = None
    rows: tuple[dict[str, Any], ...] = ()
    seconds: float = 0.0

    def took(self, seconds: float) -> Result:
        """The same, with the time that it took."""
        return replace(self, seconds=seconds)

    @property
    def advice(self) -> str:
        """What to do about it."""
        if self.state == "unknown":
            return "Nobody knows how this is. Mend what keeps the check from running, and look again."
        return self.check.do or "Mend what it says."

    def as_json(self) -> dict[str, Any]:
        """The result as other programs read it."""
        check = self.check
        return {
            "name": check.name, "title": check.title, "unit": check.unit, "warning": check.warning,
            "critical": check.critical, "below": check.below, "do": self.advice, "state": self.state, "text": self.text,
            "value": self.value, "shown": shown(self.value, check.unit), "ms": round(1000 * self.seconds, 1),
            "rows": list(self.rows),
        }  # fmt: skip


def read_fragments() -> list[dict[str, Any]]:
    """The fragments in the order of their names."""
    found = []
    for path in sorted(FRAGMENTS.glob("*.json")):
        try:
            found.append(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{path}: {error}") from error
    if not found:
        raise ConfigurationError(f"{FRAGMENTS} has no fragment: run playbooks/postgresql_health.yml")
    return found


def configuration() -> tuple[dict[str, Any], list[Check]]:
    """The settings and the checks of all fragments, with the levels that the inventory sets."""
    settings, levels, checks = dict(SETTINGS), {}, []
    # The engine's own fragment, which has the settings, comes first.
    for fragment in sorted(read_fragments(), key=lambda fragment: "settings" not in fragment):
        settings |= fragment.get("settings", {})
        levels |= fragment.get("levels", {})
        common = {name: fragment[name] for name in ("database", "role") if fragment.get(name)}
        checks += [common | check for check in fragment["checks"]]
    strange = set(levels) - {check["name"] for check in checks}
    if strange:
        raise ConfigurationError(f"levels are set for {', '.join(sorted(strange))}, which no check is named")
    return settings, [made(check | levels.get(check["name"], {})) for check in checks]


def made(given: dict[str, Any]) -> Check:
    """A check from a fragment."""
    unit = given.get("unit", "")
    try:
        return Check(
            **given
            | {name: level(given.get(name), unit) for name in ("warning", "critical")}
            | {name: tuple(given.get(name, ())) for name in ("jobs", "queries", "quiet")}
        )
    except TypeError as error:
        raise ConfigurationError(f"check {given.get('name')}: {error}") from error


def plain(value: Any) -> Any:
    """A value of the server as JSON has it."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value.isoformat() if isinstance(value, date | datetime) else value


def number(value: float) -> str:
    """A number in few digits: 1,234, 87.1, 0.05."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"  # noqa: PLR2004


def shown(value: float | None, unit: str) -> str:
    """A value with its unit, as a person says it."""
    if value is None:
        return "no data"
    if unit == "bytes":
        power = next((power for power in range(5) if abs(value) < 1000 * 1024**power), 4)
        return f"{number(value / 1024**power)} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"
    if unit == "seconds":
        for name, size in (("d", 86400), ("h", 3600), ("min", 60)):
            if value >= (size if name == "h" else 2 * size):
                return f"{number(value / size)} {name}"
        return f"{number(value)} s"
    return number(value) if unit in ("", "count") else f"{number(value)} {unit}"


def worst(results: list[Result]) -> str:
    """The state of all together: critical before unknown before warning."""
    states = {result.state for result in results}
    return next((state for state in RANKS[:3] if state in states), "ok")


def unknown(check: Check, error: Exception) -> Result:
    """The result of a check that could not run."""
    said = str(error).strip().splitlines()
    return Result(check, "unknown", f"cannot run: {said[0] if said else type(error).__name__}")


def judged(check: Check, found: list[dict[str, Any]], *, as_of: str = "") -> Result:
    """The result of a check from its rows: the worst of them."""
    if not check.has_levels:
        return Result(check, "info", f"{len(found)} row{'' if len(found) == 1 else 's'}", len(found), tuple(found))
    if not found:
        return Result(check, check.empty, {"ok": "none", "no_data": "no data"}.get(check.empty, "not configured"))
    rows = [row | {"state": "info" if row["item"] in check.quiet else check.state_of(row["value"])} for row in found]
    # Among rows of one state the value that is farthest out.
    outward = -1 if check.below else 1
    rows.sort(key=lambda row: (RANKS.index(row["state"]), -outward * (row["value"] or 0)))
    first = rows[0]
    where = f"{first['item']}: " if first.get("item") else ""
    detail = f" ({first['detail']})" if first.get("detail") else ""
    others = sum(row["state"] == first["state"] for row in rows[1:]) if first["state"] in RANKS[:3] else 0
    more = f", and {others} more" if others else ""
    text = f"{where}{shown(first['value'], check.unit)}{detail}{more}{as_of}"
    return Result(check, first["state"], text, first["value"], tuple(rows))


class Server:
    """The server of this host: a connection for each database, made when it is needed."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """Connect to nothing yet."""
        self.settings = settings
        self.connections: dict[str, Any] = {}
        self.refused = ""
        self.known_extensions: set[str] | None = None

    def connection(self, database: str) -> Any:
        """The connection to a database. A server that refused once is not asked again."""
        if self.refused:
            raise ConnectionError(self.refused)
        if database not in self.connections:
            try:
                connection = psycopg2.connect(
                    host=self.settings["host"], port=self.settings["port"], user=self.settings["user"],
                    dbname=database, connect_timeout=5, application_name="health",
                )  # fmt: skip
            except psycopg2.OperationalError as error:
                if database == "postgres":
                    self.refused = f"the server does not answer: {str(error).strip()}"
                raise
            connection.set_session(readonly=True)
            self.connections[database] = connection
        return self.connections[database]

    def ask(self, query: str, database: str = "postgres", role: str = "", timeout: str = "") -> list[dict[str, Any]]:
        """The rows of a query, asked read only as a role that may do no more than it needs."""
        connection = self.connection(database)
        try:
            with connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
                cursor.execute(GUARDS, [timeout or self.settings["timeout"]])
                cursor.execute("SELECT set_config('role', %s, true)", [role or self.settings["role"]])
                cursor.execute("SELECT set_config('health.replicas', %s, true)", [str(self.settings["replicas"])])
                cursor.execute(query)
                return [{name: plain(value) for name, value in row.items()} for row in cursor.fetchall()]
        finally:
            if not connection.closed:
                connection.rollback()

    def databases(self) -> list[str]:
        """The databases that hold somebody's tables."""
        query = "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate AND datname <> 'postgres'"
        return [row["datname"] for row in self.ask(f"{query} ORDER BY 1")]

    def extensions(self) -> set[str]:
        """The extensions of the database `postgres`, where those of the whole cluster are."""
        if self.known_extensions is None:
            self.known_extensions = {row["extname"] for row in self.ask("SELECT extname FROM pg_extension")}
        return self.known_extensions

    def rows(self, check: Check) -> list[dict[str, Any]]:
        """The rows of a check's query; of one that is asked in each database, the item carries its name."""
        query = (QUERIES / (check.query or f"{check.name}.sql")).read_text(encoding="utf-8")
        if check.scope == "cluster":
            return self.ask(query, check.database or "postgres", check.role)
        found = []
        for database in self.databases():
            for row in self.ask(query, database, check.role):
                item = row.get("item")
                named = {"item": database if item == database else f"{database} {item}"} if item else {}
                found.append({"database": database} | row | named)
        return found

    def about(self) -> dict[str, Any]:
        """The version and role of the server, empty where it does not answer or this host has none."""
        if not self.settings["server"]:
            return {"version": "", "role": "no server"}
        query = "SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS standby"
        try:
            # As who connects: whether the server answers does not depend on the role of the checks.
            found = self.ask(query, role="none")[0]
        except (psycopg2.Error, ConnectionError) as error:
            self.refused = self.refused or str(error).strip()
            return {"version": "", "role": "unknown"}
        return {"version": found["version"].split()[0], "role": "standby" if found["standby"] else "primary"}

    def answer(self) -> Result:
        """Whether the server answers at all: what other checks cannot tell from their own failure."""
        check = Check(
            "server", "The server answers", warning=0, critical=0,
            do="See systemctl status 'postgresql@*' and the end of the server's log; restart it after reading both.",
        )  # fmt: skip
        if self.refused:
            return Result(check, "critical", self.refused.splitlines()[0], 1)
        return Result(check, "ok", "it does", 0)

    def close(self) -> None:
        """End the connections."""
        for connection in self.connections.values():
            connection.close()
