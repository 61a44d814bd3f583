"""The state of a database as values, as far as a declaration concerns it."""

from __future__ import annotations

from dataclasses import dataclass, field

from .model import Name
from .naming import marked


@dataclass(frozen=True)
class Definition:
    """What an index is, as the server spells it; equal definitions are the same index under another name.

    `tail` is what follows USING without the storage parameters, `parts` one text for each key column. `declared` is
    the tail as it is when the declaration is made, where `tail` has the words of the index that is there.
    """

    tail: str
    unique: bool
    parameters: tuple[tuple[str, str], ...]
    parts: tuple[str, ...] = ()
    plain: bool = True  # no predicate
    includes: int = 0
    declared: str | None = field(default=None, compare=False)

    def same(self, other: Definition) -> bool:
        """Tell whether both are the same but for storage parameters."""
        return self.tail_is(other) and self.unique == other.unique

    def tail_is(self, other: Definition) -> bool:
        """Tell whether what follows USING means the same."""
        return other.tail in {self.tail, self.declared}


@dataclass(frozen=True)
class Constraint:
    """The constraint that an index backs; kind is p, u or x. `standing` is what depends on it but foreign keys."""

    name: str
    kind: str
    deferrable: bool
    deferred: bool
    comment: str | None
    referenced_by: tuple[str, ...]
    temporal: bool
    standing: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoundIndex:
    """An index of the database."""

    oid: int
    name: Name
    table: Name
    table_oid: int
    partitioned: bool
    definition: Definition
    text: str
    valid: bool
    building: bool
    clustered: bool
    replica_identity: bool
    tablespace: str
    comment: str | None
    constraint: Constraint | None
    parent: Name | None
    owner: str = ""
    owned: bool = True
    referenced_by: tuple[str, ...] = ()  # foreign keys, which can refer to an index that backs no constraint
    targets: tuple[tuple[int, int], ...] = ()  # statistics targets of expressions: position in the key, target
    extensions: tuple[str, ...] = ()  # that it goes with, by DEPENDS ON EXTENSION
    partitions: tuple[Name, ...] = ()  # of the table, where the index is a partitioned one

    @property
    def marked(self) -> bool:
        """Tell whether this module made it."""
        return marked(self.comment)


@dataclass(frozen=True)
class Column:
    """A column of a relation; width is the average in bytes as ANALYZE saw it, or the type's."""

    name: str
    type: str
    not_null: bool
    target: int
    width: int
    acl: tuple[tuple[str, str, bool], ...]
    comment: str | None
    options: tuple[str, ...] = ()
    storage: str | None = None
    compression: str | None = None
    usable: bool = True  # the role may make columns of its type
    virtual: bool = False  # generated when it is read


@dataclass(frozen=True)
class Partition:
    """A member of a partitioned table's tree, parents before children."""

    oid: int
    name: Name
    parent: int
    kind: str
    tuples: float = 0.0
    bytes: int = 0
    options: dict[str, str] = field(default_factory=dict)
    has_toast: bool = True
    owner: str = ""
    owned: bool = True


@dataclass(frozen=True)
class Relation:
    """A table, a view or anything else with a name in pg_class."""

    oid: int
    name: Name
    kind: str
    persistence: str
    owner: str
    owned: bool
    tuples: float
    bytes: int
    options: dict[str, str]
    has_toast: bool
    tablespace: str
    comment: str | None
    populated: bool
    access_method: str | None
    query: str | None
    partition_key: str | None
    columns: dict[str, Column]
    partitions: tuple[Partition, ...]
    acl: tuple[tuple[str, str, bool], ...] | None
    default_grantees: tuple[str, ...]
    extensions: tuple[str, ...] = ()  # that a materialized view goes with, by DEPENDS ON EXTENSION


@dataclass(frozen=True)
class FoundStatistics:
    """An extended statistics object of the database."""

    oid: int
    name: Name
    table: Name
    columns: str
    kinds: str
    target: int
    comment: str | None
    text: str
    owner: str = ""
    owned: bool = True


@dataclass(frozen=True)
class Dependent:
    """Something that stands on a relation: of class view, materialized view, or another kind, named."""

    on: Name
    kind: str
    label: str
    name: Name | None
    query: str | None
    options: tuple[str, ...]
    owner: str


@dataclass(frozen=True)
class Found:
    """The state of the database as far as the declaration concerns it."""

    version: int = 150000
    role: str = ""
    temporary: bool = True
    schemas: dict[str, bool] = field(default_factory=dict)  # name -> may create
    tablespaces: dict[str, str | None] = field(default_factory=dict)  # name -> path where it has one
    closed_tablespaces: frozenset[str] = frozenset()  # where the role may not create
    default_tablespace: str = "pg_default"
    work_memory: int = 64 << 20  # bytes that a build sorts in
    relations: dict[Name, Relation] = field(default_factory=dict)
    types: frozenset[Name] = frozenset()  # with the names of declared views, but for those of relations
    indexes: dict[Name, FoundIndex] = field(default_factory=dict)
    statistics: dict[Name, FoundStatistics] = field(default_factory=dict)
    dependents: tuple[Dependent, ...] = ()
    marked_views: tuple[Name, ...] = ()
    readers: tuple[tuple[Name, Name], ...] = ()  # materialized views, each with a relation of the declaration it reads

    def index_on(self, name: Name, table: Name) -> FoundIndex | None:
        """Return the index of a name where it is on a given table."""
        index = self.indexes.get(name)
        return index if index is not None and index.table == table else None

    def statistics_on(self, name: Name, table: Name) -> FoundStatistics | None:
        """Return the statistics object of a name where it is on a given table."""
        item = self.statistics.get(name)
        return item if item is not None and item.table == table else None

    def indexes_of(self, table: Name) -> list[FoundIndex]:
        """Return the indexes of one table, in the order of their names."""
        return sorted((index for index in self.indexes.values() if index.table == table), key=lambda index: index.name)
