"""Observe sizes: rows, bytes and widths of columns, which only the estimates of what is to be built need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from . import queries, space
from .catalog import pairs
from .connection import Row, Session
from .model import Name
from .state import Found, Relation


def _sized(relation: Relation, sizes: Mapping[int, Row], widths: Mapping[str, int]) -> Relation:
    columns = {
        column.name: replace(column, width=widths.get(column.name, column.width))
        for column in relation.columns.values()
    }
    average = [column.width for column in columns.values()]

    def measured(oid: int) -> tuple[float, int]:
        row = sizes.get(oid)
        return (
            (0.0, 0) if row is None else (space.rows(row["tuples"], row["pages"], row["bytes"], average), row["bytes"])
        )

    partitions = []
    for part in relation.partitions:
        tuples, size = measured(part.oid)
        partitions.append(replace(part, tuples=tuples, bytes=size))
    tuples, size = measured(relation.oid)
    tuples += sum(part.tuples for part in partitions)
    return replace(relation, tuples=tuples, bytes=size, columns=columns, partitions=tuple(partitions))


def with_sizes(session: Session, found: Found) -> Found:
    """Return the state with the sizes that only estimates of builds need; reading them waits for the weakest lock."""
    widths: dict[Name, dict[str, int]] = {}
    for row in session.rows(queries.WIDTHS, pairs(found.relations)):
        widths.setdefault(Name(row["schema"], row["name"]), {})[row["column"]] = row["width"]
    oids = [relation.oid for relation in found.relations.values()]
    oids += [part.oid for relation in found.relations.values() for part in relation.partitions]
    sizes = {row["oid"]: row for row in session.rows(queries.SIZES, (oids,))}
    relations = {name: _sized(relation, sizes, widths.get(name, {})) for name, relation in found.relations.items()}
    return replace(found, relations=relations)
