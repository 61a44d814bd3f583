"""Ask the server what the declaration means, and refuse what it refuses."""

from __future__ import annotations

from collections.abc import Iterator

from . import batch
from .connection import Session
from .errors import RefusedError
from .model import Declaration, Index, MaterializedView, Name, Statistics
from .reader import yaml_word
from .state import Found, Relation
from .table import differing
from .twins import Canonical, Twins, group
from .view_twins import ViewTwins

KINDS = ("r", "p", "m")  # tables, partitioned tables, materialized views


def _check_relation(name: Name, relation: Relation | None, found: Found, views: set[Name]) -> Iterator[str]:
    """Yield why nothing can be declared on a relation."""
    if relation is None:
        if name not in views:
            yield "does not exist" if name.schema in found.schemas else f"schema {name.schema} does not exist"
    elif relation.kind not in KINDS:
        yield "is neither a table nor a materialized view"
    elif not relation.owned:
        yield f"belongs to {relation.owner}, and {found.role} is not a member of that role"
    elif relation.persistence == "t":
        yield "is a temporary table"


def _relations(declaration: Declaration, found: Found, canonical: Canonical) -> list[Relation]:
    """Return the tables that twins can be made of; refuse the others, naming each object that needs them."""
    views = {view.name for view in declaration.materialized_views}
    good = []
    for name in declaration.tables:
        if name in views:
            continue
        relation = found.relations.get(name)
        wrong = list(_check_relation(name, relation, found, views))
        on = group(declaration, name)
        users: list[object] = [*on.indexes, *on.statistics, *on.parameters]
        users += [item for item in declaration.column_statistics if item.table == name]
        for problem in wrong:
            for user in users:
                hint = f"; it {word}" if (word := yaml_word(name.name)) else ""
                canonical.refuse(user, f"table {name} {problem}{hint}")
        if relation is not None and not wrong:
            good.append(relation)
    return good


def _check_schemas(declaration: Declaration, found: Found, canonical: Canonical) -> None:
    creating: list[MaterializedView | Index | Statistics] = []
    creating += [view for view in declaration.materialized_views if view.present]
    creating += [index for index in declaration.all_indexes if index.present]
    creating += [item for item in declaration.statistics if item.present]
    for item in creating:
        if item.name.schema not in found.schemas:
            if isinstance(item, MaterializedView):
                canonical.refuse(item, f"schema {item.name.schema} does not exist")
        elif not found.schemas[item.name.schema]:
            canonical.refuse(item, f"{found.role} may not create in schema {item.name.schema}")
        if isinstance(item, Statistics):
            continue
        if item.tablespace is not None and item.tablespace not in found.tablespaces:
            canonical.refuse(item, f"tablespace {item.tablespace} does not exist")
        elif item.tablespace in found.closed_tablespaces:
            canonical.refuse(item, f"{found.role} may not create in tablespace {item.tablespace}")


def _needs_twin(declaration: Declaration, relation: Relation) -> bool:
    """Tell whether the server must be asked: not about parameters that are as declared."""
    on = group(declaration, relation.name)
    leaves = [partition.options for partition in relation.partitions if partition.kind == "r"]
    stored = leaves if relation.kind == "p" else [relation.options]
    changes = any(differing(item.parameters, options) for item in on.parameters for options in stored)
    return bool(on.indexes or on.statistics or changes)


def normalise(session: Session, declaration: Declaration, found: Found) -> Canonical:
    """Return the declaration in the server's spelling, with everything that it refuses.

    Args:
        session: outside of a transaction, with a lock timeout for the shared lock that reading a table's columns takes.
        declaration: what was asked for.
        found: what the database has.

    Raises:
        RefusedError: the role may not make temporary tables.
        ServerError: an error that is not about the declaration, such as a lock timeout.
    """
    if not found.temporary:
        raise RefusedError(
            f"role {found.role} may not make temporary tables in this database, which is how definitions are compared: "
            "grant it TEMPORARY on the database"
        )
    twins = Twins(session, declaration, found)
    tables = _relations(declaration, found, twins.canonical)
    _check_schemas(declaration, found, twins.canonical)
    with session.rolled_back():
        needed = [relation for relation in tables if _needs_twin(declaration, relation)]
        read, views_too = batch.everything(session, declaration, found, needed)
        if read is not None:
            twins.canonical.add(read)
        for relation in needed if read is None else ():
            twins.table(relation)
        if not views_too:
            ViewTwins(twins).run()
    return twins.canonical
