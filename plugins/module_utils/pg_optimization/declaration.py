"""Raw parameters -> Declaration, with every refusal that needs no server, all of them collected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from . import sqltext
from .encoding import Encoding
from .model import (
    ColumnStatistics,
    Declaration,
    Index,
    Key,
    MaterializedView,
    Name,
    Problem,
    Statistics,
    TableParameters,
    display,
)
from .naming import is_own
from .reader import Reader

Raw = Mapping[str, Any]
_KEY_OPTIONS = {"name", "expression", "order", "nulls", "opclass", "opclass_params", "collation"}


def _key(reader: Reader, raw: Any) -> Key:
    if not isinstance(raw, Mapping):
        return Key(column=reader.identifier(raw, "column"))
    if unknown := sorted(str(option) for option in set(raw) - _KEY_OPTIONS):
        reader.refuse(f"column has unknown options: {', '.join(unknown)}")
    column, expression = raw.get("name"), raw.get("expression")
    if (column is None) == (expression is None):
        reader.refuse("column needs either name or expression")
    if raw.get("opclass_params") and not raw.get("opclass"):
        reader.refuse("opclass_params needs opclass")
    opclass = raw.get("opclass")
    if isinstance(opclass, str) and opclass.count(".") == 1:
        opclass = opclass.split(".")
    return Key(
        column=None if column is None else reader.identifier(column, "column"),
        expression=None if expression is None else reader.sql(expression, "expression"),
        order=reader.choice(raw.get("order"), "order", ("asc", "desc")),
        nulls=reader.choice(raw.get("nulls"), "nulls", ("first", "last")),
        opclass=reader.qualified(opclass, "opclass"),
        opclass_params=reader.set_parameters(raw.get("opclass_params"), "opclass parameter"),
        collation=reader.qualified(raw.get("collation"), "collation"),
    )


def _title(kind: str, raw: Raw) -> str:
    parts = [part for part in (raw.get("schema"), raw.get("name")) if isinstance(part, str)]
    return f"{kind} {display(*parts)}"


def _index(raw: Raw, problems: list[Problem], encoding: Encoding, view: Raw | None = None) -> Index:
    schema = (raw.get("schema") or "public") if view is None else view.get("schema") or "public"
    table = raw.get("table") if view is None else view.get("name")
    reader = Reader(_title("index", {**raw, "schema": schema}), problems, encoding)
    present = raw.get("state") != "absent"
    columns = raw.get("columns") or []
    if present and not columns:
        reader.refuse("columns is empty")
    schema = reader.identifier(schema, "schema")
    index = Index(
        name=Name(schema, reader.identifier(raw.get("name"), "name")),
        table=Name(schema, reader.identifier(table, "table")),
        keys=tuple(_key(reader, column) for column in columns),
        method=reader.identifier(raw.get("method") or "btree", "method").lower(),
        include=tuple(reader.identifier(column, "include") for column in raw.get("include") or []),
        where=None if raw.get("where") is None else reader.sql(raw["where"], "where"),
        unique=bool(raw.get("unique")),
        nulls_not_distinct=bool(raw.get("nulls_not_distinct")),
        storage_parameters=reader.set_parameters(raw.get("storage_parameters")),
        tablespace=None if raw.get("tablespace") is None else reader.identifier(raw["tablespace"], "tablespace"),
        comment=reader.comment(raw.get("comment")),
        present=present,
    )
    if index.nulls_not_distinct and not index.unique:
        reader.refuse("nulls_not_distinct needs unique")
    if is_own(index.name.name):
        reader.refuse("name is one that the module gives to objects under construction")
    return index


def _view(raw: Raw, problems: list[Problem], encoding: Encoding) -> MaterializedView:
    schema = raw.get("schema") or "public"
    reader = Reader(_title("materialized view", {**raw, "schema": schema}), problems, encoding)
    present = raw.get("state") != "absent"
    refresh = raw.get("refresh") or {}
    if not isinstance(refresh, Mapping):
        reader.refuse("refresh is not a mapping")
        refresh = {}
    query = raw.get("query")
    if present and query is None:
        reader.refuse("query is missing")
    view = MaterializedView(
        name=Name(reader.identifier(schema, "schema"), reader.identifier(raw.get("name"), "name")),
        query="" if query is None else reader.sql(sqltext.without_end(query), "query"),
        indexes=tuple(_index(index, problems, encoding, view=raw) for index in raw.get("indexes") or []),
        policy=reader.choice(refresh.get("policy"), "refresh policy", ("plain", "concurrently")) or "plain",
        populate=raw.get("populate") is not False,
        storage_parameters=reader.parameters(raw.get("storage_parameters")),
        tablespace=None if raw.get("tablespace") is None else reader.identifier(raw["tablespace"], "tablespace"),
        comment=reader.comment(raw.get("comment")),
        present=present,
    )
    if is_own(view.name.name):
        reader.refuse("name is one that the module gives to objects under construction")
    return view


def _statistics(raw: Raw, problems: list[Problem], encoding: Encoding) -> Statistics:
    schema = raw.get("schema") or "public"
    reader = Reader(_title("statistics", {**raw, "schema": schema}), problems, encoding)
    schema = reader.identifier(schema, "schema")
    statistics = Statistics(
        name=Name(schema, reader.identifier(raw.get("name"), "name")),
        table=Name(schema, reader.identifier(raw.get("table"), "table")),
        columns=tuple(reader.identifier(column, "column") for column in raw.get("columns") or []),
        expressions=tuple(reader.sql(piece, "expression") for piece in raw.get("expressions") or []),
        kinds=tuple(sorted({str(kind).lower() for kind in raw.get("kinds") or []})),
        target=None if raw.get("target") is None else reader.target(raw["target"]),
        comment=reader.comment(raw.get("comment")),
        present=raw.get("state") != "absent",
    )
    if statistics.present and not statistics.columns and not statistics.expressions:
        reader.refuse("needs columns or expressions")
    if is_own(statistics.name.name):
        reader.refuse("name is one that the module gives to objects under construction")
    return statistics


def _column_statistics(raw: Raw, problems: list[Problem], encoding: Encoding) -> ColumnStatistics:
    schema = raw.get("schema") or "public"
    reader = Reader(_title("column", {"schema": schema, "name": raw.get("table")}), problems, encoding)
    return ColumnStatistics(
        table=Name(reader.identifier(schema, "schema"), reader.identifier(raw.get("table"), "table")),
        column=reader.identifier(raw.get("column"), "column"),
        target=reader.target(raw.get("target")),
    )


def _table_parameters(raw: Raw, problems: list[Problem], encoding: Encoding) -> TableParameters:
    schema = raw.get("schema") or "public"
    reader = Reader(_title("table", {"schema": schema, "name": raw.get("table")}), problems, encoding)
    return TableParameters(
        table=Name(reader.identifier(schema, "schema"), reader.identifier(raw.get("table"), "table")),
        parameters=reader.parameters(raw.get("parameters")),
    )


def _adopt(declaration: Declaration) -> Declaration:
    """Give an index that is declared on a declared materialized view to that view."""
    names = {view.name for view in declaration.materialized_views}
    return replace(
        declaration,
        indexes=tuple(index for index in declaration.indexes if index.table not in names),
        materialized_views=tuple(
            replace(view, indexes=view.indexes + tuple(i for i in declaration.indexes if i.table == view.name))
            for view in declaration.materialized_views
        ),
    )


def _doubles(what: str, names: Iterable[str]) -> list[Problem]:
    return [Problem(name, f"{what} {count} times") for name, count in Counter(names).items() if count > 1]


def _across(declaration: Declaration) -> list[Problem]:
    """Refuse what is wrong between objects: one name twice, a refresh policy that no index serves."""
    names = [view.name for view in declaration.materialized_views] + [index.name for index in declaration.all_indexes]
    problems = _doubles("is declared", map(str, names))
    problems += _doubles("is declared", (str(item) for item in declaration.statistics))
    problems += _doubles("has its target declared", (str(item) for item in declaration.column_statistics))
    problems += _doubles("has its parameters declared", (str(item) for item in declaration.table_parameters))
    tables = {index.table for index in declaration.all_indexes}
    problems += [
        Problem(str(index), "has the name of a table in this declaration")
        for index in declaration.all_indexes
        if index.name in tables
    ]
    problems += [
        Problem(str(view), "refresh policy concurrently needs a unique btree index on plain columns, without where")
        for view in declaration.materialized_views
        if view.present
        and view.policy == "concurrently"
        and not any(index.serves_concurrent_refresh for index in view.indexes)
    ]
    return problems


def _sound(declaration: Declaration, unsound: set[int]) -> Declaration:
    """Return the objects that the server can be asked about."""

    def keep(items: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(item for item in items if id(item) not in unsound)

    return replace(
        declaration,
        indexes=keep(declaration.indexes),
        materialized_views=keep(declaration.materialized_views),
        statistics=keep(declaration.statistics),
        column_statistics=keep(declaration.column_statistics),
        table_parameters=keep(declaration.table_parameters),
    )


def parse(params: Raw, encoding: Encoding | None = None) -> tuple[Declaration, list[Problem]]:
    """Return the declaration and everything that is wrong with it as far as no server is needed.

    Where something is wrong, the declaration has only the objects that are sound, so that the server can be asked about
    those and all problems are reported together.

    Args:
        params: the module's parameters; the lists may be None.
        encoding: of the database; before it is known, UTF-8.
    """
    problems: list[Problem] = []
    unsound: set[int] = set()

    def read(make: Callable[[Raw, list[Problem], Encoding], Any], option: str) -> tuple[Any, ...]:
        items = []
        for raw in params.get(option) or []:
            before = len(problems)
            items.append(make(raw, problems, encoding or Encoding()))
            if len(problems) > before:
                unsound.add(id(items[-1]))
        return tuple(items)

    indexes, views = read(_index, "indexes"), read(_view, "materialized_views")
    declaration = Declaration(
        indexes=indexes,
        materialized_views=views,
        statistics=read(_statistics, "statistics"),
        column_statistics=read(_column_statistics, "column_statistics"),
        table_parameters=read(_table_parameters, "table_parameters"),
        prune=bool(params.get("prune")),
        concurrently=params.get("concurrently") is not False,
    )
    problems += _across(_adopt(declaration))
    return _adopt(_sound(declaration, unsound) if problems else declaration), problems
