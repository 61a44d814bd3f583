"""Partitions that are past the limit as a whole: detached, archived where asked, and dropped, instead of deleted.

Each step may be the last one of a killed run. The audit notes a partition before it is detached; the next run goes on
with every one that is noted and still there.
"""

from __future__ import annotations

from typing import Any

from dbjob_session import JobError, Session, identifier
from psycopg2 import sql

# Partitions that end at or before the cutoff.
EXPIRED = """
SELECT
    c.oid, format('%%I.%%I', n.nspname, c.relname) AS name, pg_get_expr(c.relpartbound, c.oid) AS bounds,
    h.inhdetachpending AS half_detached, true AS attached
FROM pg_inherits AS h
INNER JOIN pg_class AS c ON c.oid = h.inhrelid
INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE h.inhparent = %(oid)s
    AND substring(pg_get_expr(c.relpartbound, c.oid) FROM ' TO \\(''([^'']+)''\\)$')::{type} <= %(cutoff)s::{type}
ORDER BY bounds
"""
# Partitions that an earlier run has noted and detached, and whether they are past the limit of today: the policy may
# keep more than it did then.
DETACHED = """
SELECT
    c.oid, format('%%I.%%I', n.nspname, c.relname) AS name, p.bounds, false AS half_detached, false AS attached,
    (substring(p.bounds FROM ' TO \\(''([^'']+)''\\)$')::{type} <= (now() - make_interval(days => %s))::{type}) IS TRUE
    AS expired
FROM {schema}.retention_partition AS p
INNER JOIN pg_class AS c ON c.oid = p.partition_oid
INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE p.table_name = %s AND p.dropped_at IS NULL AND NOT c.relispartition
    AND format('%%I.%%I', n.nspname, c.relname) = p.partition_name
ORDER BY p.bounds
"""
DEFAULT = (
    "SELECT EXISTS (SELECT FROM pg_inherits AS h INNER JOIN pg_class AS c ON c.oid = h.inhrelid"
    " WHERE h.inhparent = %s AND pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT')"
)
# DETACH … CONCURRENTLY waits for every transaction that uses the table, and is finished later where that takes too
# long. The plain one, which a DEFAULT partition asks for, has everybody wait behind it: a second.
PATIENT, SHORT = {"lock_timeout": "60s"}, {"lock_timeout": "1s"}


def expired(session: Session, policy: Any, cutoff: str) -> list[dict[str, Any]]:
    """Return the partitions that are past the limit."""
    query = sql.SQL(EXPIRED).format(type=sql.SQL(policy.type))
    return session.run(query, {"oid": policy.oid, "cutoff": cutoff})


def detached(session: Session, audit: Any, policy: Any) -> list[dict[str, Any]]:
    """Return the partitions that a killed run has detached and not dropped; `expired` where they still may go."""
    return session.run(audit.sql(DETACHED, type=sql.SQL(policy.type)), [policy.keep_days, policy.name])


def detach(session: Session, policy: Any, partition: dict[str, Any], lock_wait: float) -> None:
    """Take a partition out of its table, under the lock of the optimization module, without stopping readers."""
    if not partition["attached"]:
        return
    default = session.value(DEFAULT, [policy.oid])
    how = "FINALIZE" if partition["half_detached"] else "" if default else "CONCURRENTLY"
    statement = sql.SQL("ALTER TABLE {} DETACH PARTITION {} {}").format(
        policy.table, identifier(partition["name"]), sql.SQL(how)
    )
    with session.lock(lock_wait), session.settings(**(SHORT if default else PATIENT)):
        session.run(statement)


def drop(session: Session, audit: Any, row: int, partition: dict[str, Any], archive: Any) -> None:
    """Archive the rows of a detached partition where asked, and drop it."""
    table = identifier(partition["name"])
    with session.transaction():
        session.run(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(table))
        if session.value("SELECT relispartition FROM pg_class WHERE oid = %s", [partition["oid"]]):
            raise JobError(f"{partition['name']} is attached again: it stays")
        rows = int(session.value(sql.SQL("SELECT count(*) FROM {}").format(table)))
        if archive is not None:
            archive.append(session, sql.SQL("FROM {}").format(table), rows)
        session.run(sql.SQL("DROP TABLE {}").format(table))
        audit.note_dropped(partition["oid"], rows, archive and str(archive.path).removesuffix(".partial"))
        audit.add_deleted(row, rows)
