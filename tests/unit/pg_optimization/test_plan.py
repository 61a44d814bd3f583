"""The plan is a pure function: from what is declared and what was found to actions. Each case is one of both."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible.module_utils.pg_optimization import naming
from ansible.module_utils.pg_optimization.action import Action, Policy
from ansible.module_utils.pg_optimization.connection import sql
from ansible.module_utils.pg_optimization.model import Declaration, Index, Key, MaterializedView, Name
from ansible.module_utils.pg_optimization.outside import is_prefix
from ansible.module_utils.pg_optimization.plan import plan
from ansible.module_utils.pg_optimization.state import Column, Constraint, Definition, Found, FoundIndex, Relation
from ansible.module_utils.pg_optimization.twins import Canonical, ViewDefinition

T, X = Name("public", "t"), Name("public", "x")
DECLARED = Index(name=X, table=T, keys=(Key(column="a"),))
BTREE_A = Definition(tail="btree (a)", unique=False, parameters=(), parts=("a 1 0 0",))


def relation(name: Name = T, **facts: Any) -> Relation:
    known: dict[str, Any] = {
        "oid": 1, "kind": "r", "persistence": "p", "owner": "owner", "owned": True, "tuples": 1e6, "bytes": 10**8,
        "options": {}, "has_toast": True, "tablespace": "pg_default", "comment": None, "populated": True,
        "access_method": "heap", "query": None, "partition_key": None, "partitions": (), "acl": None,
        "columns": {"a": Column("a", "integer", False, -1, 4, (), None)}, "default_grantees": (),
    }  # fmt: skip
    return Relation(name=name, **{**known, **facts})


def found_index(name: Name = X, **facts: Any) -> FoundIndex:
    known: dict[str, Any] = {
        "oid": 2, "table": T, "table_oid": 1, "partitioned": False, "definition": BTREE_A, "text": "", "valid": True,
        "building": False, "clustered": False, "replica_identity": False, "tablespace": "pg_default", "comment": None,
        "constraint": None, "parent": None,
    }  # fmt: skip
    return FoundIndex(name=name, **{**known, **facts})


def state(*indexes: FoundIndex, **facts: Any) -> Found:
    return Found(
        role="owner",
        schemas={"public": True},
        tablespaces={"pg_default": None, "fast": "/fast"},
        relations=facts.pop("relations", {T: relation()}),
        indexes={index.name: index for index in indexes},
        **facts,
    )


def text(part: Any) -> str:
    """Return a composed statement as text, without a server."""
    if isinstance(part, sql.Composed):
        return "".join(map(text, part.seq))
    if isinstance(part, sql.SQL):
        return part.string
    if isinstance(part, sql.Identifier):
        return ".".join('"' + name.replace('"', '""') + '"' for name in part.strings)
    return repr(part.wrapped)


def purposes(action: Action) -> list[tuple[str, Policy]]:
    return [(step.purpose, step.policy) for step in action.steps]


BUILD, SWAP = ("build", Policy.CONCURRENT), ("give it its name", Policy.SHORT)
REMOVE = ("remove the old one", Policy.CONCURRENT)
CLEAN = ("remove what an interrupted run left", Policy.CONCURRENT)
NEW, OLD = naming.building(X), naming.retired(X)
OTHER = replace(BTREE_A, tail="btree (b)", parts=("b 1 0 0",))

# What is found of the declared index x on t (a); the action, and its steps.
CASES: dict[str, tuple[Found, str | None, list[tuple[str, Policy]]]] = {
    "nothing": (state(), "create", [BUILD, SWAP]),
    "the same": (state(found_index()), None, []),
    "another": (state(found_index(definition=OTHER)), "replace", [BUILD, SWAP, REMOVE]),
    "a unique one": (state(found_index(definition=replace(BTREE_A, unique=True))), "replace", [BUILD, SWAP, REMOVE]),
    "an invalid one": (state(found_index(valid=False)), "rebuild", [BUILD, SWAP, REMOVE]),
    "one that is being built": (state(found_index(valid=False, building=True)), None, []),
    "another fillfactor": (
        state(found_index(definition=replace(BTREE_A, parameters=(("fillfactor", "70"),)))),
        "replace",
        [BUILD, SWAP, REMOVE],
    ),
    "another deduplication": (
        state(found_index(definition=replace(BTREE_A, parameters=(("deduplicate_items", "off"),)))),
        "alter",
        [("alter", Policy.SHORT)],
    ),
    "a finished build": (state(found_index(NEW)), "create", [SWAP]),
    "an unfinished build": (state(found_index(NEW, valid=False)), "create", [CLEAN, BUILD, SWAP]),
    "a finished build of another": (state(found_index(NEW, definition=OTHER)), "create", [CLEAN, BUILD, SWAP]),
    "another, and a finished build": (
        state(found_index(definition=OTHER), found_index(NEW)),
        "replace",
        [SWAP, REMOVE],
    ),
    "the same, and an old one": (state(found_index(), found_index(OLD, definition=OTHER)), "clean", [CLEAN]),
    "the same, and an unfinished build": (state(found_index(), found_index(NEW, valid=False)), "clean", [CLEAN]),
    "the same, and what a reindex left": (
        state(found_index(), found_index(Name("public", "x_ccnew"), valid=False)),
        "clean",
        [("remove what an interrupted REINDEX left", Policy.CONCURRENT)],
    ),
}


@pytest.mark.parametrize(("found", "what", "steps"), CASES.values(), ids=CASES)
def test_an_index_is_decided_about(found: Found, what: str | None, steps: list[tuple[str, Policy]]) -> None:
    made = plan(Declaration(indexes=(DECLARED,)), Canonical(indexes={X: BTREE_A}), found)
    assert made.problems == ()
    assert [action.action for action in made.actions] == ([what] if what else [])
    assert [purpose for action in made.actions for purpose in purposes(action)] == steps


KEY = Constraint("x", "u", False, False, None, (), False)
REFUSALS: dict[str, tuple[Found, Index, str]] = {
    "the name of a table": (state(relations={T: relation(), X: relation(X)}), DECLARED, "another relation"),
    "on another table": (state(found_index(table=Name("public", "o"))), DECLARED, "exists on table public.o"),
    "a part of another": (
        state(found_index(definition=OTHER, parent=Name("public", "p"))),
        DECLARED,
        "is a part of index public.p",
    ),
    "a constraint's, not unique": (
        state(found_index(definition=OTHER, constraint=KEY)),
        DECLARED,
        "not a unique btree",
    ),
    "a constraint's, absent": (
        state(found_index(constraint=KEY)),
        replace(DECLARED, present=False),
        "backs the constraint",
    ),
    "an exclusion's": (
        state(found_index(definition=OTHER, constraint=replace(KEY, kind="x"))),
        replace(DECLARED, unique=True),
        "only primary keys and unique constraints",
    ),
    "a referenced one": (
        state(found_index(definition=OTHER, constraint=replace(KEY, referenced_by=("fk on o",)))),
        replace(DECLARED, unique=True),
        "foreign keys refer to it: fk on o",
    ),
    "one that a view stands on": (
        state(found_index(definition=OTHER, constraint=replace(KEY, standing=("view public.v",)))),
        replace(DECLARED, unique=True),
        "these stand on it, and are to be dropped first: view public.v",
    ),
    "an exclusion's, to be built again": (
        state(found_index(valid=False, constraint=replace(KEY, kind="x"))),
        DECLARED,
        "concurrently: false",
    ),
    "a primary key that may be null": (
        state(found_index(definition=OTHER, constraint=replace(KEY, kind="p"))),
        replace(DECLARED, unique=True),
        "must be NOT NULL: a",
    ),
}


@pytest.mark.parametrize(("found", "declared", "piece"), REFUSALS.values(), ids=REFUSALS)
def test_what_cannot_be_done_is_refused(found: Found, declared: Index, piece: str) -> None:
    made = plan(Declaration(indexes=(declared,)), Canonical(indexes={X: BTREE_A}), found)
    assert made.actions == ()
    assert [problem.object for problem in made.problems] == ["index public.x"]
    assert piece in made.problems[0].problem


def test_a_constraint_is_exchanged_in_one_statement() -> None:
    found = state(found_index(definition=replace(OTHER, unique=True), constraint=replace(KEY, deferrable=True)))
    unique = replace(BTREE_A, unique=True)
    made = plan(Declaration(indexes=(replace(DECLARED, unique=True),)), Canonical(indexes={X: unique}), found)
    assert [text(statement) for statement in made.actions[0].steps[-1].statements] == [
        f'ALTER TABLE "public"."t" DROP CONSTRAINT "x", ADD CONSTRAINT "x" UNIQUE USING INDEX "{NEW.name}" DEFERRABLE'
    ]
    assert [str(lock) for lock in made.actions[0].steps[-1].locks] == ["ACCESS EXCLUSIVE on public.t"]


REBUILT = [("alter", Policy.SHORT), BUILD, ("say that it is built", Policy.SHORT)]
AGAIN: dict[str, tuple[FoundIndex, bool, list[tuple[str, Policy]]]] = {
    "other parameters": (found_index(), True, REBUILT),
    "parameters of an interrupted run": (
        found_index(comment=naming.pending("Why"), definition=replace(BTREE_A, parameters=(("fillfactor", "70"),))),
        True,
        REBUILT[1:],
    ),
    "an invalid one": (
        found_index(valid=False, definition=replace(BTREE_A, parameters=(("fillfactor", "70"),))), True, [BUILD],
    ),
    "without concurrency": (found_index(), False, [("build", Policy.LONG)]),
}  # fmt: skip


@pytest.mark.parametrize(("existing", "concurrently", "steps"), AGAIN.values(), ids=AGAIN)
def test_an_index_of_a_constraint_is_built_again_in_place(
    existing: FoundIndex, concurrently: bool, steps: list[tuple[str, Policy]]
) -> None:
    wanted = replace(BTREE_A, parameters=(("fillfactor", "70"),))
    declaration = Declaration(indexes=(DECLARED,), concurrently=concurrently)
    made = plan(declaration, Canonical(indexes={X: wanted}), state(replace(existing, constraint=KEY)))
    assert made.problems == ()
    assert [purpose for action in made.actions for purpose in purposes(action)] == steps


def test_a_replacement_takes_the_name_and_the_comment_in_one_transaction() -> None:
    found = state(found_index(definition=OTHER, comment="by hand", clustered=True))
    made = plan(Declaration(indexes=(DECLARED,)), Canonical(indexes={X: BTREE_A}), found)
    assert [text(statement) for step in made.actions[0].steps for statement in step.statements] == [
        f'CREATE INDEX CONCURRENTLY "{NEW.name}" ON "public"."t" USING "btree" ("a") TABLESPACE "pg_default"',
        f'ALTER INDEX "public"."x" RENAME TO "{OLD.name}"',
        f'ALTER INDEX "public"."{NEW.name}" RENAME TO "x"',
        f'COMMENT ON INDEX "public"."x" IS \'by hand {naming.MARK}\'',
        'ALTER TABLE "public"."t" CLUSTER ON "x"',
        f'DROP INDEX CONCURRENTLY "public"."{OLD.name}"',
    ]


def test_size_and_time_are_estimated() -> None:
    made = plan(Declaration(indexes=(DECLARED,)), Canonical(indexes={X: BTREE_A}), state())
    assert made.actions[0].bytes == pytest.approx(1e6 * 20 / 0.9, rel=0.01)
    assert 0 < made.actions[0].seconds < 5


V = Name("public", "v")
VIEW = MaterializedView(name=V, query="SELECT 1 AS a")
SHOWN = ViewDefinition(query=" SELECT 1 AS a;", columns=(("a", "integer", 0),), order=0)
ON_V = relation(V, kind="m", query=SHOWN.query)
VIEWS: dict[str, tuple[Found, str | None, list[tuple[str, Policy]]]] = {
    "nothing": (state(relations={}), "create", [("create", Policy.LONG)]),
    "the same": (state(relations={V: ON_V}), None, []),
    "another": (
        state(relations={V: replace(ON_V, query=" SELECT 2 AS a;")}),
        "replace",
        [("build beside", Policy.LONG), ("swap", Policy.SHORT)],
    ),
    "one without rows": (
        state(relations={V: replace(ON_V, populated=False)}),
        "refresh",
        [("first refresh", Policy.LONG)],
    ),
}


@pytest.mark.parametrize(("found", "what", "steps"), VIEWS.values(), ids=VIEWS)
def test_a_view_is_decided_about(found: Found, what: str | None, steps: list[tuple[str, Policy]]) -> None:
    made = plan(Declaration(materialized_views=(VIEW,)), Canonical(views={V: SHOWN}), found)
    assert made.problems == ()
    assert [action.action for action in made.actions] == ([what] if what else [])
    assert [purpose for action in made.actions for purpose in purposes(action)] == steps


MARKED = found_index(Name("public", "gone"), comment=f"was {naming.MARK}")


@pytest.mark.parametrize(
    ("prune", "other", "actions"),
    [
        pytest.param(True, MARKED, ["prune"], id="marked"),
        pytest.param(False, MARKED, [], id="marked, not asked"),
        pytest.param(True, replace(MARKED, comment="was"), [], id="not marked"),
        pytest.param(True, replace(MARKED, constraint=KEY), [], id="marked, backs a constraint"),
        pytest.param(True, replace(MARKED, building=True), [], id="marked, being built"),
        pytest.param(True, replace(MARKED, name=X), [], id="marked and declared"),
    ],
)
def test_only_what_is_marked_and_not_declared_is_pruned(prune: bool, other: FoundIndex, actions: list[str]) -> None:
    declaration = Declaration(indexes=(DECLARED,), prune=prune)
    made = plan(declaration, Canonical(indexes={X: BTREE_A}), state(found_index(), other))
    assert [action.action for action in made.actions] == actions


LONG = replace(BTREE_A, tail="btree (a, b)", parts=("a 1 0 0", "b 1 0 0"))


@pytest.mark.parametrize(
    ("short", "long", "redundant"),
    [
        pytest.param(BTREE_A, LONG, True, id="the beginning"),
        pytest.param(LONG, BTREE_A, False, id="the longer one"),
        pytest.param(replace(BTREE_A, parts=("a 1 0 3",)), LONG, False, id="in another order"),
        pytest.param(replace(BTREE_A, unique=True), LONG, False, id="unique"),
        pytest.param(replace(BTREE_A, plain=False), LONG, False, id="partial"),
        pytest.param(BTREE_A, replace(LONG, plain=False), False, id="of a partial one"),
        pytest.param(replace(BTREE_A, includes=1), LONG, False, id="covering"),
        pytest.param(replace(BTREE_A, tail="hash (a)"), LONG, False, id="of another method"),
    ],
)
def test_the_beginning_of_another_key_is_redundant(short: Definition, long: Definition, redundant: bool) -> None:
    assert is_prefix(short, long) is redundant
