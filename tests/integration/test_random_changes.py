"""A declaration is changed at random, a hundred times on each major: a check says what the run does, warnings included.

Then nothing is left to do. Constraints, absent objects, views on views, and declarations that are refused are among it.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from conftest import Database

pytestmark = pytest.mark.faults

TABLES = """
SET ROLE owner;
CREATE TABLE t (a int PRIMARY KEY, b int, c text, d varchar(20), e float8, ts timestamp, tags text[], doc jsonb,
                CONSTRAINT "t Key" UNIQUE (a, c));
INSERT INTO t SELECT n, n % 7, 'c' || n, 'd' || n % 5, n / 3.0, timestamp '2025-01-01' + n * interval '1 hour',
                     ARRAY['x' || n], jsonb_build_object('n', n) FROM generate_series(1, 300) n;
CREATE TABLE "Quoted T" ("Key" int, "a b" text);
INSERT INTO "Quoted T" SELECT n, 'x' || n FROM generate_series(1, 100) n;
CREATE TABLE p (a int, b int, c text, CONSTRAINT p_key UNIQUE (a, b)) PARTITION BY HASH (a);
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
# What stands on the view v; one reads a column that v does not always have, and then the declaration is refused.
UPPER_QUERIES = [
    "SELECT max(n) AS n FROM v",
    "SELECT b FROM public.v WHERE n > 1",
    "SELECT c FROM v",
    "SELECT 1 AS one",
]
# The key columns of constraints, of which the first are always there.
KEYS = {"t Key": ("t", ["a", "c"]), "p_key": ("p", ["a", "b"]), "t_pkey": ("t", ["a"])}
STEPS = 100


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
        self.absent: set[str] = set()
        self.refused = 0

    def _constraint(self) -> dict[str, Any]:
        """Return the declaration of a constraint's index, as it is or with more."""
        name = self.random.choice(list(KEYS))
        table, key = KEYS[name]
        index: dict[str, Any] = {"name": name, "table": table, "columns": list(key), "unique": True}
        if self.random.random() < 0.6 and name != "t_pkey":
            index["include"] = self.random.sample(["c"] if table == "p" else ["b", "d", "e"], 1)
        if self.random.random() < 0.3 and table == "t":
            index["storage_parameters"] = {"fillfactor": self.random.choice([70, 80])}
        return index

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
        elif self.random.random() < 0.2 and table == "t" and "where" not in index:
            index |= {"columns": [self.random.choice(["a", "c"]), *index["columns"]], "unique": True}
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
            kind = self.random.randrange(14)
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
                index = self._constraint()
                self.indexes[index["name"]] = index
            elif kind == 9:
                query = self.random.choice(UPPER_QUERIES)
                self.views["above"] = {"name": "above", "query": query}
            elif kind == 10:
                name = self.random.choice(["x", "Y y", "v", "W w", "above", "s"])
                (self.absent.remove if name in self.absent else self.absent.add)(name)
            elif kind == 11:
                columns = self.random.sample(COLUMNS["t"], 2)
                kinds = self.random.choice([[], ["mcv"], ["ndistinct", "dependencies"]])
                self.statistics["s"] = {"name": "s", "table": "t", "columns": columns, "kinds": kinds}
            else:
                self.targets[self.random.choice(COLUMNS["t"])] = self.random.choice([-1, 50, 200])
                self.parameters["fillfactor"] = self.random.choice([None, 80, 90])

    def declared(self) -> dict[str, Any]:
        """Return the declaration as it is now; what is absent has its name and its table alone."""

        def those(known: dict[str, dict[str, Any]], *kept: str) -> list[dict[str, Any]]:
            return [
                {**{key: item[key] for key in kept}, "state": "absent"} if name in self.absent else item
                for name, item in known.items()
            ]

        return {
            "indexes": those(self.indexes, "name", "table"),
            "materialized_views": those(self.views, "name"),
            "statistics": those(self.statistics, "name", "table"),
            "column_statistics": [
                {"table": "t", "column": column, "target": target} for column, target in self.targets.items()
            ],
            "table_parameters": [{"table": "t", "parameters": self.parameters}],
            "prune": self.random.random() < 0.5,
        }


@pytest.mark.parametrize("block", range(10))
def test_what_a_check_says_is_what_a_run_does(changing: tuple[Database, Changes], block: int) -> None:
    db, changes = changing
    wrong = []
    for seed in range(block * STEPS // 10, (block + 1) * STEPS // 10):
        changes.random.seed(seed + db.server.major * 1000)
        changes.change()
        wrong += [(seed, what) for what in one(db, changes)]
    assert wrong == []


def one(db: Database, changes: Changes) -> list[str]:
    """Apply the declaration; return what a check said otherwise, and what is left."""
    declared = changes.declared()
    before = db.snapshot()
    check, done = db.optimise(check=True, **declared), db.optimise(**declared)
    changes.refused += done.failed
    found = [] if check.failed == done.failed else [f"a check said {check.msg!r}, the run {done.msg!r}"]
    found += [] if check.plan == done.plan else ["the actions differ"]
    found += [] if check.result["warnings"] == done.result["warnings"] else ["the warnings differ"]
    if done.failed:
        found += [] if check.result["problems"] == done.result["problems"] != [] else [f"failed: {done.msg}"]
        found += [] if db.snapshot() == before else ["it was refused and changed something"]
        return found
    again = db.optimise(check=True, **declared)
    found += [f"left: {again.said}{again.msg}"] if again.changed or again.failed else []
    if db.value("SELECT count(*) FROM pg_index WHERE NOT indisvalid"):
        found.append("an INVALID index is left")
    return found + [f"left: {name}" for (name,) in db.rows(LEFT)]


LEFT = "SELECT relname FROM pg_class WHERE relname ~ '__pgopt_(new|old)'"


def test_most_of_the_changes_were_made(changing: tuple[Database, Changes]) -> None:
    assert changing[1].refused < STEPS / 2


@pytest.fixture(scope="module")
def changing(shared: Database) -> tuple[Database, Changes]:
    shared.execute(TABLES)
    return shared, Changes(0)
