"""Observe: everything about one table that its conversion has to carry over, or must refuse."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from .. import queries as general
from ..catalog import observe as observe_objects
from ..catalog import parameters
from ..connection import Row, Session, sql
from ..model import Declaration, MaterializedView, Name, TableParameters
from ..naming import is_own, retired
from ..sizes import with_sizes
from ..sqlbuild import ident, text
from ..state import Dependent
from . import queries
from .model import TYPES, Constraint, Facts, Part, Publication, Sequence, Trigger, Wanted, twin_of

_OWN = r"__pgopt_(new|old)_[0-9a-f]{8}$"


def _constraints(session: Session, oid: int) -> tuple[Constraint, ...]:
    return tuple(
        Constraint(
            name=row["name"],
            kind=row["kind"],
            definition=row["definition"],
            valid=row["valid"],
            inherited=row["inherited"],
            columns=tuple(row["columns"]),
            include=tuple(row["include"]),
            timing=row["timing"],
            comment=row["comment"],
            on=None if row["refers"] is None else Name(*row["refers"]),
        )
        for row in session.rows(queries.CONSTRAINTS, (oid, oid))
    )


def _publications(session: Session, oid: int) -> tuple[Publication, ...]:
    return tuple(
        Publication(row["name"], row["via_root"], row["listed"], row["owned"], tuple(row["columns"]), row["condition"])
        for row in session.rows(queries.PUBLICATIONS, (oid, oid))
    )


def _dependents(session: Session, oids: list[int]) -> tuple[Dependent, ...]:
    return tuple(
        Dependent(
            on=Name(row["on_schema"], row["on_name"]),
            kind=row["kind"],
            label=row["label"],
            name=None if row["name"] is None else Name(row["schema"], row["name"]),
            query=row["query"],
            options=tuple(row["options"] or ()),
            owner=row["owner"] or "",
        )
        for row in session.rows(general.DEPENDENTS, (True, oids))
    )


def _contents(session: Session, wanted: Wanted, row: Row) -> dict[str, Any]:
    """Look at the rows: the newest one, and whether the column has nulls. An index on the column makes both quick."""
    column = sql.Identifier(wanted.column)
    newest = session.row(text("SELECT max({})::timestamp::text AS newest FROM {}", column, ident(wanted.table)))[
        "newest"
    ]
    infinite = newest in {"infinity", "-infinity"}
    nulls = (
        not row["not_null"]
        and session.row(text("SELECT EXISTS (SELECT FROM {} WHERE {} IS NULL) AS nulls", ident(wanted.table), column))[
            "nulls"
        ]
    )
    moment = None if newest is None or infinite else datetime.fromisoformat(newest).replace(tzinfo=UTC)
    return {"newest": moment, "infinite": infinite, "nulls": nulls}


def _partitions(rows: list[Row]) -> tuple[Part, ...]:
    return tuple(
        Part(
            Name(row["schema"], row["name"]),
            row["upper"],
            row["lowest"],
            row["is_default"],
            parameters(row["reloptions"]) | parameters(row["toast_options"], "toast."),
            row["lower"],
        )
        for row in rows
    )


def _plain(session: Session, wanted: Wanted, oid: int, row: Row) -> dict[str, Any]:
    """Read what only a table that is still whole is asked."""
    twin = twin_of(wanted.table)
    rows = (
        twin.name in row["taken"] and session.row(text("SELECT EXISTS (SELECT FROM {}) AS found", ident(twin)))["found"]
    )
    indexes = session.rows(queries.INDEXES, (oid,))
    return {
        **_contents(session, wanted, row),
        "referenced_by": tuple(item["label"] for item in session.rows(queries.REFERENCING, (oid,))),
        "triggers": tuple(
            Trigger(item["name"], item["definition"], item["enabled"], item["transition"], item["comment"])
            for item in session.rows(queries.TRIGGERS, (oid,))
        ),
        "sequences": tuple(
            Sequence(Name(item["schema"], item["name"]), item["column"], item["identity"])
            for item in session.rows(queries.SEQUENCES, (oid,))
        ),
        "publications": _publications(session, oid),
        "dependents": _dependents(session, [oid]),
        "of_tableoid": tuple(item["label"] for item in session.rows(queries.OF_TABLEOID, (oid,))),
        "tails": {Name(item["schema"], item["name"]): item["tail"] for item in indexes},
        "keys": {Name(item["schema"], item["name"]): tuple(item["keys"]) for item in indexes},
        "twin_rows": bool(rows),
    }


def observe(session: Session, wanted: Wanted) -> Facts:
    """Read everything about the table."""
    name = session.render(ident(wanted.table))
    row = session.row(queries.FIND, (name,))
    oid, now = row["oid"], row["now"].replace(tzinfo=UTC)
    base = Declaration(table_parameters=(TableParameters(wanted.table, ()),))
    if oid is None:
        return Facts(observe_objects(session, base), None, now)
    oddities = tuple(session.row(queries.ODDITIES, (oid,))["oddities"])
    row = session.row(queries.TABLE, (wanted.column, oid))
    parts = session.rows(queries.PARTITIONS, (oid,)) if row["kind"] == "p" else []
    # The views of a whole table read it; those of a partitioned one that still read its history were not made again.
    sources = [item["oid"] for item in parts if item["lowest"]] if row["kind"] == "p" else [oid]
    left = [
        item["oid"]
        for item in session.rows("SELECT oid::bigint FROM pg_class WHERE relkind = 'm' AND relname ~ %s", (_OWN,))
    ]
    found_views = session.rows(queries.VIEWS, (sources + left, _OWN))
    names = [Name(item["schema"], item["name"]) for item in found_views]
    declared = Declaration(
        materialized_views=tuple(MaterializedView(view, "") for view in names), table_parameters=base.table_parameters
    )
    found = with_sizes(session, observe_objects(session, declared))
    matviews = [item for item in found.relations.values() if item.kind == "m"]
    own = [item for item in matviews if is_own(item.name.name)]
    known = {Name(item["schema"], item["name"]) for item in session.rows(_MATERIALIZED)} if own else set()
    old = tuple((item.name, view) for item in own for view in sorted(known) if retired(view, item.oid) == item.name)
    plain = {}
    if row["kind"] == "r" and not oddities and row["column_type"] in TYPES:
        plain = _plain(session, wanted, oid, row)
    return Facts(
        found=found,
        relation=found.relations.get(wanted.table),
        now=now,
        column_type=row["column_type"],
        not_null=bool(row["not_null"]),
        generated=bool(row["generated"]),
        analysed=row["kind"] == "r" or row["tuples"] >= 0,
        replica_identity=row["replica_identity"],
        total_bytes=row["total_bytes"],
        oddities=oddities,
        constraints=_constraints(session, oid),
        views=tuple(found.relations[view] for view in names if view in found.relations),
        retired=old,
        default_grantees=tuple(row["default_grantees"]),
        column_options={column: tuple(options) for column, options in row["column_options"] or ()},
        partition_key=_key_column(row),
        partitions=_partitions(parts),
        suffix="YYYY_MM" if int(row["partman"].partition(".")[0]) < 5 else "YYYYMMDD",  # noqa: PLR2004 - a version
        taken=frozenset(row["taken"]),
        **plain,
    )


_MATERIALIZED = """
SELECT n.nspname AS schema, c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'm'
"""


def _key_column(row: Row) -> str | None:
    """Return the partition key: `RANGE` where it is the wanted column alone, else as the server writes it."""
    key: str | None = row["partition_key"]
    return "RANGE" if key is not None and key == f"RANGE ({row['quoted']})" else key
