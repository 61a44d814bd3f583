"""What is in a table now, and whether a policy may be carried out on it.

Every time is the server's own text, or seconds since 1970: Python has no year before 1 or after 9999, and a row of such
a year is not to end what is done for the other tables.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from dbjob_session import JobError, Session, StoppedError
from psycopg2 import sql
from retention_effects import hindrance
from retention_policy import Policy

# A row may be dated ahead, as a prediction is; a table of which the newest row is further ahead has wrong rows, or the
# server a wrong clock.
AHEAD = timedelta(days=1).total_seconds()
# A row of a date may be of any time of its day.
DAY = timedelta(days=1).total_seconds()
# Of fewer rows a share says nothing: a table of ten loses half of them any night.
FEW = 100

# The end of the newest partition that is past a limit. DEFAULT, and one up to MAXVALUE, have none.
LAST_BOUND = """
SELECT coalesce(max(b.bound), '-infinity')::text
FROM pg_inherits AS h
INNER JOIN pg_class AS c ON c.oid = h.inhrelid
CROSS JOIN LATERAL (
    SELECT substring(pg_get_expr(c.relpartbound, c.oid) FROM ' TO \\(''([^'']+)''\\)$')::{type} AS bound
) AS b
WHERE h.inhparent = %s AND b.bound <= %s::{type}
"""
COUNT = """
SELECT
    count(*) AS rows,
    count(*) FILTER (WHERE {column} < %(cutoff)s::{type}) AS expired,
    count(*) FILTER (WHERE {column} < %(cutoff)s::{type} AND ({column} < %(confirmed)s::{type}) IS NOT TRUE)
    AS unconfirmed,
    (min({column}) FILTER (WHERE {column} >= %(cutoff)s::{type}))::text AS oldest_kept,
    max({column})::text AS newest,
    extract(epoch FROM max({column}))::float8 AS newest_at,
    to_char(now(), 'YYYY-MM-DD HH24:MI') AS now,
    extract(epoch FROM now())::float8 AS now_at
FROM {table}
"""


@dataclass(frozen=True)
class Sight:
    """What is in a table. Times as text of the column's type, for people and for the queries that follow.

    `newest_at` and `now_at` are in seconds since 1970; the first may be infinite, and is None where there is no row.
    """

    cutoff: str = ""
    rows: int = 0
    expired: int = 0
    unconfirmed: int = 0
    oldest_kept: str | None = None
    newest: str | None = None
    newest_at: float | None = None
    now: str = ""
    now_at: float = 0.0

    @property
    def percent(self) -> float:
        """Return the share of the table that would go and that nobody confirmed."""
        return 100 * self.unconfirmed / self.rows if self.rows else 0.0

    @property
    def ahead(self) -> bool:
        """Whether the newest row is further in the future than rows are dated ahead."""
        return self.newest_at is not None and self.newest_at > self.now_at + AHEAD


# A policy, what was seen of its table, and why it cannot be carried out, or nothing.
Seen = tuple[Policy, Sight, str]


def observe(
    session: Session, policies: list[Policy], owner: str, confirmed_until: Callable[[Policy], str | None]
) -> list[Seen]:
    """Look at each table; one that cannot be looked at, or not be deleted from, has its own policy refused."""
    seen = []
    for policy in policies:
        sight, why = Sight(), ""
        try:
            why = hindrance(session, policy, owner)
            sight = look(session, policy, confirmed_until(policy))
        except StoppedError:
            raise
        except JobError as error:
            why = why or f"its rows cannot be counted: {error}"
        seen.append((policy, sight, why))
    return seen


def look(session: Session, policy: Policy, confirmed_until: str | None) -> Sight:
    """Count, exactly. Rows before `confirmed_until` have been confirmed by a person."""
    names = {"column": policy.time, "type": sql.SQL(policy.type), "table": policy.table}
    cutoff = session.value(
        sql.SQL("SELECT (now() - make_interval(days => %s))::{type}::text").format(**names), [policy.keep_days]
    )
    if policy.by_time:
        # Partitions go as a whole: the limit is the last bound before it.
        cutoff = session.value(sql.SQL(LAST_BOUND).format(**names), [policy.oid, cutoff])
    row: dict[str, Any] = session.run(sql.SQL(COUNT).format(**names), {"cutoff": cutoff, "confirmed": confirmed_until})[
        0
    ]
    if policy.type == "date" and row["newest_at"] is not None:
        row["newest_at"] = min(row["newest_at"] + DAY, max(row["now_at"], row["newest_at"]))
    return Sight(cutoff=cutoff, **row)


def implausible(sights: list[Sight], silence: timedelta) -> str:
    """Return why the rows do not believe the clock, or nothing; other clocks are asked by dbjob_clock.

    A clock that is ahead makes rows look old. Where no table has a row of the last day, either it is ahead or the
    application stands still, and neither is a reason to delete. Rows of the far future say nothing of the clock.
    """
    dated = [(sight.newest_at, sight) for sight in sights if sight.newest_at is not None and not sight.ahead]
    if not dated or not silence:
        return ""
    newest_at, newest = max(dated, key=lambda item: item[0])
    if newest.now_at - newest_at > silence.total_seconds():
        return (
            f"the server's clock says {newest.now} UTC, and the newest row of all tables is of {newest.newest}: "
            f"the clock is ahead, or nothing writes. Correct the clock, or, where tables may be silent for longer, "
            f"raise the longest silence"
        )
    return ""


def objection(policy: Policy, sight: Sight, most_percent: float, confirmed: bool) -> str:
    """Return why a policy is not carried out now, or nothing."""
    if sight.ahead:
        return (
            f"its newest row is of {sight.newest}, and the server's clock says {sight.now} UTC: "
            f"correct the rows or the clock"
        )
    if sight.percent > most_percent and sight.unconfirmed >= FEW and not confirmed:
        return (
            f"{sight.unconfirmed} of {sight.rows} rows would go, {sight.percent:.0f} % and more than the "
            f"{most_percent:g} % that go unasked. Look with --dry-run, then: --confirm {policy.name}"
        )
    return ""
