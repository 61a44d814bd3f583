"""Decide about indexes of partitioned tables: built concurrently on each partition, joined in one transaction.

An index that backs a constraint is exchanged as on a whole table: each partition gets a constraint with its new index,
and the table's new one adopts them, as the server does with constraints that it finds equal. Nothing is built then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from . import compare, constraint, duties, naming, space, sqlbuild
from . import index as plain
from .action import ACCESS_EXCLUSIVE, SHARE, Action, Lock, Outcome, Policy, Step, step
from .connection import sql
from .model import Declaration, Index, Name
from .state import Definition, Found, FoundIndex, Partition, Relation
from .table import unowned

if TYPE_CHECKING:
    from .connection import Composable


def part_name(index: Index, partition: Partition, canonical: Definition, found: Found) -> Name:
    """Return the name of a partition's part; beside another index of the name it is another, so both can stand."""
    existing = found.indexes.get(index.name)
    beside = str(existing.oid) if existing is not None else ""
    identity = f"{beside} {canonical.unique} {canonical.tail} {canonical.parameters} {index.tablespace}"
    return naming.on_partition(index.name, partition.name, identity)


def part_names(declaration: Declaration, canonical: Mapping[Name, Definition], found: Found) -> set[Name]:
    """Return the names of all parts that the declared indexes have or will have; other loose parts are leftovers."""
    return {
        part_name(item, partition, canonical[item.name], found)
        for item in declaration.indexes
        if item.name in canonical and item.table in found.relations
        for partition in found.relations[item.table].partitions
    }


def _part_of(partition: Partition, parent: Name | None, found: Found) -> FoundIndex | None:
    """Return the partition's index that is attached to a given parent index."""
    if parent is None:
        return None
    return next((item for item in found.indexes_of(partition.name) if item.parent == parent), None)


def _placed(index: Index, old: FoundIndex | None, found: Found) -> Index:
    """Return the declaration with the tablespace of the one it replaces; a partitioned one may not name the default."""
    place = index.tablespace or (old.tablespace if old is not None else None)
    return replace(index, tablespace=None if place == found.default_tablespace else place)


def _held(part: FoundIndex) -> list[str]:
    """Return who holds on to a part by itself, not by the index that it is a part of."""
    reasons = [f"foreign keys refer to it: {', '.join(part.referenced_by)}"] if part.referenced_by else []
    if part.constraint is not None and part.constraint.standing:
        reasons.append(f"these stand on it, and are to be dropped first: {', '.join(part.constraint.standing)}")
    return reasons


def _check_parts(index: Index, relation: Relation, existing: FoundIndex, found: Found, outcome: Outcome) -> None:
    """Refuse a definition whose parts could not be to their partitions what the present ones are."""
    parents = {relation.oid: existing.name}
    for partition in relation.partitions:
        part = _part_of(partition, parents.get(partition.parent), found)
        if part is not None:
            parents[partition.oid] = part.name
            for reason in _held(part) + list(duties.refusals(replace(index, table=partition.name), part, relation)):
                outcome.refuse(index, f"differs, and of {partition.name} {reason}")


@dataclass(frozen=True)
class How:
    """How parts are made.

    concurrently: without blocking writes. takes_equal: an equal index that a partition has already becomes its part, as
    CREATE INDEX on the table has it.
    """

    concurrently: bool
    takes_equal: bool = True


class _Tree:
    """The index on a partitioned table and its parts, as they are and as they are to be."""

    def __init__(
        self,
        index: Index,
        canonical: Definition,
        relation: Relation,
        found: Found,
        existing: Name | None,
    ) -> None:
        """Look at the parts; `existing` is the index that is to be completed, None for a new one."""
        self.index = index
        self.canonical = canonical
        self.relation = relation
        self.found = found
        self.steps: list[Step] = []
        self.joining: list[Composable] = []
        self.roles: list[Composable] = []
        self.locks: list[Lock] = [Lock(SHARE, index.table)]
        self.bytes = 0
        self.existing = existing
        self.takes_equal = True
        found_index = found.indexes.get(index.name)
        self.replaced = found_index if existing is None else None
        self.constraint = self.replaced.constraint if self.replaced is not None else None
        self.root = existing or naming.building(index.name)
        self.index_of: dict[int, Name] = {relation.oid: self.root}
        self.attached: dict[int, Name | None] = {relation.oid: existing}
        self.old_of: dict[int, Name | None] = {relation.oid: self.replaced.name if self.replaced is not None else None}

    def _old(self, partition: Partition) -> FoundIndex | None:
        """Return the part of the index that is replaced."""
        return _part_of(partition, self.old_of.get(partition.parent), self.found)

    def _takes_over(self, partition: Partition, name: Name, old: FoundIndex | None) -> None:
        """Have the new part be to its partition what the old one is."""
        if old is None:
            return
        if comment := naming.own_comment(old.comment):
            self.roles.append(sqlbuild.comment_on("INDEX", sqlbuild.ident(name), comment))
        statements, locks = duties.statements(partition.name, name, old)
        self.roles += statements
        self.locks += locks

    def _leaf(self, partition: Partition, *, concurrently: bool) -> None:
        """Build the part of one partition unless it stands, and attach it."""
        parent = self.index_of[partition.parent]
        attached = _part_of(partition, self.attached[partition.parent], self.found)
        if attached is not None:
            return
        name = part_name(self.index, partition, self.canonical, self.found)
        old = self._old(partition)
        where = self.index.tablespace or (old.tablespace if old is not None else None)
        place = replace(self.index, table=partition.name, tablespace=where)
        leftover = self.found.indexes.get(name)
        stands = (
            leftover is not None and leftover.parent is None and not compare.compare(place, self.canonical, leftover)
        )
        if leftover is not None and not stands:
            self.steps.append(plain.drop_step(leftover, plain.LEFT))
        equal = None if stands else self._equal(place)
        if equal is not None:
            name = equal.name
        elif not stands:
            self.steps.append(plain.build_step(place, name, partition.name, concurrently=concurrently))
            size = replace(self.relation, tuples=partition.tuples, bytes=partition.bytes)
            self.bytes += space.index_bytes(self.index, size)
        self.steps += duties.analyze(place, self.canonical, name, partition.name, old)
        self._takes_over(partition, name, old)
        if self.constraint is not None:
            own, added = sql.Identifier(name.name), "ALTER TABLE {} ADD CONSTRAINT {} UNIQUE USING INDEX {}"
            self.joining.append(sqlbuild.text(added, sqlbuild.ident(partition.name), own, own))
            self.locks.append(Lock(ACCESS_EXCLUSIVE, partition.name))
            return
        self.joining.append(
            sqlbuild.text("ALTER INDEX {} ATTACH PARTITION {}", sqlbuild.ident(parent), sqlbuild.ident(name))
        )
        self.locks.append(Lock(ACCESS_EXCLUSIVE, name))

    def _equal(self, place: Index) -> FoundIndex | None:
        """Return an index of the partition that is the part but for its name, and that nobody declared by itself."""
        if not self.takes_equal or self.constraint is not None:
            return None
        fit = (
            item
            for item in self.found.indexes_of(place.table)
            if item.parent is None
            and item.constraint is None
            and item.valid
            and not item.building
            and item.owned
            and not item.marked
            and not naming.is_own(item.name.name)
            and not compare.compare(place, self.canonical, item)
        )
        return next(fit, None)

    def _branch(self, partition: Partition) -> list[Composable]:
        """Make the part of a partitioned partition; return what attaches it, after its own parts are attached."""
        parent = self.index_of[partition.parent]
        attached = _part_of(partition, self.attached[partition.parent], self.found)
        self.attached[partition.oid] = attached.name if attached is not None else None
        if attached is not None:
            self.index_of[partition.oid] = attached.name
            return []
        old = self._old(partition)
        self.old_of[partition.oid] = old.name if old is not None else None
        name = part_name(self.index, partition, self.canonical, self.found)
        self.index_of[partition.oid] = name
        self.joining.append(self._branch_index(name, partition.name, old))
        self._takes_over(partition, name, old)
        self.locks.append(Lock(SHARE, partition.name))
        return [sqlbuild.text("ALTER INDEX {} ATTACH PARTITION {}", sqlbuild.ident(parent), sqlbuild.ident(name))]

    def _branch_index(self, name: Name, table: Name, old: FoundIndex | None) -> Composable:
        """Return the statement that makes the index of a partitioned table without its parts."""
        made = _placed(self.index, old, self.found)
        return sqlbuild.create_index(made, sql.Identifier(name.name), sqlbuild.ident(table), only=True)

    def build(self, how: How) -> None:
        """Collect the steps that make the parts, and the statements that join them."""
        self.takes_equal = how.takes_equal
        if self.existing is None and self.constraint is None:
            self.joining.append(self._branch_index(self.root, self.index.table, self.replaced))
        closing: list[Composable] = []
        for partition in self.relation.partitions:
            if partition.kind == "p":
                closing = self._branch(partition) + closing
            else:
                self._leaf(partition, concurrently=how.concurrently)
        self.joining += closing


def _completable(existing: FoundIndex, relation: Relation, found: Found) -> bool:
    """Tell whether an INVALID index only lacks parts. One with an INVALID part stays so, even after its repair."""
    parts = {relation.oid: existing.name}
    missing = False
    for partition in relation.partitions:
        attached = _part_of(partition, parts.get(partition.parent), found)
        if attached is None:
            missing = True
        elif partition.kind == "p":
            parts[partition.oid] = attached.name
        elif not attached.valid:
            return False
    return missing


def _refuse(index: Index, relation: Relation, found: Found, outcome: Outcome, *, differs: bool) -> None:
    existing = found.indexes.get(index.name)
    foreign = [str(partition.name) for partition in relation.partitions if partition.kind == "f"]
    if foreign:
        outcome.refuse(index, f"partitions that are foreign tables cannot be indexed: {', '.join(foreign)}")
    if others := [partition for partition in relation.partitions if not partition.owned]:
        outcome.refuse(index, unowned(others, found.role))
    if existing is None or existing.constraint is None or not differs:
        return
    reasons = constraint.refusals(index, existing.constraint, found)
    if existing.constraint.kind != "u":
        reasons.append("a partition keeps the primary key that it has")
    if existing.constraint.deferrable:
        reasons.append("it is DEFERRABLE")
    if any(partition.kind == "p" for partition in relation.partitions):
        reasons.append("partitions have partitions of their own")
    what = f"backs the constraint {existing.constraint.name} of a partitioned table and differs"
    for reason in reasons:
        outcome.refuse(index, f"{what}: {reason}")


def decide(
    index: Index,
    canonical: Definition | None,
    relation: Relation,
    found: Found,
    how: How,
) -> Outcome:
    """Decide about a declared index of a partitioned table. INVALID is normal here until the last part is attached."""
    outcome = Outcome()
    existing = found.indexes.get(index.name)
    if canonical is None:
        return outcome
    difference = compare.compare(index, canonical, existing) if existing is not None else compare.Difference()
    # Of a partitioned index no parameter can be altered.
    difference = compare.Difference(difference.rebuild + difference.alter)
    other = [reason for reason in difference.rebuild if reason != "is INVALID"]
    invalid = existing is not None and not existing.valid and not other
    incomplete = existing is not None and invalid and _completable(existing, relation, found)
    if existing is None or other or invalid:
        plain.check_name(index, existing, found, outcome)
        _refuse(index, relation, found, outcome, differs=bool(other) or (invalid and not incomplete))
    if existing is not None and (other or (invalid and not incomplete)):
        plain.check_exchange(index, existing, found, outcome)
        _check_parts(index, relation, existing, found, outcome)
    if outcome.problems:
        return outcome
    before = "" if existing is None else compare.describe(existing)
    after = compare.describe_declared(index, canonical, found, existing)
    if existing is not None and not other and not invalid:
        reasons, steps = plain.adjust(index, canonical, existing, difference)
        if steps:
            outcome.actions.append(
                Action("index", str(index.name), "alter", "; ".join(reasons), tuple(steps), before, after)
            )
        if to_clean := plain.cleaning(index, found, keep_new=False):
            outcome.actions.append(plain.clean_action(index.name, to_clean))
        return outcome
    tree = _Tree(index, canonical, relation, found, existing.name if existing is not None and incomplete else None)
    tree.build(how)
    steps = [*plain.cleaning(index, found, keep_new=False), *tree.steps]
    name, new, old = index.name, tree.root, naming.retired(index.name)
    joining = list(tree.joining)
    if existing is not None and tree.constraint is not None:
        clause = sqlbuild.constraint_of(_placed(index, existing, found))
        joining += constraint.exchange_statements(index, existing, clause)
        tree.locks[0] = Lock(ACCESS_EXCLUSIVE, index.table)
    elif not incomplete:
        joining += [sqlbuild.rename("INDEX", name, old.name)] if existing is not None else []
        joining.append(sqlbuild.rename("INDEX", new, name.name))
        comment = naming.mark(compare.wanted_comment(index, existing))
        joining.append(sqlbuild.comment_on("INDEX", sqlbuild.ident(name), comment))
        if existing is not None and existing.table == index.table:
            taken, more = duties.statements(index.table, name, existing)
            joining += taken
            tree.locks += more
    joining += tree.roles
    if joining:
        steps.append(step("join the parts", Policy.SHORT, joining, *tree.locks))
    if existing is not None and tree.constraint is None and not incomplete:
        steps.append(plain.drop_step(existing, name=old))
    what = "create" if existing is None else "complete" if incomplete else "rebuild" if invalid else "replace"
    reason = "does not exist" if existing is None else "; ".join(difference.rebuild)
    outcome.actions.append(
        Action(
            "index",
            str(name),
            what,
            reason,
            tuple(steps),
            before,
            after,
            bytes=tree.bytes,
            seconds=space.index_seconds(tree.bytes, None, concurrently=how.concurrently),
            tablespace=compare.tablespace_of(index, existing, found),
        )
    )
    return outcome
