"""What a check is, and what its rows mean."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

# Tests give another root.
ROOT = Path(os.environ.get("HEALTH_ROOT", "/"))
FRAGMENTS, STATE = ROOT / "etc/mltrading-db/health.d", ROOT / "var/lib/mltrading-db"

EXIT_CODES = {"ok": 0, "warning": 1, "critical": 2, "unknown": 3}
# The worst first. What is not configured, or has no data yet, is nobody's fault and nobody's alarm.
RANKS = ("critical", "unknown", "warning", "ok", "no_data", "info", "not_configured")
UNITS = {"": 1, "s": 1, "min": 60, "h": 3600, "d": 86400, "ms": 1, "kB": 1024, "MB": 1024**2, "GB": 1024**3}
LEVEL = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")
SETTINGS: dict[str, Any] = {
    "server": True,
    "environment": "ENV",
    "os_user": "",
    "host": "/run/postgresql",
    "port": 5432,
    "user": "postgres",
    "role": "monitor",
    "standbys": [],
    "jobs": [],
    "certificates": [],
    "data": "/var/lib/postgresql",
    "disks": [],
    "timeout": "5s",
}


Rows = list[dict[str, Any]]


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
    kept: bool = False
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

    @property
    def shown(self) -> str:
        """The value that decided, as a person says it; what never was is `never`."""
        said = self.rows[0].get("shown") if self.rows else None
        return str(said) if said else shown(self.value, self.check.unit)

    def as_json(self) -> dict[str, Any]:
        """The result as other programs read it."""
        check = self.check
        return {
            "name": check.name, "title": check.title, "unit": check.unit, "warning": check.warning,
            "critical": check.critical, "below": check.below, "do": self.advice, "state": self.state, "text": self.text,
            "value": self.value, "shown": self.shown, "ms": round(1000 * self.seconds, 1),
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
    for check in checks:
        check["do"] = re.sub(r"\bENV\b", settings["environment"], check.get("do", ""))
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


def number(value: float) -> str:
    """A number in few digits: 1,234, 87.1, 0.05."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"  # noqa: PLR2004


def shown(value: float | None, unit: str) -> str:
    """A value with its unit, as a person says it."""
    if value is None:
        return "no data"
    if unit == "bytes":
        power = next((power for power in range(5) if abs(value) < 1000 * 1024**power), 4)
        return f"{number(value / 1024**power)} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"
    if unit == "seconds":
        for name, size in (("d", 86400), ("h", 3600), ("min", 60)):
            if abs(value) >= (size if name == "h" else 2 * size):
                return f"{number(value / size)} {name}"
        return f"{number(value)} s"
    return number(value) if unit in ("", "count") else f"{number(value)} {unit}"


def worst(results: list[Result]) -> str:
    """The state of all together: critical before unknown before warning. Of nothing, nothing is known."""
    states = {result.state for result in results}
    return next((state for state in RANKS[:3] if state in states), "ok" if states else "unknown")


def row(item: str, value: float | None, detail: str) -> dict[str, Any]:
    """One row of a check. One that carries a state already, as `unknown`, keeps it."""
    return {"item": item, "value": value, "detail": detail}


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
    states = ["info" if one["item"] in check.quiet else check.state_of(one["value"]) for one in found]
    rows = [{**one, "state": one.get("state", state)} for one, state in zip(found, states, strict=True)]
    # Among rows of one state the value that is farthest out.
    outward = -1 if check.below else 1
    rows.sort(key=lambda one: (RANKS.index(one["state"]), -outward * (one["value"] or 0)))
    first = rows[0]
    where = f"{first['item']}: " if first.get("item") else ""
    detail = f" ({first['detail']})" if first.get("detail") else ""
    others = sum(one["state"] == first["state"] for one in rows[1:]) if first["state"] in RANKS[:3] else 0
    more = f", and {others} more" if others else ""
    text = f"{where}{shown(first['value'], check.unit)}{detail}{more}{as_of}"
    if first["value"] is None and (first["state"] in RANKS[:3] or "shown" in first):
        text = f"{where}{first['detail']}{more}{as_of}"
    # Where every row is quiet there is nothing to alarm about.
    state = "ok" if first["state"] == "info" else first["state"]
    return Result(check, state, text, first["value"], tuple(rows))
