"""The statements of a conversion: the partitioned twin, and the short transaction that puts it in the table's place."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING

from .. import matview_swap, naming, sqlbuild
from ..connection import sql
from ..model import Name
from ..state import FoundIndex, Relation
from .model import LOWEST, Constraint, Facts, Wanted, after, bound, building, check_name, fitted, twin_of

if TYPE_CHECKING:
    from ..connection import Composable

# Long before a client gives up: what should take milliseconds and does not has to read rows, which was not planned.
SWAP_LIMIT = "5s"
LIKE = "INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING STORAGE INCLUDING COMPRESSION"
_ENABLED = {"D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}
_IDENTITY = {"f": "FULL", "n": "NOTHING"}


def before_cut(wanted: Wanted, kind: str, cut: date) -> Composable:
    """Return the condition that the history fulfils; ATTACH finds its own bounds in it and reads no row."""
    column = sql.Identifier(wanted.column)
    low, high = sql.Literal(LOWEST), sql.Literal(bound(cut, kind))
    cast = sql.SQL(kind)
    return sqlbuild.text(
        "{} IS NOT NULL AND {} >= {}::{} AND {} < {}::{}", column, column, low, cast, column, high, cast
    )


def add_check(wanted: Wanted, kind: str, cut: date) -> Composable:
    """Return the statement that lets in only what belongs to the history, and looks at no row."""
    piece = "ALTER TABLE {} ADD CONSTRAINT {} CHECK ({}) NOT VALID"
    name = sql.Identifier(check_name(cut))
    return sqlbuild.text(piece, sqlbuild.ident(wanted.table), name, before_cut(wanted, kind, cut))


def key_columns(key: Constraint, column: str) -> tuple[str, ...]:
    """Return the columns of the primary key with the partition's column in it."""
    return key.columns if column in key.columns else (*key.columns, column)


def partition_of(name: Name, table: Name, kind: str, month: date, relation: Relation) -> Composable:
    """Return the statement that makes one month's partition, with the storage parameters of the table that was."""
    low, high = sql.Literal(bound(month, kind)), sql.Literal(bound(after(month), kind))
    piece = "CREATE TABLE {} PARTITION OF {} FOR VALUES FROM ({}) TO ({})"
    statement = sqlbuild.text(piece, sqlbuild.ident(name), sqlbuild.ident(table), low, high)
    if relation.options:
        statement += sqlbuild.text(" WITH ({})", sqlbuild.assignments(sorted(relation.options.items())))
    return statement


def attach(name: Name, wanted: Wanted, kind: str, month: date, options: dict[str, str]) -> list[Composable]:
    """Return the statements that add a month to a table in use: made beside it and attached, which locks nobody out."""
    part, table = sqlbuild.ident(name), sqlbuild.ident(wanted.table)
    # ATTACH asks for each CHECK of the table by name; NOT NULL always comes along.
    make = sqlbuild.text(f"CREATE TABLE {{}} (LIKE {{}} {LIKE} INCLUDING CONSTRAINTS)", part, table)
    if options:
        make += sqlbuild.text(" WITH ({})", sqlbuild.assignments(sorted(options.items())))
    low, high = sql.Literal(bound(month, kind)), sql.Literal(bound(after(month), kind))
    piece = "ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})"
    return [make, sqlbuild.text(piece, table, part, low, high)]


def _constraint(constraint: Constraint, wanted: Wanted, twin: Name) -> Composable:
    name = constraint.name
    definition: Composable = sql.SQL(constraint.definition)
    if constraint.kind in "pu":
        name = building(wanted.table.sibling(name)).name
    if constraint.kind == "p" and wanted.column not in constraint.columns:
        columns = sqlbuild.columns(key_columns(constraint, wanted.column))
        definition = sqlbuild.text("PRIMARY KEY ({})", columns)
        if constraint.include:
            definition += sqlbuild.text(" INCLUDE ({})", sqlbuild.columns(constraint.include))
        definition += sql.SQL(constraint.timing)
    return sqlbuild.text("ALTER TABLE {} ADD CONSTRAINT {} {}", sqlbuild.ident(twin), sql.Identifier(name), definition)


def _index(index: FoundIndex, tail: str, twin: Name) -> Composable:
    piece = "CREATE UNIQUE INDEX {} ON {} {}" if index.definition.unique else "CREATE INDEX {} ON {} {}"
    return sqlbuild.text(piece, sql.Identifier(building(index.name).name), sqlbuild.ident(twin), sql.SQL(tail))


def _columns(facts: Facts, relation: Relation, twin: Name) -> list[Composable]:
    """Return what columns have beside their type: grants, statistics targets and options."""
    table = sqlbuild.ident(twin)
    statements: list[Composable] = []
    for column in relation.columns.values():
        name = sql.Identifier(column.name)
        for role, privilege, grantable in column.acl:
            option = matview_swap.grant_option(role, grantable=grantable)
            piece = f"GRANT {privilege} ({{}}) ON TABLE {{}} TO {{}}{option}"
            statements.append(sqlbuild.text(piece, name, table, matview_swap.grantee(role)))
        if column.target >= 0:
            piece = "ALTER TABLE {} ALTER COLUMN {} SET STATISTICS {}"
            statements.append(sqlbuild.text(piece, table, name, sql.Literal(column.target)))
        if column.name in facts.column_options:
            pairs = [(key, value) for key, _, value in (o.partition("=") for o in facts.column_options[column.name])]
            piece = "ALTER TABLE {} ALTER COLUMN {} SET ({})"
            statements.append(sqlbuild.text(piece, table, name, sqlbuild.assignments(pairs)))
    return statements


def _identity(facts: Facts, found: Iterable[FoundIndex], tables: Iterable[Name]) -> list[Composable]:
    """Return what logical replication is told of a row that goes; an index is carried for the table alone."""
    if facts.replica_identity in _IDENTITY:
        word = _IDENTITY[facts.replica_identity]
        return [sqlbuild.text(f"ALTER TABLE {{}} REPLICA IDENTITY {word}", sqlbuild.ident(name)) for name in tables]
    first = next(iter(tables))
    return [
        sqlbuild.text(
            "ALTER TABLE {} REPLICA IDENTITY USING INDEX {}",
            sqlbuild.ident(first),
            sql.Identifier(building(index.name).name),
        )
        for index in found
        if index.replica_identity
    ]


def twin(wanted: Wanted, facts: Facts, relation: Relation, months: Iterable[date], *, exists: bool) -> list[Composable]:
    """Return the statements that make the empty partitioned twin, with all that needs no name of the live table."""
    name = twin_of(wanted.table)
    table = sqlbuild.ident(name)
    kind = facts.column_type or ""
    statements: list[Composable] = [sqlbuild.text("DROP TABLE {}", table)] if exists else []
    piece = f"CREATE TABLE {{}} (LIKE {{}} {LIKE} INCLUDING COMMENTS) PARTITION BY RANGE ({{}})"
    create = sqlbuild.text(piece, table, sqlbuild.ident(wanted.table), sql.Identifier(wanted.column))
    # The default one must not be named.
    if relation.tablespace != facts.found.default_tablespace:
        create += sqlbuild.text(" TABLESPACE {}", sql.Identifier(relation.tablespace))
    statements.append(create)
    if relation.owner != facts.found.role:
        statements.append(sqlbuild.text("ALTER TABLE {} OWNER TO {}", table, sql.Identifier(relation.owner)))
    granting = Relation(**{**relation.__dict__, "default_grantees": facts.default_grantees})
    statements += matview_swap.grants(name, granting)
    ours = {constraint.name for _, constraint in facts.checks}
    statements += [
        _constraint(item, wanted, name) for item in facts.constraints if item.kind in "cfpu" and item.name not in ours
    ]
    indexes = [index for index in facts.found.indexes_of(wanted.table) if index.constraint is None and carried(index)]
    statements += [_index(index, facts.tails[index.name], name) for index in indexes]
    for item in facts.found.statistics.values():
        if item.table == wanted.table:
            new = sqlbuild.ident(building(item.name))
            statements.append(sqlbuild.like_statistics(item, new, table))
            if item.target >= 0:
                statements.append(sqlbuild.text("ALTER STATISTICS {} SET STATISTICS {}", new, sql.Literal(item.target)))
    parts = [(facts.part_name(wanted.table, month), month) for month in months]
    statements += [partition_of(part, name, kind, month, relation) for part, month in parts]
    # Behind the partitions, as these take over what a column has at that moment.
    statements += _columns(facts, relation, name)
    every = facts.found.indexes_of(wanted.table)
    statements += _identity(facts, every, [name, *(part for part, _ in parts)])
    if relation.comment:
        statements.append(sqlbuild.comment_on("TABLE", table, relation.comment))
    return statements


def carried(index: FoundIndex) -> bool:
    """Tell whether an index of the table is one that the partitioned table gets too."""
    own = naming.is_own(index.name.name) or "__pgpart_" in index.name.name
    return index.valid and not own and naming.reindex_leftover_of(index.name.name) is None


def _names(wanted: Wanted, facts: Facts) -> list[Composable]:
    """Return the renames that give the history's indexes and statistics names of their own, and the twin's theirs."""
    away: list[Composable] = []
    home: list[Composable] = []
    for index in facts.found.indexes_of(wanted.table):
        if not carried(index):
            continue
        old = aside(index.name, facts)
        away.append(sqlbuild.rename("INDEX", index.name, old.name))
        home.append(sqlbuild.rename("INDEX", building(index.name), index.name.name))
        if index.comment:
            home.append(sqlbuild.comment_on("INDEX", sqlbuild.ident(index.name), naming.settled(index.comment)))
            # What carries the mark of the optimization module is its own to drop; this is only a part of another.
            away.append(sqlbuild.comment_on("INDEX", sqlbuild.ident(old), naming.own_comment(index.comment)))
    for item in facts.found.statistics.values():
        if item.table == wanted.table:
            old = aside(item.name, facts)
            away.append(sqlbuild.rename("STATISTICS", item.name, old.name))
            home.append(sqlbuild.rename("STATISTICS", building(item.name), item.name.name))
            if item.comment:
                home.append(sqlbuild.comment_on("STATISTICS", sqlbuild.ident(item.name), item.comment))
                away.append(sqlbuild.comment_on("STATISTICS", sqlbuild.ident(old), naming.own_comment(item.comment)))
    return away + home


def aside(name: Name, facts: Facts) -> Name:
    """Return the name that an index or a statistics object of the history gets."""
    wanted = name.sibling(fitted(name.name, "_history"))
    if wanted.name in facts.taken:
        wanted = name.sibling(fitted(name.name, f"_{naming.digest(*name)}_history"))
    return wanted


def _sequences(wanted: Wanted, facts: Facts) -> list[Composable]:
    table = sqlbuild.ident(wanted.table)
    piece = "ALTER SEQUENCE {} OWNED BY {}.{}"
    return [
        sqlbuild.text(piece, sqlbuild.ident(item.name), table, sql.Identifier(item.column)) for item in facts.sequences
    ]


def _triggers(wanted: Wanted, facts: Facts, history: Name) -> list[Composable]:
    """Return the statements that move triggers from the history to the table, which gives its partitions their own."""
    table = sqlbuild.ident(wanted.table)
    statements: list[Composable] = []
    for item in facts.triggers:
        name = sql.Identifier(item.name)
        statements.append(sqlbuild.text("DROP TRIGGER {} ON {}", name, sqlbuild.ident(history)))
        statements.append(sql.SQL(item.definition))
        if item.enabled in _ENABLED:
            statements.append(sqlbuild.text(f"ALTER TABLE {{}} {_ENABLED[item.enabled]} TRIGGER {{}}", table, name))
        if item.comment:
            statements.append(
                sqlbuild.text("COMMENT ON TRIGGER {} ON {} IS {}", name, table, sql.Literal(item.comment))
            )
    return statements


def _publications(wanted: Wanted, facts: Facts, history: Name) -> list[Composable]:
    table, old = sqlbuild.ident(wanted.table), sqlbuild.ident(history)
    statements: list[Composable] = []
    for item in facts.publications:
        if item.listed:
            name = sql.Identifier(item.name)
            piece = sqlbuild.text("ALTER PUBLICATION {} ADD TABLE {}", name, table)
            piece += sqlbuild.text(" ({})", sqlbuild.columns(item.columns)) if item.columns else sql.SQL("")
            piece += sqlbuild.text(" WHERE ({})", sql.SQL(item.where)) if item.where else sql.SQL("")
            statements += [piece, sqlbuild.text("ALTER PUBLICATION {} DROP TABLE {}", name, old)]
    return statements


def swap(wanted: Wanted, facts: Facts, cut: date) -> list[Composable]:
    """Return the statements of the one short transaction.

    Views are locked before the table, as their readers lock them: in another order one would wait for the other.
    """
    table, history = wanted.table, facts.history(wanted.table)
    kind = facts.column_type or ""
    views = [item for item in facts.dependents if item.kind == "view"]
    constraints = [item for item in facts.constraints if item.comment and item.kind in "cfpu"]
    attach = sqlbuild.text(
        "ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})",
        sqlbuild.ident(table),
        sqlbuild.ident(history),
        sql.Literal(LOWEST),
        sql.Literal(bound(cut, kind)),
    )
    return [
        sqlbuild.text("SET LOCAL statement_timeout = {}", sql.Literal(SWAP_LIMIT)),
        *map(matview_swap.lock_view, views),
        sqlbuild.text("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", sqlbuild.ident(table)),
        sqlbuild.rename("TABLE", table, history.name),
        sqlbuild.rename("TABLE", twin_of(table), table.name),
        *_names(wanted, facts),
        *_sequences(wanted, facts),
        *_triggers(wanted, facts, history),
        attach,
        sqlbuild.text("ALTER TABLE {} DROP CONSTRAINT {}", sqlbuild.ident(history), sql.Identifier(check_name(cut))),
        *map(matview_swap.repoint, views),
        *_publications(wanted, facts, history),
        *(
            sqlbuild.text(
                "COMMENT ON CONSTRAINT {} ON {} IS {}",
                sql.Identifier(item.name),
                sqlbuild.ident(table),
                sql.Literal(item.comment),
            )
            for item in constraints
        ),
        sqlbuild.comment_on("TABLE", sqlbuild.ident(history), f"Rows of {table} before {cut.isoformat()}"),
    ]
