"""A declaration is changed at random, a hundred times: a check says what the run does, and then nothing is left."""

from __future__ import annotations

import random
from typing import Any

import pytest
from conftest import Database

pytestmark = pytest.mark.faults

TABLES = """
SET ROLE owner;
CREATE TABLE t (a int NOT NULL, b int, c text, d varchar(20), e float8, ts timestamp, tags text[], doc jsonb);
INSERT INTO t SELECT n, n % 7, 'c' || n, 'd' || n % 5, n / 3.0, timestamp '2025-01-01' + n * interval '1 hour',
                     ARRAY['x' || n], jsonb_build_object('n', n) FROM generate_series(1, 300) n;
CREATE TABLE "Quoted T" ("Key" int, "a b" text);
INSERT INTO "Quoted T" SELECT n, 'x' || n FROM generate_series(1, 100) n;
CREATE TABLE p (a int, b int, c text) PARTITION BY HASH (a);
CREATE TABLE p_0 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE p_1 PARTITION OF p FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO p SELECT n, n, 'c' FROM generate_series(1, 100) n;
ANALYZE;
RESET ROLE;
"""
COLUMNS = {"t": ["a", "b", "c", "d", "e", "ts"], "Quoted T": ["Key", "a b"], "p": ["a", "b", "c"]}
QUERIES = [
    "SELECT b, count(*) AS n FROM t GROUP BY b",
    "SELECT b, count(*) AS n, max(c) AS c FROM t GROUP BY b",
    "SELECT b, count(*) AS n FROM t WHERE a > 10 GROUP BY b",
    'SELECT b, count(*) AS n, sum(e) AS e FROM t LEFT JOIN "Quoted T" q ON q."Key" = t.a GROUP BY b',
]
STEPS = 25


class Changes:
    """Makes declarations, each a little different from the one before."""

    def __init__(self, seed: int) -> None:
        """Begin with nothing declared."""
        self.random = random.Random(seed)  # noqa: S311 - reproducible, not secret
        self.indexes: dict[str, dict[str, Any]] = {}
        self.views: dict[str, dict[str, Any]] = {}
        self.statistics: dict[str, dict[str, Any]] = {}
        self.targets: dict[str, int] = {}
        self.parameters: dict[str, Any] = {}

    def _key(self, table: str) -> Any:
        column = self.random.choice(COLUMNS[table])
        forms: list[Any] = [column, column, {"name": column}, {"name": column, "order": "desc"}]
        forms.append({"name": column, "order": "asc", "nulls": "first"})
        if table == "t":
            forms += [{"expression": "lower(c)"}, {"expression": "a + b"}, {"name": "c", "collation": "C"}]
        return self.random.choice(forms)

    def _index(self, name: str) -> dict[str, Any]:
        table = self.random.choice(list(COLUMNS))
        if name in self.indexes and self.random.random() < 0.8:
            table = self.indexes[name]["table"]
        index: dict[str, Any] = {"name": name, "table": table}
        index["columns"] = [self._key(table) for _ in range(self.random.randint(1, 3))]
        if self.random.random() < 0.3:
            index["include"] = [self.random.choice(COLUMNS[table])]
        if self.random.random() < 0.3 and table == "t":
            index["where"] = self.random.choice(["a > 5", "b IS NOT NULL", "c <> 'x' AND a < 100", "e > 0"])
        if self.random.random() < 0.3:
            index["storage_parameters"] = {"fillfactor": self.random.choice([70, 80, 90])}
        if self.random.random() < 0.3:
            index["comment"] = self.random.choice(["", "one", "two"])
        if self.random.random() < 0.1 and table == "t":
            index |= {"columns": ["tags"], "method": "gin", "include": [], "storage_parameters": {}}
        return index

    def _view(self, name: str) -> dict[str, Any]:
        view: dict[str, Any] = {"name": name, "query": self.random.choice(QUERIES)}
        view["indexes"] = [{"name": f"{name}_key", "columns": self.random.choice([["b"], ["b", "n"]]), "unique": True}]
        if self.random.random() < 0.3:
            view["indexes"].append({"name": f"{name}_n", "columns": ["n"]})
        if self.random.random() < 0.3:
            view["storage_parameters"] = {"fillfactor": self.random.choice([70, 80])}
        return view

    def change(self) -> None:
        """Change one to three things."""
        for _ in range(self.random.randint(1, 3)):
            kind = self.random.randrange(10)
            if kind < 5:
                name = self.random.choice(["x", "Y y", 'z"z'])
                self.indexes[name] = self._index(name)
            elif kind == 5 and self.indexes:
                self.indexes.pop(self.random.choice(list(self.indexes)))
            elif kind == 6:
                name = self.random.choice(["v", "W w"])
                self.views[name] = self._view(name)
            elif kind == 7 and self.views and self.random.random() < 0.3:
                self.views.pop(self.random.choice(list(self.views)))
            elif kind == 8:
                columns = self.random.sample(COLUMNS["t"], 2)
                kinds = self.random.choice([[], ["mcv"], ["ndistinct", "dependencies"]])
                self.statistics["s"] = {"name": "s", "table": "t", "columns": columns, "kinds": kinds}
            else:
                self.targets[self.random.choice(COLUMNS["t"])] = self.random.choice([-1, 50, 200])
                self.parameters["fillfactor"] = self.random.choice([None, 80, 90])

    def declared(self) -> dict[str, Any]:
        """Return the declaration as it is now."""
        return {
            "indexes": list(self.indexes.values()),
            "materialized_views": list(self.views.values()),
            "statistics": list(self.statistics.values()),
            "column_statistics": [
                {"table": "t", "column": column, "target": target} for column, target in self.targets.items()
            ],
            "table_parameters": [{"table": "t", "parameters": self.parameters}],
            "prune": self.random.random() < 0.5,
        }


@pytest.mark.parametrize("seed", range(STEPS))
def test_what_a_check_says_is_what_a_run_does(changing: tuple[Database, Changes], seed: int) -> None:
    db, changes = changing
    changes.random.seed(seed + db.server.major * 1000)
    changes.change()
    db.settle(**changes.declared())
    assert db.value("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0
    assert db.rows("SELECT relname FROM pg_class WHERE relname ~ '__pgopt_(new|old)'") == []


@pytest.fixture(scope="module")
def changing(shared: Database) -> tuple[Database, Changes]:
    shared.execute(TABLES)
    return shared, Changes(0)


def test_there_are_a_hundred_changes() -> None:
    from servers import MAJORS  # noqa: PLC0415 - only this test needs it

    assert STEPS * len(MAJORS) >= 100
