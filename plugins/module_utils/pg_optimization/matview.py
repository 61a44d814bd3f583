"""Decide about materialized views: a new one appears whole, a changed one is built beside and swapped in.

CREATE has no way to change a query in place, and DROP ... CASCADE takes what stands on the view with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from . import index as index_rules
from . import naming, space, sqlbuild, table
from .action import ACCESS_EXCLUSIVE, ACCESS_SHARE, Action, Lock, Outcome, Policy, Step, step
from .catalog import Dependent, Found, FoundIndex, Relation
from .connection import sql
from .model import Index, MaterializedView, Name
from .normalise import Canonical, ViewDefinition

if TYPE_CHECKING:
    from .connection import Composable


def _comment(view: MaterializedView, existing: Relation | None) -> str:
    if view.comment is not None:
        return view.comment
    return naming.own_comment(existing.comment) if existing is not None else ""


def _describe(head: str, options: dict[str, str], query: str, comment: str, *, populated: bool) -> str:
    settings = ", ".join(f"{key}={value}" for key, value in sorted(options.items()))
    lines = [f"{head} WITH ({settings}) AS" if options else f"{head} AS", query.rstrip()]
    lines += [] if populated else ["WITH NO DATA"]
    lines += [f"comment: {comment}"] if comment else []
    return "\n".join(lines) + "\n"


def describe(view: Relation) -> str:
    """Return a found materialized view for a difference view."""
    comment = naming.own_comment(view.comment)
    head = f"CREATE MATERIALIZED VIEW {view.name} TABLESPACE {view.tablespace}"
    return _describe(head, view.options, view.query or "", comment, populated=view.populated)


def _options(view: MaterializedView, existing: Relation | None) -> dict[str, str]:
    have = existing.options if existing is not None else {}
    return table.changed(have, dict(view.storage_parameters))


def _describe_declared(view: MaterializedView, canonical: ViewDefinition, found: Found, indexes: str) -> str:
    existing = found.relations.get(view.name)
    populated = view.populate or (existing is not None and existing.populated)
    tablespace = view.tablespace or (existing.tablespace if existing is not None else found.default_tablespace)
    head = f"CREATE MATERIALIZED VIEW {view.name} TABLESPACE {tablespace}"
    options, comment = _options(view, existing), _comment(view, existing)
    return _describe(head, options, canonical.query, comment, populated=populated) + indexes


def _own_indexes(view: MaterializedView, canonical: Canonical, found: Found) -> str:
    lines = [
        index_rules.describe_declared(index, canonical.indexes[index.name], found, None)
        for index in view.indexes
        if index.present and index.name in canonical.indexes
    ]
    return "".join(lines)


def _drop(name: Name) -> Composable:
    return sqlbuild.text("DROP MATERIALIZED VIEW {}", sqlbuild.ident(name))


def drop_step(name: Name, purpose: str) -> Step:
    """Return the step that drops a materialized view."""
    return step(purpose, Policy.SHORT, [_drop(name)], Lock(ACCESS_EXCLUSIVE, name))


def _create(view: MaterializedView) -> list[Step]:
    """Return the one transaction after which a new view is there with its indexes, its rows and its comment."""
    name = sqlbuild.ident(view.name)
    options = [(key, value) for key, value in view.storage_parameters if value is not None]
    statements: list[Composable] = [sqlbuild.create_view(view, view.name, options, None)]
    for index in view.indexes:
        if index.present:
            statements.append(sqlbuild.create_index(index, sql.Identifier(index.name.name), name))
            comment = naming.mark(index.comment)
            statements.append(sqlbuild.comment_on("INDEX", sqlbuild.ident(index.name), comment))
    statements.append(sqlbuild.comment_on("MATERIALIZED VIEW", name, naming.mark(view.comment)))
    if view.populate:
        statements += [sqlbuild.text("REFRESH MATERIALIZED VIEW {}", name), sqlbuild.text("ANALYZE {}", name)]
    return [step("create", Policy.LONG, statements, Lock(ACCESS_SHARE, view.name))]


def _role(name: str) -> Composable:
    return sql.Identifier(name) if name else sql.SQL("PUBLIC")


def _grants(new: Name, existing: Relation) -> list[Composable]:
    """Return the statements that give the new view the grants of the present one, no more and no less."""
    target = sqlbuild.ident(new)
    revoked = set(existing.default_grantees) - {existing.owner}
    if existing.acl is not None:
        revoked.add(existing.owner)
    statements: list[Composable] = [
        sqlbuild.text("REVOKE ALL ON TABLE {} FROM {}", target, _role(role)) for role in sorted(revoked)
    ]
    for role, privilege, grantable in existing.acl or ():
        piece = f"GRANT {privilege} ON TABLE {{}} TO {{}}" + (" WITH GRANT OPTION" if grantable and role else "")
        statements.append(sqlbuild.text(piece, target, _role(role)))
    return statements


def _columns(new: Name, existing: Relation, kept: set[str]) -> list[Composable]:
    """Return the statements that give columns of the same name their grants, targets and comments."""
    target = sqlbuild.ident(new)
    statements: list[Composable] = []
    for column in existing.columns.values():
        if column.name not in kept:
            continue
        name = sql.Identifier(column.name)
        for role, privilege, grantable in column.acl:
            piece = f"GRANT {privilege} ({{}}) ON TABLE {{}} TO {{}}" + (
                " WITH GRANT OPTION" if grantable and role else ""
            )
            statements.append(sqlbuild.text(piece, name, target, _role(role)))
        if column.target >= 0:
            piece = "ALTER MATERIALIZED VIEW {} ALTER COLUMN {} SET STATISTICS {}"
            statements.append(sqlbuild.text(piece, target, name, sql.Literal(column.target)))
        if column.comment:
            piece = "COMMENT ON COLUMN {}.{} IS {}"
            statements.append(sqlbuild.text(piece, target, name, sql.Literal(column.comment)))
    return statements


def carried_indexes(view: MaterializedView, found: Found) -> list[FoundIndex]:
    """Return the indexes of the present view that nobody declared, which the new one gets too."""
    declared = {index.name for index in view.indexes}
    return [
        index
        for index in found.indexes_of(view.name)
        if index.name not in declared and index.valid and not naming.is_own(index.name.name)
    ]


def _carried_index(index: FoundIndex, new: Name) -> list[Composable]:
    building = naming.building(index.name)
    statements: list[Composable] = [
        sqlbuild.like_index(index, sql.Identifier(building.name), sqlbuild.ident(new)),
    ]
    if index.definition.parameters:
        piece = "ALTER INDEX {} SET ({})"
        settings = sqlbuild.assignments(index.definition.parameters)
        statements.append(sqlbuild.text(piece, sqlbuild.ident(building), settings))
    piece = "ALTER INDEX {} SET TABLESPACE {}"
    statements.append(sqlbuild.text(piece, sqlbuild.ident(building), sql.Identifier(index.tablespace)))
    if index.comment:
        statements.append(sqlbuild.comment_on("INDEX", sqlbuild.ident(building), index.comment))
    return statements


def _declared_index(index: Index, new: Name, found: Found) -> list[Composable]:
    existing = found.indexes.get(index.name)
    building = naming.building(index.name)
    place = index_rules.tablespace_of(index, existing, found)
    declared = replace(index, tablespace=place)
    comment = naming.mark(index_rules.wanted_comment(index, existing))
    return [
        sqlbuild.create_index(declared, sql.Identifier(building.name), sqlbuild.ident(new)),
        sqlbuild.comment_on("INDEX", sqlbuild.ident(building), comment),
    ]


def _carried_statistics(view: MaterializedView, new: Name, found: Found) -> tuple[list[Composable], list[Composable]]:
    """Return the statements that make the view's extended statistics on the new one, and those that name them."""
    making: list[Composable] = []
    naming_them: list[Composable] = []
    for item in found.statistics.values():
        if item.table != view.name:
            continue
        building = naming.building(item.name)
        name = sqlbuild.ident(building)
        making.append(sqlbuild.like_statistics(item, name, sqlbuild.ident(new)))
        if item.target >= 0:
            making.append(sqlbuild.text("ALTER STATISTICS {} SET STATISTICS {}", name, sql.Literal(item.target)))
        if item.comment:
            making.append(sqlbuild.comment_on("STATISTICS", name, item.comment))
        naming_them.append(sqlbuild.rename("STATISTICS", building, item.name.name))
    return making, naming_them


def _repoint(dependent: Dependent) -> Composable:
    """Return the statement that makes a view over the new one, with its options, which REPLACE would drop."""
    name = dependent.name
    assert name is not None  # noqa: S101 - views have one
    pairs = [(key, value) for key, _, value in (option.partition("=") for option in dependent.options)]
    options = sqlbuild.text(" WITH ({})", sqlbuild.assignments(pairs)) if pairs else sql.SQL("")
    query = sql.SQL((dependent.query or "").rstrip().rstrip(";"))
    return sqlbuild.text("CREATE OR REPLACE VIEW {}{} AS {}", sqlbuild.ident(name), options, query)


def _replace(view: MaterializedView, made: ViewDefinition, existing: Relation, found: Found) -> list[Step]:
    new, old, name = naming.building(view.name), naming.retired(view.name), view.name
    target = sqlbuild.ident(new)
    place = replace(view, tablespace=view.tablespace or existing.tablespace)
    options = sorted(_options(view, existing).items())
    steps: list[Step] = []
    if new in found.relations:
        steps.append(drop_step(new, "remove what an interrupted run left"))
    build: list[Composable] = [sqlbuild.create_view(place, new, options, existing.access_method)]
    if existing.owner != found.role:
        build.append(sqlbuild.text("ALTER MATERIALIZED VIEW {} OWNER TO {}", target, sql.Identifier(existing.owner)))
    build += _grants(new, existing)
    build += _columns(new, existing, {column[0] for column in made.columns})
    renames: list[Composable] = []
    for index in view.indexes:
        if index.present:
            build += _declared_index(index, new, found)
            renames.append(sqlbuild.rename("INDEX", naming.building(index.name), index.name.name))
    for carried in carried_indexes(view, found):
        build += _carried_index(carried, new)
        renames.append(sqlbuild.rename("INDEX", naming.building(carried.name), carried.name.name))
    making, naming_them = _carried_statistics(view, new, found)
    build += making
    build.append(sqlbuild.comment_on("MATERIALIZED VIEW", target, naming.mark(_comment(view, existing))))
    if view.populate or existing.populated:
        build += [sqlbuild.text("REFRESH MATERIALIZED VIEW {}", target), sqlbuild.text("ANALYZE {}", target)]
    steps.append(step("build beside", Policy.LONG, build, Lock(ACCESS_SHARE, name)))
    dependents = [item for item in found.dependents if item.on == name and item.kind == "view"]
    clustered = [
        sqlbuild.text("ALTER MATERIALIZED VIEW {} CLUSTER ON {}", sqlbuild.ident(name), sql.Identifier(index.name.name))
        for index in found.indexes_of(name)
        if index.clustered
        and (index.name in {i.name for i in view.indexes if i.present} or index in carried_indexes(view, found))
    ]
    swap = [
        sqlbuild.rename("MATERIALIZED VIEW", name, old.name),
        sqlbuild.rename("MATERIALIZED VIEW", new, name.name),
        *map(_repoint, dependents),
        _drop(old),
        *renames,
        *naming_them,
        *clustered,
    ]
    locks = [Lock(ACCESS_EXCLUSIVE, item) for item in (name, *(d.name for d in dependents if d.name is not None))]
    steps.append(step("swap", Policy.SHORT, swap, *locks))
    return steps


def _differences(view: MaterializedView, made: ViewDefinition, existing: Relation) -> list[str]:
    reasons = []
    if existing.query != made.query:
        reasons.append("has another query")
    if view.tablespace is not None and view.tablespace != existing.tablespace:
        reasons.append(f"is in tablespace {existing.tablespace}")
    return reasons


def _check_dependents(view: MaterializedView, found: Found, outcome: Outcome, what: str, *, views_too: bool) -> None:
    standing = [item.label for item in found.dependents if item.on == view.name and (views_too or item.kind != "view")]
    if standing:
        outcome.refuse(view, f"{what}, and cannot be while these stand on it: {', '.join(standing)}")


def _absent(view: MaterializedView, existing: Relation | None, found: Found) -> Outcome:
    outcome = Outcome()
    if existing is None:
        return outcome
    if existing.kind != "m":
        outcome.refuse(view, "is to be absent, and a relation of this name is no materialized view")
    elif not existing.owned:
        outcome.refuse(view, f"belongs to {existing.owner}, and {found.role} is not a member of that role")
    _check_dependents(view, found, outcome, "is to be absent", views_too=True)
    if not outcome.problems:
        action = Action(
            "materialized view",
            str(view.name),
            "drop",
            "is declared absent",
            (drop_step(view.name, "remove"),),
            before=describe(existing),
        )
        outcome.actions.append(action)
    return outcome


def _alter(view: MaterializedView, made: ViewDefinition, existing: Relation, found: Found) -> list[Action]:
    """Return what can be set on the view that is there: parameters and comment."""
    name = sqlbuild.ident(view.name)
    changes = table.differing(view.storage_parameters, existing.options)
    statements = table.set_statements("MATERIALIZED VIEW", view.name, changes)
    reasons = [f"{key} is {existing.options.get(key, 'not set')}" for key in changes]
    comment = naming.own_comment(existing.comment)
    if view.comment is not None and view.comment != comment:
        reasons.append(f"has the comment {comment!r}")
        text = naming.mark(view.comment) if naming.marked(existing.comment) else view.comment
        statements.append(sqlbuild.comment_on("MATERIALIZED VIEW", name, text))
    if not statements:
        return []
    work = step("alter", Policy.SHORT, statements, Lock("SHARE UPDATE EXCLUSIVE", view.name))
    after = _describe_declared(view, made, found, "")
    return [
        Action("materialized view", str(view.name), "alter", "; ".join(reasons), (work,), describe(existing), after)
    ]


def _fill(view: MaterializedView, existing: Relation) -> list[Action]:
    """Return the first refresh of a view that has no rows yet."""
    if not view.populate or existing.populated:
        return []
    name = sqlbuild.ident(view.name)
    statements = [sqlbuild.text("REFRESH MATERIALIZED VIEW {}", name), sqlbuild.text("ANALYZE {}", name)]
    work = step("first refresh", Policy.LONG, statements, Lock(ACCESS_EXCLUSIVE, view.name))
    return [Action("materialized view", str(view.name), "refresh", "was never filled", (work,), "WITH NO DATA\n", "")]


def decide(view: MaterializedView, canonical: Canonical, found: Found, *, concurrently: bool) -> Outcome:
    """Decide about one materialized view together with its indexes."""
    existing = found.relations.get(view.name)
    if not view.present:
        return _absent(view, existing, found)
    outcome = Outcome()
    made = canonical.views.get(view.name)
    if existing is not None and existing.kind != "m":
        outcome.refuse(view, "a relation of this name exists and is no materialized view")
    elif existing is not None and not existing.owned:
        outcome.refuse(view, f"belongs to {existing.owner}, and {found.role} is not a member of that role")
    if made is None or outcome.problems:
        return outcome
    new_or_changed = existing is None or bool(_differences(view, made, existing))
    if new_or_changed:
        for index in view.indexes:
            index_rules.check_name(index, found.indexes.get(index.name), found, outcome)
        if any(index.present and index.name not in canonical.indexes for index in view.indexes):
            return outcome  # refused where it was read back
    if existing is None:
        after = _describe_declared(view, made, found, _own_indexes(view, canonical, found))
        reason = "does not exist"
        outcome.actions.append(
            Action("materialized view", str(view.name), "create", reason, tuple(_create(view)), "", after)
        )
        return outcome
    if new_or_changed:
        _check_dependents(view, found, outcome, "is to be redefined", views_too=False)
        reasons = _differences(view, made, existing)
        before = describe(existing) + "".join(map(index_rules.describe, found.indexes_of(view.name)))
        after = _describe_declared(view, made, found, _own_indexes(view, canonical, found))
        outcome.actions.append(
            Action(
                "materialized view",
                str(view.name),
                "replace",
                "; ".join(reasons),
                tuple(_replace(view, made, existing, found)),
                before,
                after,
                bytes=existing.bytes,
                seconds=space.index_seconds(existing.bytes, existing, concurrently=False),
                tablespace=view.tablespace or existing.tablespace,
            )
        )
        return outcome
    outcome.actions += _alter(view, made, existing, found)
    for index in view.indexes:
        outcome.add(index_rules.decide(index, canonical.indexes.get(index.name), found, concurrently=concurrently))
    outcome.actions += _fill(view, existing)
    if naming.building(view.name) in found.relations:
        cleaning = drop_step(naming.building(view.name), "remove what an interrupted run left")
        reason = "an interrupted run left something"
        outcome.actions.append(Action("materialized view", str(view.name), "clean", reason, (cleaning,)))
    return outcome


def prune(names: Iterable[Name], found: Found) -> Outcome:
    """Decide about marked materialized views that are not declared any more: what others stand on is kept."""
    outcome = Outcome()
    for name in names:
        standing = [item.label for item in found.dependents if item.on == name]
        if standing:
            outcome.warnings.append(f"materialized view {name} is not pruned: {', '.join(standing)} stand on it")
            continue
        reason = "is marked and not declared"
        work = drop_step(name, "remove")
        outcome.actions.append(
            Action("materialized view", str(name), "prune", reason, (work,), describe(found.relations[name]))
        )
    return outcome
