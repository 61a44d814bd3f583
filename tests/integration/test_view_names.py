"""Views whose names mean something else too: relations of other schemas, aliases, WITH queries."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Database

TABLES = """
SET ROLE owner;
CREATE SCHEMA app; CREATE SCHEMA reporting; CREATE SCHEMA sales; CREATE SCHEMA "Big One";
CREATE TABLE app.orders (id int, day date, total numeric);
CREATE TABLE public.daily (d date, n int);
CREATE TABLE public.sales (total int, day date);
INSERT INTO app.orders SELECT n, '2025-01-01'::date + n % 7, n FROM generate_series(1, 70) n;
RESET ROLE;
"""


@pytest.fixture
def tables(db: Database) -> Database:
    db.execute(TABLES)
    return db


def view(name: str, query: str, schema: str = "public") -> dict[str, Any]:
    return {"name": name, "schema": schema, "query": query}


ORDERS = "SELECT id, day, total FROM app.orders WHERE total > {}"


def test_a_new_view_does_not_take_the_name_of_a_table_in_the_search_path(tables: Database) -> None:
    done = tables.settle(
        materialized_views=[
            view("daily", "SELECT day, count(*) AS c FROM app.orders GROUP BY day", "app"),
            view("report", "SELECT d, n FROM daily"),
        ]
    )
    assert done.said == [("app.daily", "create"), ("public.report", "create")]


def test_a_view_that_reads_a_table_of_the_same_name_is_left_alone(tables: Database) -> None:
    totals = view("totals", "SELECT day, sum(total) AS s FROM orders GROUP BY day", "reporting")
    for bound in (0, 1):
        done = tables.settle(
            search_path=["app"],
            materialized_views=[view("orders", ORDERS.format(bound), "reporting"), totals],
        )
    assert done.said == [("reporting.orders", "replace")]


def test_an_alias_with_the_name_of_a_schema_is_no_schema(tables: Database) -> None:
    query = (
        "SELECT sales.day, sales.total, EXTRACT(year FROM sales.day) AS y FROM public.sales "
        "WHERE sales.total IS DISTINCT FROM sales.total OR sales.day IS NULL"
    )
    done = tables.settle(
        materialized_views=[
            view("total", "SELECT sum(total) AS total FROM public.sales", "sales"),
            view("day", "SELECT max(total) AS total FROM sales.total", "sales"),
            view("per_day", query, "sales"),
        ]
    )
    assert len(done.said) == 3


READERS = {
    "both with aliases": "SELECT a.id, b.s FROM reporting.orders a JOIN sales.orders b ON a.id = b.s",
    "one with an alias": "SELECT orders.id, b.s FROM reporting.orders JOIN sales.orders b ON orders.id = b.s",
    "in two queries": "SELECT id FROM reporting.orders WHERE id IN (SELECT orders.s FROM sales.orders)",
    "a column with its schema": "SELECT reporting.orders.id FROM reporting.orders, sales.orders x",
    "its database": "SELECT {}.reporting.orders.id FROM {}.reporting.orders",
    "other case": 'SELECT "orders".id FROM Reporting . "orders"',
    "a WITH query of the name": "WITH orders AS (SELECT s AS id FROM sales.orders) SELECT id FROM orders",
    "a table of the name": "SELECT orders.id FROM app.orders JOIN reporting.orders o USING (id)",
    "the type of its rows": "SELECT (json_populate_record(NULL::reporting.orders, json_build_object('id', 1))).id",
    "a column that only the new one has": "SELECT id, extra FROM reporting.orders",
}


@pytest.mark.parametrize("query", READERS.values(), ids=READERS)
def test_views_of_one_name_in_two_schemas_are_each_read_as_they_will_be(tables: Database, query: str) -> None:
    both = [
        view("orders", ORDERS.format(0), "reporting"),
        view("orders", "SELECT id AS s FROM app.orders", "sales"),
    ]
    tables.settle(materialized_views=both)
    both = [
        view("orders", ORDERS.format(1).replace("total FROM", "total, 1 AS extra FROM"), "reporting"),
        view("orders", "SELECT id AS s FROM app.orders WHERE id > 5", "sales"),
    ]
    reader = view("Reader", query.replace("{}", tables.name), "Big One")
    done = tables.settle(materialized_views=[reader, *both])
    assert dict(done.said) == {
        "reporting.orders": "replace",
        "sales.orders": "replace",
        '"Big One"."Reader"': "create",
    }


def test_a_view_with_the_name_of_a_schema_before_it_in_the_search_path_is_made_first(tables: Database) -> None:
    found = tables.settle(
        search_path=["reporting", "app"],
        materialized_views=[
            view("reader", "SELECT max(later) AS m FROM orders"),
            view("orders", "SELECT id AS later FROM app.orders", "reporting"),
        ],
    )
    assert found.said == [("reporting.orders", "create"), ("public.reader", "create")]


@pytest.mark.parametrize("query", ["SELECT id FROM reporting.orders", "SELECT id FROM orders"])
def test_a_view_that_reads_itself_is_refused(tables: Database, query: str) -> None:
    tables.execute("SET ROLE owner; CREATE MATERIALIZED VIEW reporting.orders AS SELECT 1 AS id; RESET ROLE")
    before = tables.snapshot()
    done = tables.optimise(search_path=["reporting", "app"], materialized_views=[view("orders", query, "reporting")])
    assert done.failed
    assert "reads the view itself" in done.msg
    assert tables.snapshot() == before


def test_the_query_is_said_with_the_names_that_it_will_have(tables: Database) -> None:
    stacked = view("reader", "SELECT o.id, orders.day FROM reporting.orders JOIN reporting.orders o USING (id)")
    done = tables.settle(materialized_views=[view("orders", ORDERS.format(0), "reporting"), stacked])
    assert tables.value("SELECT pg_get_viewdef('reader'::regclass)") in done.actions[1]["after"]
