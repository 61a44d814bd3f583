"""What is to go: the policies as declared, and what their tables are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from dbjob_session import Session, SettingsError, identifier, quoted
from psycopg2 import sql

KEYS = {"table", "column", "keep_days", "archive"}
TYPES = ("timestamp with time zone", "timestamp without time zone", "date")

TABLE = """
SELECT
    c.oid, c.relkind::text AS kind, c.relispartition AS is_partition, a.attnum, format_type(a.atttypid, NULL) AS type,
    (k.partstrat = 'r' AND k.partnatts = 1 AND k.partattrs[0] = a.attnum) IS TRUE AS by_time
FROM pg_class AS c
LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = %s AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_partitioned_table AS k ON k.partrelid = c.oid
WHERE c.oid = to_regclass(%s)
"""
# The tables whose rows are deleted: the table itself, or its partitions at the lowest level. Of a table that is
# partitioned by the time only a DEFAULT partition, as the others go as a whole.
LEAVES = """
SELECT
    format('%%I.%%I', n.nspname, c.relname) AS name,
    EXISTS (
        SELECT FROM pg_index AS i
        INNER JOIN pg_class AS x ON x.oid = i.indexrelid
        INNER JOIN pg_am AS m ON m.oid = x.relam
        INNER JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
        WHERE i.indrelid = c.oid AND a.attname = %s AND i.indisvalid AND i.indpred IS NULL AND m.amname = 'btree'
    ) AS indexed
FROM pg_class AS c
INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.oid IN (SELECT %s UNION ALL SELECT t.relid FROM pg_partition_tree(%s) AS t)
    AND c.relkind = 'r' AND (NOT %s OR pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT')
ORDER BY 1
"""


@dataclass(frozen=True)
class Policy:
    """One table and how long its rows stay. `type` is the column's, `by_time` whether it is partitioned by it."""

    name: str
    column: str
    keep_days: int
    archive: bool
    oid: int = 0
    type: str = ""
    partitioned: bool = False
    by_time: bool = False
    leaves: tuple[str, ...] = ()

    @property
    def table(self) -> sql.Identifier:
        """Return the table as an identifier."""
        return identifier(self.name)

    @property
    def time(self) -> sql.Identifier:
        """Return the column as an identifier."""
        return sql.Identifier(self.column)


def read(text: str) -> list[Policy]:
    """Read the policies.

    Raises:
        SettingsError: with everything that is wrong with them.
    """
    try:
        declared = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"RETENTION_POLICIES is no JSON: {error}") from error
    if not isinstance(declared, list) or not all(isinstance(item, dict) for item in declared):
        raise SettingsError("RETENTION_POLICIES is not a list of objects")
    problems = [problem for item in declared for problem in problems_of(item)]
    tables = [str(item.get("table")) for item in declared]
    problems += [f"{table} has two policies" for table in sorted({name for name in tables if tables.count(name) > 1})]
    if problems:
        raise SettingsError("; ".join(problems))
    return [Policy(item["table"], item["column"], item["keep_days"], item.get("archive", False)) for item in declared]


def problems_of(item: dict[str, Any]) -> list[str]:
    """Return what is wrong with one policy as it is declared."""
    who, days = str(item.get("table")), item.get("keep_days")
    problems = [f"{who}: there is no '{key}' in a policy" for key in sorted(set(item) - KEYS)]
    try:
        identifier(who)
    except SettingsError as error:
        problems.append(str(error))
    if not isinstance(item.get("column"), str):
        problems.append(f"{who}: column is the name of the column that holds a row's time")
    if not isinstance(days, int) or isinstance(days, bool) or days < 1:
        problems.append(f"{who}: keep_days is {days!r}, and a table keeps the rows of 1 day or more")
    if not isinstance(item.get("archive", False), bool):
        problems.append(f"{who}: archive is true or false")
    return problems


def found(session: Session, policy: Policy) -> Policy:
    """Return a policy with what the server knows of its table.

    Raises:
        SettingsError: it cannot be carried out on such a table.
    """
    rows = session.run(TABLE, [policy.column, quoted(policy.table)])
    if not rows:
        raise SettingsError(f"there is no table {policy.name}")
    table = rows[0]
    if table["kind"] not in {"r", "p"}:
        raise SettingsError(f"{policy.name} is not a table (a view has no rows of its own)")
    if table["is_partition"]:
        raise SettingsError(f"{policy.name} is a partition: name the table that it belongs to")
    if table["attnum"] is None:
        raise SettingsError(f"{policy.name} has no column {policy.column}")
    if table["type"] not in TYPES:
        raise SettingsError(f"{policy.name}.{policy.column} is of type {table['type']}, not one of {', '.join(TYPES)}")
    leaves = session.run(LEAVES, [policy.column, table["oid"], table["oid"], table["by_time"]])
    if bare := [leaf["name"] for leaf in leaves if not leaf["indexed"]]:
        raise SettingsError(
            f"no index of {', '.join(bare)} begins with {policy.column}, and each batch would read the whole table: "
            f"CREATE INDEX CONCURRENTLY ON {bare[0]} ({policy.column})"
        )
    return Policy(
        policy.name,
        policy.column,
        policy.keep_days,
        policy.archive,
        table["oid"],
        table["type"],
        table["kind"] == "p",
        table["by_time"],
        tuple(leaf["name"] for leaf in leaves),
    )
