"""What keeps rows of a table from going as its policy says, and what goes or changes with them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from dbjob_session import Session, identifier
from psycopg2 import sql
from retention_policy import Policy

# Tables with rows of this one that are neither in it nor in a partition, which is what rows are deleted from.
CHILDREN = """
SELECT format('%%I.%%I', n.nspname, c.relname) AS name
FROM pg_inherits AS h
INNER JOIN pg_class AS c ON c.oid = h.inhrelid
INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE h.inhparent = %s AND NOT c.relispartition
ORDER BY 1
"""
FOREIGN = """
SELECT format('%%I.%%I', n.nspname, c.relname) AS name
FROM pg_partition_tree(%s) AS t
INNER JOIN pg_class AS c ON c.oid = t.relid
INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'f'
ORDER BY 1
"""
OIDS = "SELECT array_agg(to_regclass(name)::oid) AS oids FROM unnest(%s::text[]) AS leaf (name)"
# Asked as the role that deletes.
SECURED = """
SELECT leaf.oid::regclass::text AS name FROM unnest(%s::oid[]) AS leaf (oid) WHERE row_security_active(leaf.oid) LIMIT 1
"""
# The foreign keys that change other rows where those of a table or of its partitions go.
ACTIONS = """
SELECT
    k.oid, k.confdeltype AS action, k.confrelid AS parent_oid, k.conrelid AS child_oid,
    k.confrelid::regclass::text AS parent, format('%%I.%%I', n.nspname, c.relname) AS child, k.conname AS name,
    (
        SELECT array_agg(p.attname::text ORDER BY pair.place)
        FROM unnest(k.confkey) WITH ORDINALITY AS pair (number, place)
        INNER JOIN pg_attribute AS p ON p.attrelid = k.confrelid AND p.attnum = pair.number
    ) AS parent_columns,
    (
        SELECT array_agg(f.attname::text ORDER BY pair.place)
        FROM unnest(k.conkey) WITH ORDINALITY AS pair (number, place)
        INNER JOIN pg_attribute AS f ON f.attrelid = k.conrelid AND f.attnum = pair.number
    ) AS child_columns
FROM pg_constraint AS k
INNER JOIN pg_class AS c ON c.oid = k.conrelid
INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0 AND k.confdeltype IN ('c', 'n', 'd')
    AND k.confrelid IN (SELECT %(oid)s UNION ALL SELECT t.relid FROM pg_partition_tree(%(oid)s) AS t)
ORDER BY child, k.conname
"""
ACTION = {"c": "ON DELETE CASCADE", "n": "ON DELETE SET NULL", "d": "ON DELETE SET DEFAULT"}
TRIGGERS = """
SELECT DISTINCT t.tgname::text AS name
FROM pg_trigger AS t
WHERE t.tgrelid = ANY (%s::oid[]) AND t.tgtype & 8 = 8 AND t.tgenabled NOT IN ('D', 'R') AND NOT t.tgisinternal
ORDER BY 1
"""
# Whether a deletion can change anything else: a foreign key's action is a trigger, too.
TRIGGERED = "SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass(%s) AND tgtype & 8 = 8)"
# What this session has changed and not reported yet. Nothing is reported within a transaction.
CHANGED = """
SELECT format('%I.%I', schemaname, relname) AS name, n_tup_ins AS inserted, n_tup_upd AS updated, n_tup_del AS deleted
FROM pg_stat_xact_user_tables
WHERE n_tup_ins + n_tup_upd + n_tup_del > 0
"""
VERBS = ("deleted", "updated", "inserted")

# Rows by table and verb.
Changes = Counter[tuple[str, str]]


def hindrance(session: Session, policy: Policy, owner: str) -> str:
    """Return why the rows that a policy speaks of would stay, or others go that are in no archive, or nothing."""
    if children := names(session, CHILDREN, policy.oid):
        return (
            f"{listed(children)} inherits from it, and only its own rows are deleted: ALTER TABLE {children[0]} "
            f"NO INHERIT {policy.name} and a policy for each, or partitions instead"
        )
    if foreign := names(session, FOREIGN, policy.oid):
        return f"{listed(foreign)} is on another server, where nothing is deleted: detach it, and have a policy there"
    if owner and policy.leaves and (secured := hidden(session, policy, owner)):
        return (
            f"row-level security hides rows of {secured} from {owner}: ALTER TABLE {secured} NO FORCE ROW LEVEL "
            f"SECURITY where {owner} owns it, or ALTER ROLE {owner} BYPASSRLS"
        )
    if policy.archive and policy.leaves and (actions := session.run(ACTIONS, {"oid": policy.oid})):
        told = [f"{action['child']} ({ACTION[action['action']]} of {action['name']})" for action in actions]
        return (
            f"with its rows {listed(told)} would lose what is in no archive: have the foreign key say ON DELETE NO "
            f"ACTION and a policy before this one delete the rows that refer to them, or do without `archive`"
        )
    return ""


def names(session: Session, query: str, oid: int) -> list[str]:
    """Return the names that a query about a table answers."""
    return [row["name"] for row in session.run(query, [oid])]


def listed(found: list[str]) -> str:
    """Return names in one line, three at most."""
    return ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")  # noqa: PLR2004


def hidden(session: Session, policy: Policy, owner: str) -> str:
    """Return a table of which the owner sees some rows alone, or nothing."""
    oids = session.value(OIDS, [list(policy.leaves)])
    with session.transaction():
        session.run("SELECT set_config('role', %s, true)", [owner])
        found = session.run(SECURED, [oids])
        session.run("SELECT set_config('role', 'none', true)")
    return found[0]["name"] if found else ""


def predicted(session: Session, policy: Policy, cutoff: str) -> list[str]:
    """Return what else would go or change, a line each: rows that refer to those past the limit, and triggers."""
    if not policy.leaves:
        return []
    limit = sql.SQL("{}.{} < {}::{}").format(
        sql.Identifier("t0"), policy.time, sql.Literal(cutoff), sql.SQL(policy.type)
    )
    lines = following(session, policy.oid, limit, 0, set())
    triggers = session.run(TRIGGERS, [session.value(OIDS, [list(policy.leaves)])])
    return lines + [f"trigger {row['name']} would run" for row in triggers]


def following(session: Session, oid: int, condition: sql.Composable, depth: int, met: set[int]) -> list[str]:
    """Return a line for each table that refers to rows of another, which the condition calls `t` and its depth."""
    lines = []
    for action in session.run(ACTIONS, {"oid": oid}):
        if action["oid"] in met:
            continue
        here, there = sql.Identifier(f"t{depth}"), sql.Identifier(f"t{depth + 1}")
        pairs = zip(action["parent_columns"], action["child_columns"], strict=True)
        equal = [
            sql.SQL("{}.{} = {}.{}").format(here, sql.Identifier(key), there, sql.Identifier(reference))
            for key, reference in pairs
        ]
        refers = sql.SQL("EXISTS (SELECT FROM {} AS {} WHERE {})").format(
            sql.SQL(action["parent"]), here, sql.SQL(" AND ").join([*equal, condition])
        )
        count = sql.SQL("SELECT count(*) FROM {} AS {} WHERE {}").format(identifier(action["child"]), there, refers)
        lines.append(f"{session.value(count)} rows of {action['child']} ({ACTION[action['action']]})")
        if action["action"] == "c":
            lines += following(session, action["child_oid"], refers, depth + 1, met | {action["oid"]})
    return lines


def changed(session: Session) -> Changes:
    """Return what this session has changed: the difference of two answers in a transaction is what came between."""
    rows: list[dict[str, Any]] = session.run(CHANGED)
    return Counter({(row["name"], verb): row[verb] for row in rows for verb in VERBS})


def beside(changes: Changes) -> str:
    """Return what was changed beside a policy's own rows, in words."""
    return ", ".join(f"{rows} rows of {name} {verb}" for (name, verb), rows in sorted(changes.items()) if rows)
