"""What is asked for, what was found, and the names and months that both are spoken of with."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import NamedTuple

from ..model import Name
from ..naming import LIMIT, cut, digest
from ..state import Dependent, Found, Relation

# Rows of the next days are written meanwhile: a month begins a new partition only when it is not as near as this.
MARGIN = timedelta(days=3)
# Before everything. MINVALUE would hold the same rows, but pg_partman 5 reads each lower bound as a time.
LOWEST = "-infinity"
TYPES = {"timestamp without time zone": "", "timestamp with time zone": "+00", "date": ""}


@dataclass(frozen=True)
class Wanted:
    """A table that is to be partitioned by month; `cut` is where its history ends, None to choose."""

    table: Name
    column: str
    premake: int = 3
    cut: date | None = None


def month_of(moment: datetime | date) -> date:
    """Return the first day of a month."""
    return date(moment.year, moment.month, 1)


def after(month: date, count: int = 1) -> date:
    """Return the first day of the month that is `count` months later."""
    number = month.year * 12 + month.month - 1 + count
    return date(number // 12, number % 12 + 1, 1)


def bound(month: date, kind: str) -> str:
    """Return a month's beginning as the column's type is written, in UTC."""
    return month.isoformat() if kind == "date" else f"{month.isoformat()} 00:00:00{TYPES[kind]}"


def fitted(base: str, suffix: str) -> str:
    """Return `base` and `suffix` as one name; where the server would cut it, a checksum keeps it apart from others."""
    if len((base + suffix).encode()) <= LIMIT:
        return base + suffix
    suffix = f"_{digest(base)}{suffix}"
    return cut(base, LIMIT - len(suffix)) + suffix


def twin_of(table: Name) -> Name:
    """Return the name of the partitioned table until it takes the live one's."""
    return table.sibling(fitted(table.name, "__pgpart_twin"))


def building(name: Name) -> Name:
    """Return the name of the twin's index, constraint or statistics until it takes its own."""
    return name.sibling(fitted(name.name, "__pgpart_new"))


def key_index(table: Name) -> Name:
    """Return the name of the index that becomes the new primary key."""
    return table.sibling(fitted(table.name, "__pgpart_key"))


def check_name(cut_at: date) -> str:
    """Return the name of the constraint that says where the history ends; a later run reads the day from it."""
    return f"__pgpart_before_{cut_at:%Y%m%d}"


class Constraint(NamedTuple):
    """A constraint of the table: `kind` is contype, `columns` its key, `on` the table that a foreign key refers to."""

    name: str
    kind: str
    definition: str
    valid: bool
    inherited: bool
    columns: tuple[str, ...]
    include: tuple[str, ...]
    timing: str
    comment: str | None
    on: Name | None


class Trigger(NamedTuple):
    """A trigger that somebody made; `enabled` is tgenabled."""

    name: str
    definition: str
    enabled: str
    transition: bool
    comment: str | None


class Sequence(NamedTuple):
    """A sequence that belongs to a column: of a serial, or of an identity column."""

    name: Name
    column: str
    identity: bool


class Publication(NamedTuple):
    """A publication that the table is in; `listed` by itself, not with all tables or its schema."""

    name: str
    via_root: bool
    listed: bool
    owned: bool
    columns: tuple[str, ...]
    where: str | None


class Part(NamedTuple):
    """A partition: its bounds as days where it has them; `lowest` where it holds everything before its upper one."""

    name: Name
    upper: date | None
    lowest: bool
    default: bool
    options: dict[str, str]
    lower: date | None = None

    def overlaps(self, month: date) -> bool:
        """Tell whether it holds a part of a month."""
        begins = self.lowest or (self.lower is not None and self.lower < after(month))
        return begins and (self.upper is None or month < self.upper)


@dataclass(frozen=True)
class Facts:
    """Everything that the plan is made from."""

    found: Found
    relation: Relation | None
    now: datetime
    column_type: str | None = None
    not_null: bool = False
    generated: bool = False
    newest: datetime | None = None
    infinite: bool = False
    nulls: bool = False
    analysed: bool = True
    replica_identity: str = "d"
    total_bytes: int = 0
    oddities: tuple[str, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    referenced_by: tuple[str, ...] = ()
    triggers: tuple[Trigger, ...] = ()
    sequences: tuple[Sequence, ...] = ()
    publications: tuple[Publication, ...] = ()
    dependents: tuple[Dependent, ...] = ()
    of_tableoid: tuple[str, ...] = ()  # views that ask in which table a row is
    views: tuple[Relation, ...] = ()  # materialized ones that read the table, in the order of their rebuilding
    retired: tuple[tuple[Name, Name], ...] = ()  # (name until it is dropped, the view's own name)
    tails: dict[Name, str] = field(default_factory=dict)  # an index's definition from USING on
    keys: dict[Name, tuple[str, ...]] = field(default_factory=dict)  # an index's key columns, without expressions
    default_grantees: tuple[str, ...] = ()
    column_options: dict[str, tuple[str, ...]] = field(default_factory=dict)
    partition_key: str | None = None
    partitions: tuple[Part, ...] = ()
    suffix: str = "YYYY_MM"
    taken: frozenset[str] = frozenset()
    twin_rows: bool = False

    @property
    def checks(self) -> list[tuple[date, Constraint]]:
        """Return the constraints of earlier runs that say where the history ends."""
        found = []
        for constraint in self.constraints:
            head, _, day = constraint.name.rpartition("_")
            if head == "__pgpart_before" and constraint.kind == "c" and day.isdigit():
                found.append((datetime.strptime(day, "%Y%m%d").date(), constraint))
        return found

    @property
    def key(self) -> Constraint | None:
        """Return the primary key."""
        return next((item for item in self.constraints if item.kind == "p"), None)

    def part_name(self, table: Name, month: date) -> Name:
        """Return a partition's name as pg_partman gives it."""
        return table.sibling(fitted(table.name, "_p" + month.strftime("%Y_%m" if "_" in self.suffix else "%Y%m%d")))

    def history(self, table: Name) -> Name:
        """Return the name that the table's rows until now get; pg_partman 4 reads a month behind the last `_p`."""
        plain = "_p" not in table.name or "_" not in self.suffix
        return table.sibling(fitted(table.name, "_history" if plain else "_history_p0001_01"))
