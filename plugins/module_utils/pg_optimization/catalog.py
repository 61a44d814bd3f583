"""Observe: what the database has of the declared objects, in a handful of queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import queries
from .connection import Row, Session
from .model import Declaration, Name
from .naming import MARK, OWN, building, is_own, marked
from .state import Column, Constraint, Definition, Dependent, Found, FoundIndex, FoundStatistics, Partition, Relation

_BOOLEANS = {"true": "on", "on": "on", "yes": "on", "1": "on", "false": "off", "off": "off", "no": "off", "0": "off"}
_BOOLEAN_PARAMETERS = {
    "fastupdate",
    "autosummarize",
    "deduplicate_items",
    "autovacuum_enabled",
    "toast.autovacuum_enabled",
    "vacuum_truncate",
    "toast.vacuum_truncate",
    "vacuum_index_cleanup",  # or auto
    "toast.vacuum_index_cleanup",
    "user_catalog_table",
    "security_barrier",
    "security_invoker",
}


def parameter(name: str, value: str) -> str:
    """Return a storage parameter's value in one spelling: on and off, numbers without zeros that say nothing."""
    text = value.strip().lower()
    if name in _BOOLEAN_PARAMETERS:
        return _BOOLEANS.get(text, text)
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number.is_integer() else repr(number)


def parameters(options: Iterable[str] | None, prefix: str = "") -> dict[str, str]:
    """Return reloptions as a mapping in one spelling."""
    pairs = (option.partition("=") for option in options or ())
    return {prefix + name: parameter(prefix + name, value) for name, _, value in pairs}


_TEMPORAL = 180000  # the release whose constraints can be WITHOUT OVERLAPS

# What a parameter of an index is where nobody sets it; saying so makes no other index.
_DEFAULTS = {
    "btree": {"fillfactor": "90", "deduplicate_items": "on"},
    "hash": {"fillfactor": "75"},
    "gist": {"fillfactor": "90", "buffering": "auto"},
    "spgist": {"fillfactor": "80"},
    "gin": {"fastupdate": "on"},
    "brin": {"pages_per_range": "128", "autosummarize": "off"},
}


def definition(row: Row) -> Definition:
    """Return the definition from a row of the queries that read one."""
    text: str = row["definition"]
    start = len(f"CREATE {'UNIQUE ' if row['is_unique'] else ''}INDEX {row['quoted_index']} ON ")
    behind = text.index(f"{row['quoted_table']} USING ", start)
    tail = text[behind + len(f"{row['quoted_table']} USING ") :]
    if row["with_text"]:
        tail = tail.replace(f" WITH ({row['with_text']})", "", 1)
    defaults = _DEFAULTS.get(tail.partition(" ")[0], {})
    options = parameters(row["reloptions"])
    return Definition(
        tail=tail,
        unique=row["is_unique"],
        parameters=tuple(sorted((name, value) for name, value in options.items() if defaults.get(name) != value)),
        parts=tuple(row["parts"]),
        plain=row["plain"],
        includes=row["includes"],
    )


def _grants(raw: Any) -> tuple[tuple[str, str, bool], ...] | None:
    return None if raw is None else tuple((grant[0], grant[1], bool(grant[2])) for grant in raw)


def _column(raw: Sequence[Any]) -> Column:
    """Return a column from what RELATIONS has of it; of those of materialized views there is more."""
    name, not_null, target, width, usable, virtual, acl, more = raw
    kind, comment, options, storage, compression = more or (None,) * 5
    return Column(
        name=name,
        type=kind or "",
        not_null=not_null,
        target=target,
        width=width,
        acl=_grants(acl) or (),
        comment=comment,
        options=tuple(options or ()),
        storage=storage,
        compression=compression,
        usable=usable,
        virtual=virtual,
    )


def _partition(row: Row) -> Partition:
    return Partition(
        row["oid"],
        Name(row["schema"], row["name"]),
        row["parent"],
        row["kind"],
        options=parameters(row["reloptions"]) | parameters(row["toast_options"], "toast."),
        has_toast=row["has_toast"],
        owner=row["owner"],
        owned=row["owned"],
    )


def _relation(row: Row, parts: Iterable[Row], tablespaces: Mapping[int, str]) -> Relation:
    return Relation(
        oid=row["oid"],
        name=Name(row["schema"], row["name"]),
        kind=row["kind"],
        persistence=row["persistence"],
        owner=row["owner"],
        owned=row["owned"],
        tuples=0.0,
        bytes=0,
        options=parameters(row["reloptions"]) | parameters(row["toast_options"], "toast."),
        has_toast=row["has_toast"],
        tablespace=tablespaces[row["tablespace"]],
        comment=row["comment"],
        populated=row["populated"],
        access_method=row["access_method"],
        query=row["query"],
        partition_key=row["partition_key"],
        columns={raw[0]: _column(raw) for raw in row["columns"] or ()},
        partitions=tuple(map(_partition, parts)),
        acl=_grants(row["acl"]),
        default_grantees=tuple(row["default_grantees"] or ()),
        extensions=tuple(row["extensions"] or ()),
    )


def _constraint(row: Row) -> Constraint | None:
    if row["con_name"] is None:
        return None
    return Constraint(
        name=row["con_name"],
        kind=row["con_kind"],
        deferrable=row["con_deferrable"],
        deferred=row["con_deferred"],
        comment=row["con_comment"],
        referenced_by=tuple(row["referenced_by"] or ()),
        temporal=row["con_temporal"],
        standing=tuple(row["con_standing"] or ()),
    )


def _index(
    row: Row, tablespaces: Mapping[int, str], building: set[int], members: Mapping[int, list[Name]]
) -> FoundIndex:
    return FoundIndex(
        oid=row["oid"],
        name=Name(row["schema"], row["name"]),
        table=Name(row["table_schema"], row["table_name"]),
        table_oid=row["table_oid"],
        partitioned=row["kind"] == "I",
        definition=definition(row),
        text=row["definition"],
        valid=row["is_valid"],
        building=row["oid"] in building,
        clustered=row["clustered"],
        replica_identity=row["replica_identity"],
        tablespace=tablespaces[row["tablespace"]],
        comment=row["comment"],
        constraint=_constraint(row),
        parent=None if row["parent"] is None else Name(*row["parent"]),
        owner=row["owner"],
        owned=row["owned"],
        referenced_by=tuple(row["referenced_by"] or ()),
        extensions=tuple(row["extensions"]),
        targets=tuple((position, target) for position, target in row["targets"] or ()),
        partitions=tuple(members.get(row["table_oid"], ())) if row["kind"] == "I" else (),
    )


def _indexes(
    session: Session, tables: list[int], names: Iterable[Name], tablespaces: Mapping[int, str]
) -> dict[Name, FoundIndex]:
    """Return the indexes on tables, those of given names and the marked ones."""
    temporal = "coalesce(con.conperiod, false)" if session.server.number >= _TEMPORAL else "false"
    rows = session.rows(queries.INDEXES.format(temporal=temporal), (tables, *pairs(names), MARK, MARK, OWN))
    invalid = [row["oid"] for row in rows if not row["is_valid"]]
    building = {row["oid"] for row in session.rows(queries.BUILDING, (invalid,))} if invalid else set()
    partitioned = list({row["table_oid"] for row in rows if row["kind"] == "I"})
    members: dict[int, list[Name]] = {}
    for row in session.rows(queries.MEMBERS, (partitioned,)) if partitioned else []:
        members.setdefault(row["root"], []).append(Name(row["schema"], row["name"]))
    found = [_index(row, tablespaces, building, members) for row in rows]
    return {index.name: index for index in found}


def pairs(names: Iterable[Name]) -> tuple[list[str], list[str]]:
    """Return names as the two arrays that queries take."""
    known = list(dict.fromkeys(names))
    return [name.schema for name in known], [name.name for name in known]


def observe(session: Session, declaration: Declaration) -> Found:
    """Read what the declaration concerns: its relations, every index on them, and what carries the module's mark."""
    names = [*declaration.tables, *(index.name for index in declaration.all_indexes)]
    names += [building(view.name) for view in declaration.materialized_views]
    new = pairs(view.name for view in declaration.materialized_views if view.present)
    context = session.row(queries.CONTEXT, (*new, sorted({name.schema for name in names})))
    tablespaces = {oid: name for oid, name, _ in context["tablespaces"]} | {0: context["default_tablespace"]}
    rows = session.rows(queries.RELATIONS, (*pairs(names), MARK, MARK, OWN))
    tables = [row["oid"] for row in rows if row["kind"] in "rpm"]
    partitions: dict[int, list[Row]] = {}
    if any(row["kind"] == "p" for row in rows):
        for row in session.rows(queries.PARTITIONS, (tables,)):
            partitions.setdefault(row["root"], []).append(row)
    relations = [_relation(row, partitions.get(row["oid"], ()), tablespaces) for row in rows]
    members = [member["oid"] for tree in partitions.values() for member in tree]
    indexes = _indexes(session, tables + members, (index.name for index in declaration.all_indexes), tablespaces)
    statistics = session.rows(
        queries.STATISTICS, (*pairs(item.name for item in declaration.statistics), tables, MARK, MARK)
    )
    views = {Name(row["schema"], row["name"]) for row in rows if row["kind"] == "m"}
    standing = session.rows(queries.DEPENDENTS, (False, tables)) if tables else []
    dependents = [row for row in standing if Name(row["on_schema"], row["on_name"]) in views]
    concerned, declared = set(declaration.tables), set(names)
    readers = [
        (Name(row["schema"], row["name"]), on)
        for row in standing
        if row["kind"] == "materialized view" and (on := Name(row["on_schema"], row["on_name"])) in concerned
    ]
    return Found(
        version=session.server.number,
        role=context["role"],
        temporary=context["temporary"],
        schemas=dict(context["schemas"] or ()),
        tablespaces={name: path for _, name, path in context["tablespaces"]},
        closed_tablespaces=frozenset(context["closed_tablespaces"]) - {context["default_tablespace"]},
        default_tablespace=context["default_tablespace"],
        work_memory=context["work_memory"],
        relations={relation.name: relation for relation in relations},
        types=frozenset(Name(*pair) for pair in context["types"] or ()),
        indexes=indexes,
        statistics={
            Name(row["schema"], row["name"]): FoundStatistics(
                oid=row["oid"],
                name=Name(row["schema"], row["name"]),
                table=Name(row["table_schema"], row["table_name"]),
                columns=row["columns"],
                kinds=row["kinds"],
                target=row["target"],
                comment=row["comment"],
                text=row["definition"],
                owner=row["owner"],
                owned=row["owned"],
            )
            for row in statistics
        },
        dependents=tuple(
            Dependent(
                on=Name(row["on_schema"], row["on_name"]),
                kind=row["kind"],
                label=row["label"],
                name=None if row["name"] is None else Name(row["schema"], row["name"]),
                query=row["query"],
                options=tuple(row["options"] or ()),
                owner=row["owner"] or "",
            )
            for row in dependents
        ),
        readers=tuple(readers),
        marked_views=tuple(
            relation.name
            for relation in relations
            if relation.kind == "m"
            and (relation.name not in declared or is_own(relation.name.name))
            and (marked(relation.comment) or is_own(relation.name.name))
        ),
    )
