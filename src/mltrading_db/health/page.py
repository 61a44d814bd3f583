"""One page on how an environment does, that needs nothing beside it: no network, no script."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment as Templates
from jinja2 import PackageLoader
from markupsafe import Markup, escape

from mltrading_db.health import charts
from mltrading_db.health.answers import PROBLEMS, Environment, Host, Row

# Commands and paths in what there is to do.
CODE = re.compile(
    r"(mldb \w+ [\w-]+(?: [\w.-]+(?= --))?(?: --[\w-]+(?: (?:&#39;[^&]*&#39;|[\w.-]*\w))?)*"
    r"|health --check \w+|dbjob \w+|(?:playbooks|docs)/[\w/]+\.\w+|/(?:etc|var)/[\w./-]*\w|pg_\w+\(\w*\))"
)
MOST_INDEXES, MOST_LINES = 14, 6
# What is told at a glance, by check; and what is told of each host.
GLANCE = {
    "database_size": "Largest database", "connections": "Connections", "query_time": "Slowest operation",
    "error_rate": "Operations that fail", "replication_lag_bytes": "Standby behind", "archive_age": "WAL not archived",
    "backup_age": "Last backup", "drill_age": "Last restore drill",
}  # fmt: skip
OF_HOST = {"connections": "connections", "disk": "disk"}
ORDER = ("critical", "unknown", "warning", "ok")
# What an age says of something that never was.
NEVER = "never"
STANDBY_PREFIX = "replica_"
WORDS = {"not_configured": "not configured", "no_data": "no data", "info": "info"}


@dataclass(frozen=True)
class Picture:
    """A chart with what it shows, and where there is nothing to draw, why."""

    title: str
    caption: str
    svg: Markup | None = None
    missing: str = ""


def when(seconds: float) -> str:
    """A time for a person."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC") if seconds else "never"


def with_code(text: str) -> Markup:
    """A sentence with its commands and paths as code."""
    return Markup(CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704  # escaped before


def word(state: str) -> str:
    """A state for a person."""
    return WORDS.get(state, state)


def series(host: Host, name: str, *, prefix: str = "") -> dict[str, charts.Points]:
    """What the history of a host has of a check: points by item."""
    found: dict[str, charts.Points] = {}
    for sample in host.history:
        for item, value in sample["values"].get(name, {}).items():
            found.setdefault(f"{prefix}{item}", []).append((sample["time"], value))
    return found


def drawn(title: str, caption: str, svg: str | None, missing: str) -> Picture:
    """A picture, or why there is none."""
    return Picture(title, caption, Markup(svg) if svg else None, missing)  # noqa: S704  # made here, of escaped text


def over_time(hosts: list[Host], name: str, title: str, caption: str) -> Picture:
    """A check's values over time, of the hosts that have it."""
    many = len(hosts) > 1
    found: dict[str, charts.Points] = {}
    for host in hosts:
        found |= series(host, name, prefix=f"{host.name} " if many else "")
    check = next((one for host in hosts if (one := host.check(name))), None)
    # The worst of all hosts, by their last values; how many there are besides is said.
    outward = 1 if check and check["below"] else -1
    left_out = max(0, len(found) - MOST_LINES)
    worst = sorted(found, key=lambda name: outward * found[name][-1][1])[:MOST_LINES]
    # By name, so that a host has the same colour in each picture.
    found = {name: found[name] for name in sorted(worst)}
    if left_out:
        caption = f"{caption} The {MOST_LINES} worst; {left_out} more are not drawn."
    if check is None or not found:
        state = "The job health_history has not collected any value yet."
        if check is not None and check["state"] == "not_configured":
            state = "Not configured on these hosts."
        elif check is not None and check["shown"] == NEVER:
            state = "There was none yet."
        return drawn(title, caption, None, state)
    picture = charts.lines(title, found, check["unit"], check["warning"], below=check["below"])
    return drawn(title, caption, picture, "")


def pictures_of_load(environment: Environment) -> list[Picture]:
    """Query time, errors, connections and hit ratio."""
    primary = environment.primary or (environment.hosts[0] if environment.hosts else None)
    hosts = [host for host in environment.hosts if host.role in ("primary", "standby")]
    performance = primary.rows("performance_by_hour") if primary else []
    errors = primary.rows("errors_by_hour") if primary else []
    return [
        drawn(
            "Query time by hour",
            f"Of the {sum(row['calls'] for row in performance):,} operations that were logged; times in UTC.",
            charts.times_by_hour(performance) if performance else None, "No operation was logged in 24 hours.",
        ),
        drawn(
            "Errors by hour", f"By type, from error_logs: {sum(row['errors'] for row in errors):,} in 24 hours.",
            charts.errors_by_hour(errors) if errors else None, "No error was logged in 24 hours.",
        ),
        over_time(hosts, "connections", "Connections in use", "Of those that max_connections leaves to clients."),
        over_time(hosts, "index_hit_ratio", "Index pages found in memory",
                  "Of the hour before each point; below 95 % needs a look."),
    ]  # fmt: skip


def pictures_of_data(environment: Environment) -> list[Picture]:
    """Sizes over time, tables, and the use of indexes."""
    primary = environment.primary
    hosts = [primary] if primary else []
    tables = primary.rows("table_sizes") if primary else []
    indexes = primary.rows("index_usage") if primary else []
    sizes = [(row["relation"].removeprefix("public."), row["bytes"]) for row in tables[:8]]
    scans = [(row["index_name"].removeprefix("public."), row["scans"]) for row in indexes[:MOST_INDEXES]]
    return [
        over_time(hosts, "database_size", "Size of the databases", "On the primary, over what the history holds."),
        drawn("Largest tables", "With their indexes.", charts.bars("Largest tables", sizes, "bytes") if sizes else None,
              "There is no table."),
        drawn("Use of the indexes", "Scans since the statistics were reset, the most used first.",
              charts.bars("Use of the indexes", scans, "count") if scans else None, "There is no index."),
        over_time(list(environment.hosts), "disk", "Disks in use", "Each file system once."),
    ]  # fmt: skip


def pictures_of_safety(environment: Environment) -> list[Picture]:
    """Replication and what a restore would need, over time."""
    hosts = list(environment.hosts)
    return [
        over_time(hosts, "replication_lag_bytes", "WAL not replayed", "Seen from each server."),
        over_time(hosts, "backup_age", "Age of the last good backup", "Falls to nought at each backup."),
        over_time(hosts, "dump_age", "Age of the last good dump", "Falls to nought at each dump."),
        over_time(hosts, "drill_age", "Age of the last good restore drill", "A backup that was restored is one."),
    ]


def normalized(name: str) -> str:
    """A host's name as a standby tells it to its primary: roles/postgresql_replica/vars/main.yml."""
    return re.sub(r"[^a-z0-9]", "_", name.lower())


def row_of(host: Host, rows: list[Row]) -> Row | None:
    """The row that a primary has of a standby, by its whole name."""
    names = {normalized(host.name), f"{STANDBY_PREFIX}{normalized(host.name)}"}
    return next((row for row in rows if normalized(row["item"]) in names), None)


def link(host: Host, primaries: list[Host]) -> str:
    """How a host hangs on the primary: in words, of which none is a guess."""
    if host.role != "standby":
        return {"no server": "jobs only", "primary": "another primary"}.get(host.role, "no answer")
    if len(primaries) != 1:
        return "of which primary is not known" if primaries else "without a primary"
    lag = primaries[0].check("replication_lag_bytes")
    if lag is None or lag["state"] == "unknown":
        return "no lag known"
    found = row_of(host, lag["rows"])
    if found is None:
        return "not connected"
    # Of a standby that has stopped replaying, only its own value grows.
    times = [row_of(host, primaries[0].rows("replication_lag_seconds")), *host.rows("replication_lag_seconds")[:1]]
    known = [row["value"] for row in times if row and row["value"] is not None]
    late = f" and {charts.seconds_text(max(known))}" if known else ""
    return f"{charts.bytes_text(found['value'])}{late} behind"


def topology(environment: Environment) -> dict[str, Any]:
    """The primary, and the other hosts with how they hang on it."""
    primaries = [host for host in environment.hosts if host.role == "primary"]
    first = primaries[0] if primaries else None
    others = [{"host": host, "link": link(host, primaries)} for host in environment.hosts if host is not first]
    return {"primary": first, "others": others}


def glance(environment: Environment) -> list[dict[str, str]]:
    """The numbers to begin with: of each check the worst that a host says; what no host has is left out."""
    found = []
    for name, title in GLANCE.items():
        answers = (host.check(name) for host in environment.hosts)
        checks = [check for check in answers if check and (check["state"] in ORDER or check["shown"] == NEVER)]
        if checks:
            least = min if checks[0]["below"] else max
            # What never was, and is not late yet, comes before what is well.
            ranks = [*ORDER[:3], "no_data", *ORDER[3:]]
            rank = min(ranks.index(check["state"]) for check in checks)
            worst = least(
                (check for check in checks if ranks.index(check["state"]) == rank), key=lambda one: one["value"] or 0
            )
            missing = worst["value"] is None and worst["shown"] != NEVER
            value = "?" if worst["state"] == "unknown" else "none" if missing else worst["shown"]
            found.append({"title": title, "shown": value, "state": worst["state"], "text": worst["text"]})
    return found


def facts(host: Host) -> str:
    """What a host's card says of it."""
    checks = ((label, host.check(name)) for name, label in OF_HOST.items())
    return ", ".join(f"{label} {check['shown']}" for label, check in checks if check and check["state"] in ORDER)


def backups(environment: Environment) -> list[dict[str, str]]:
    """The backups of every repository, the newest first, as a person reads them."""
    rows = [(host.name, row) for host in environment.hosts for row in host.rows("backups")]
    return [
        {
            "host": name, "label": row["item"], "type": row["type"], "detail": row["detail"],
            "when": when(datetime.fromisoformat(row["started"]).timestamp()),
            "took": charts.seconds_text(row["duration_seconds"]),
            "database": charts.bytes_text(row["database_bytes"]), "kept": charts.bytes_text(row["repository_bytes"]),
        }
        for name, row in sorted(rows, key=lambda pair: str(pair[1]["started"]), reverse=True)
    ]  # fmt: skip


def drills(environment: Environment) -> list[str]:
    """What the last drill of every repository measured, a sentence each."""
    said = []
    for host in environment.hosts:
        for row in host.rows("drills"):
            at = when(datetime.fromisoformat(row["finished"]).timestamp())
            point, took = row["recovery_point_seconds"], row["recovery_time_seconds"]
            if row["ok"] and point is not None and took is not None:
                said.append(
                    f"The restore drill on {host.name} at {at}: back after {charts.seconds_text(took)} (recovery time),"
                    f" with all but the last {charts.seconds_text(point)} (recovery point)."
                )
            else:
                said.append(f"The restore drill on {host.name} at {at} did not find all well.")
    return said


def jobs(environment: Environment) -> list[dict[str, Any]]:
    """Every job of every host: how it did, and whether it is late."""
    found = []
    for host in environment.hosts:
        late = {row["item"]: row for row in host.rows("job_overdue")}
        did = {row["item"]: row for row in host.rows("job_failures")}
        for name in sorted({*late, *did}):
            rows = [row for row in (did.get(name), late.get(name)) if row]
            state = next((state for state in PROBLEMS if state in {row["state"] for row in rows}), "ok")
            said = did[name]["detail"] if name in did else "has not run yet"
            # "last started 2026-11-24T02:15:04+00:00"
            started = late.get(name, {}).get("detail", "").removeprefix("last started ")
            if started[:1].isdigit():
                started = started[:16].replace("T", " ")
            overdue = late.get(name, {}).get("value") or 0
            found.append({
                "host": host.name, "name": name, "state": state, "said": said,
                "when": started, "overdue": charts.seconds_text(overdue) if overdue else "",
            })  # fmt: skip
    return sorted(found, key=lambda job: ([*PROBLEMS, "ok"].index(job["state"]), job["host"], job["name"]))


def rendered(environment: Environment) -> str:
    """The page."""
    templates = Templates(
        loader=PackageLoader("mltrading_db.health", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    templates.filters["when"] = when
    templates.filters["word"] = word
    templates.filters["with_code"] = with_code
    templates.filters["facts"] = facts
    return templates.get_template("page.html.j2").render(
        environment=environment,
        problems=environment.problems(),
        glance=glance(environment),
        topology=topology(environment),
        load=pictures_of_load(environment),
        data=pictures_of_data(environment),
        safety=pictures_of_safety(environment),
        backups=backups(environment),
        drills=drills(environment),
        jobs=jobs(environment),
        checks=[(name, title) for name, title in environment.check_names().items() if has_levels(environment, name)],
    )


def has_levels(environment: Environment, name: str) -> bool:
    """Whether a check can alarm; one that informs is shown as a picture."""
    return any((check := host.check(name)) is not None and check["state"] != "info" for host in environment.hosts)
