"""How a materialized view is exchanged: built beside under another name, and swapped in one short transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from . import compare, duties, naming, sqlbuild, table
from . import index as index_rules
from .action import ACCESS_EXCLUSIVE, ACCESS_SHARE, Lock, Policy, Step, step
from .connection import sql
from .model import Index, MaterializedView, Name
from .state import Column, Definition, Dependent, Found, FoundIndex, FoundStatistics, Relation

if TYPE_CHECKING:
    from .connection import Composable


def comment(view: MaterializedView, existing: Relation | None) -> str:
    """Return the person's comment that the view is to have: as declared, else as it is."""
    if view.comment is not None:
        return view.comment
    return naming.own_comment(existing.comment) if existing is not None else ""


def options(view: MaterializedView, existing: Relation | None) -> dict[str, str]:
    """Return the storage parameters that the view is to have: as declared, else as they are."""
    return table.changed(existing.options if existing is not None else {}, dict(view.storage_parameters))


def retired(existing: Relation) -> Name:
    """Return the name that a replaced view has until nothing stands on it; each one has its own."""
    return naming.retired(existing.name, existing.oid)


def stays(name: Name, found: Found) -> bool:
    """Tell whether the old view outlives the swap: other materialized views read it until they are made again."""
    return any(item.on == name and item.kind == "materialized view" for item in found.dependents)


def drop_step(name: Name, purpose: str) -> Step:
    """Return the step that drops a materialized view."""
    statement = sqlbuild.text("DROP MATERIALIZED VIEW {}", sqlbuild.ident(name))
    return step(purpose, Policy.SHORT, [statement], Lock(ACCESS_EXCLUSIVE, name))


def grantee(name: str) -> Composable:
    """Return a role as GRANT names it; an empty name is everybody."""
    return sql.Identifier(name) if name else sql.SQL("PUBLIC")


def grant_option(role: str, *, grantable: bool) -> str:
    """Return what has a role pass a privilege on, which everybody cannot."""
    return " WITH GRANT OPTION" if grantable and role else ""


def grants(new: Name, existing: Relation) -> list[Composable]:
    """Return the statements that give the new view the grants of the present one, no more and no less."""
    target = sqlbuild.ident(new)
    revoked = set(existing.default_grantees) - {existing.owner}
    if existing.acl is not None:
        revoked.add(existing.owner)
    statements: list[Composable] = [
        sqlbuild.text("REVOKE ALL ON TABLE {} FROM {}", target, grantee(role)) for role in sorted(revoked)
    ]
    for role, privilege, grantable in existing.acl or ():
        piece = f"GRANT {privilege} ON TABLE {{}} TO {{}}{grant_option(role, grantable=grantable)}"
        statements.append(sqlbuild.text(piece, target, grantee(role)))
    return statements


_STORAGE = {"p": "PLAIN", "e": "EXTERNAL", "x": "EXTENDED", "m": "MAIN"}
_COMPRESSION = {"p": "pglz", "l": "lz4"}


def _stored(column: Column, name: Composable, target: Composable) -> list[Composable]:
    """Return the statements that have a column of the same type stored and estimated as it is."""
    alter = "ALTER MATERIALIZED VIEW {} ALTER COLUMN {} SET "
    statements: list[Composable] = []
    if column.options:
        pairs = [(key, value) for key, _, value in (option.partition("=") for option in column.options)]
        statements.append(sqlbuild.text(alter + "({})", target, name, sqlbuild.assignments(pairs)))
    if column.storage in _STORAGE:
        statements.append(sqlbuild.text(f"{alter}STORAGE {_STORAGE[column.storage]}", target, name))
    if column.compression in _COMPRESSION:
        statements.append(sqlbuild.text(f"{alter}COMPRESSION {_COMPRESSION[column.compression]}", target, name))
    return statements


def _columns(new: Name, existing: Relation, kept: Mapping[str, str]) -> list[Composable]:
    """Return the statements that give columns of the same name their grants, targets, comments and storage."""
    target = sqlbuild.ident(new)
    statements: list[Composable] = []
    for column in existing.columns.values():
        if column.name not in kept:
            continue
        name = sql.Identifier(column.name)
        for role, privilege, grantable in column.acl:
            piece = f"GRANT {privilege} ({{}}) ON TABLE {{}} TO {{}}{grant_option(role, grantable=grantable)}"
            statements.append(sqlbuild.text(piece, name, target, grantee(role)))
        if column.target >= 0:
            piece = "ALTER MATERIALIZED VIEW {} ALTER COLUMN {} SET STATISTICS {}"
            statements.append(sqlbuild.text(piece, target, name, sql.Literal(column.target)))
        if column.type == kept[column.name]:
            statements += _stored(column, name, target)
        if column.comment:
            piece = "COMMENT ON COLUMN {}.{} IS {}"
            statements.append(sqlbuild.text(piece, target, name, sql.Literal(column.comment)))
    return statements


def _carried_indexes(view: MaterializedView, found: Found) -> list[FoundIndex]:
    """Return the indexes of the present view that nobody declared, which the new one gets too."""
    declared = {index.name for index in view.indexes}
    return [
        index
        for index in found.indexes_of(view.name)
        if index.name not in declared and index.valid and not naming.is_own(index.name.name)
    ]


@dataclass
class _Exchange:
    """Collects the statements of both transactions."""

    new: Name
    found: Found
    keeps_old: bool
    build: list[Composable] = field(default_factory=list)
    away: list[Composable] = field(default_factory=list)
    home: list[Composable] = field(default_factory=list)

    def _named(self, kind: str, name: Name, old: int | None) -> None:
        """Give something on the new view its name, after what has it on the old one let it go or went."""
        if self.keeps_old and old is not None:
            self.away.append(sqlbuild.rename(kind, name, naming.retired(name, old).name))
        self.home.append(sqlbuild.rename(kind, naming.building(name), name.name))

    def declared(self, index: Index, definition: Definition | None) -> None:
        """Build a declared index."""
        existing = self.found.indexes.get(index.name)
        building = naming.building(index.name)
        declared = replace(index, tablespace=compare.tablespace_of(index, existing, self.found))
        text = naming.mark(compare.wanted_comment(index, existing))
        self.build += [
            sqlbuild.create_index(declared, sql.Identifier(building.name), sqlbuild.ident(self.new)),
            sqlbuild.comment_on("INDEX", sqlbuild.ident(building), text),
        ]
        if existing is not None and existing.table == index.table:
            self.build += sqlbuild.depends("INDEX", building, existing.extensions)
        if definition is not None and existing is not None and existing.table == index.table:
            self.build += duties.targets(definition, building, existing)
        self._named("INDEX", index.name, existing.oid if existing is not None else None)

    def carried(self, index: FoundIndex) -> None:
        """Build an index that nobody declared as it is on the old view."""
        building = naming.building(index.name)
        name = sqlbuild.ident(building)
        self.build.append(sqlbuild.like_index(index, sql.Identifier(building.name), sqlbuild.ident(self.new)))
        if index.definition.parameters:
            settings = sqlbuild.assignments(index.definition.parameters)
            self.build.append(sqlbuild.text("ALTER INDEX {} SET ({})", name, settings))
        place = sql.Identifier(index.tablespace)
        self.build.append(sqlbuild.text("ALTER INDEX {} SET TABLESPACE {}", name, place))
        if index.comment:
            self.build.append(sqlbuild.comment_on("INDEX", name, index.comment))
        self.build += duties.targets(index.definition, building, index)
        self.build += sqlbuild.depends("INDEX", building, index.extensions)
        self._named("INDEX", index.name, index.oid)

    def statistics(self, item: FoundStatistics) -> None:
        """Make an extended statistics object as it is on the old view."""
        name = sqlbuild.ident(naming.building(item.name))
        self.build.append(sqlbuild.like_statistics(item, name, sqlbuild.ident(self.new)))
        if item.target >= 0:
            self.build.append(sqlbuild.text("ALTER STATISTICS {} SET STATISTICS {}", name, sql.Literal(item.target)))
        if item.comment:
            self.build.append(sqlbuild.comment_on("STATISTICS", name, item.comment))
        self._named("STATISTICS", item.name, item.oid)


def lock_view(dependent: Dependent) -> Composable:
    """Return a statement that changes nothing and takes the lock of a view alone, which LOCK TABLE cannot."""
    assert dependent.name is not None  # noqa: S101 - views have one
    return sqlbuild.text("ALTER VIEW {} OWNER TO {}", sqlbuild.ident(dependent.name), sql.Identifier(dependent.owner))


def repoint(dependent: Dependent) -> Composable:
    """Return the statement that makes a view over the new one, with its options, which REPLACE would drop."""
    assert dependent.name is not None  # noqa: S101 - views have one
    pairs = [(key, value) for key, _, value in (option.partition("=") for option in dependent.options)]
    settings = sqlbuild.text(" WITH ({})", sqlbuild.assignments(pairs)) if pairs else sql.SQL("")
    query = sql.SQL((dependent.query or "").rstrip().rstrip(";"))
    return sqlbuild.text("CREATE OR REPLACE VIEW {}{} AS {}", sqlbuild.ident(dependent.name), settings, query)


def _leftovers(view: MaterializedView, new: Name, found: Found) -> list[Step]:
    """Return the removal of what is in the way of the new view's names."""
    steps = []
    if new in found.relations:
        steps.append(drop_step(new, index_rules.LEFT))
    names = [index.name for index in view.indexes] + [index.name for index in _carried_indexes(view, found)]
    for name in names:
        leftover = found.indexes.get(naming.building(name))
        if leftover is not None and leftover.table != new:
            steps.append(index_rules.drop_step(leftover, index_rules.LEFT))
    return steps


@dataclass(frozen=True)
class Made:
    """What the new view is going to have.

    columns: names and types. definitions: of its declared indexes. left: extended statistics that it does not carry.
    """

    columns: Mapping[str, str]
    definitions: Mapping[Name, Definition] = field(default_factory=dict)
    left: frozenset[Name] = frozenset()


def steps(view: MaterializedView, made: Made, existing: Relation, found: Found) -> list[Step]:
    """Return the steps that exchange a view.

    Args:
        view: as declared.
        made: what it will have.
        existing: the view that is there.
        found: what the database has.
    """
    new, old, name = naming.building(view.name), retired(existing), view.name
    target = sqlbuild.ident(new)
    exchange = _Exchange(new, found, stays(name, found))
    place = replace(view, tablespace=view.tablespace or existing.tablespace)
    settings = sorted(options(view, existing).items())
    exchange.build.append(sqlbuild.create_view(place, new, settings, existing.access_method))
    if existing.owner != found.role:
        owner = sql.Identifier(existing.owner)
        exchange.build.append(sqlbuild.text("ALTER MATERIALIZED VIEW {} OWNER TO {}", target, owner))
    exchange.build += grants(new, existing) + _columns(new, existing, made.columns)
    exchange.build += sqlbuild.depends("MATERIALIZED VIEW", new, existing.extensions)
    carried = _carried_indexes(view, found)
    for index in view.indexes:
        if index.present:
            exchange.declared(index, made.definitions.get(index.name))
    for other in carried:
        exchange.carried(other)
    for item in found.statistics.values():
        if item.table == name and item.name not in made.left:
            exchange.statistics(item)
    text = naming.mark(comment(view, existing))
    exchange.build.append(sqlbuild.comment_on("MATERIALIZED VIEW", target, text))
    if view.populate or existing.populated:
        exchange.build += [sqlbuild.text("REFRESH MATERIALIZED VIEW {}", target), sqlbuild.text("ANALYZE {}", target)]
    present = {index.name for index in view.indexes if index.present} | {index.name for index in carried}
    clustered = [
        sqlbuild.text("ALTER MATERIALIZED VIEW {} CLUSTER ON {}", sqlbuild.ident(name), sql.Identifier(index.name.name))
        for index in found.indexes_of(name)
        if index.clustered and index.name in present
    ]
    dependents = [item for item in found.dependents if item.on == name and item.kind == "view"]
    drop = [] if exchange.keeps_old else [sqlbuild.text("DROP MATERIALIZED VIEW {}", sqlbuild.ident(old))]
    # Views before what they stand on, as their readers lock them: in another order one would wait for the other.
    swap = [
        *map(lock_view, dependents),
        sqlbuild.rename("MATERIALIZED VIEW", name, old.name),
        sqlbuild.rename("MATERIALIZED VIEW", new, name.name),
        *map(repoint, dependents),
        *drop,
        *exchange.away,
        *exchange.home,
        *clustered,
    ]
    locks = [Lock(ACCESS_EXCLUSIVE, item) for item in (*(d.name for d in dependents if d.name is not None), name)]
    return [
        *_leftovers(view, new, found),
        step("build beside", Policy.LONG, exchange.build, Lock(ACCESS_SHARE, name)),
        step("swap", Policy.SHORT, swap, *locks),
    ]
