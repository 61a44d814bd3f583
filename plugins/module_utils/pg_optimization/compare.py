"""How a found index differs from a declared one, and how each is shown."""

from __future__ import annotations

from dataclasses import dataclass

from . import naming
from .model import Index, Name
from .state import Definition, Found, FoundIndex

# Parameters that take effect on the existing index; the others shape its pages, so it is built again.
_LIVE = {"deduplicate_items", "fastupdate", "gin_pending_list_limit", "autosummarize"}


@dataclass(frozen=True)
class Difference:
    """How a found index differs from the declared one."""

    rebuild: tuple[str, ...] = ()
    alter: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether there is any."""
        return bool(self.rebuild or self.alter)


def text(name: Name, table: Name, definition: Definition) -> str:
    """Return an index as one line of SQL in the server's spelling."""
    unique = "UNIQUE " if definition.unique else ""
    options = ", ".join(f"{key}={value}" for key, value in definition.parameters)
    line = f"CREATE {unique}INDEX {name} ON {table} USING {definition.tail}"
    return f"{line}\n  WITH ({options})" if options else line


def describe(index: FoundIndex) -> str:
    """Return a found index for a difference view."""
    lines = [text(index.name, index.table, index.definition)]
    lines += [f"  TABLESPACE {index.tablespace}"]
    lines += [f"  comment: {naming.own_comment(index.comment)}"] if naming.own_comment(index.comment) else []
    lines += [] if index.valid else ["  INVALID"]
    return "\n".join(lines) + "\n"


def describe_declared(index: Index, canonical: Definition, found: Found, existing: FoundIndex | None) -> str:
    """Return a declared index for a difference view."""
    comment = wanted_comment(index, existing)
    lines = [text(index.name, index.table, canonical)]
    lines += [f"  TABLESPACE {tablespace_of(index, existing, found)}"]
    lines += [f"  comment: {comment}"] if comment else []
    return "\n".join(lines) + "\n"


def tablespace_of(index: Index, existing: FoundIndex | None, found: Found) -> str:
    """Return where the index is to be: as declared, else where it is, else the database's default."""
    return index.tablespace or (existing.tablespace if existing is not None else found.default_tablespace)


def wanted_comment(index: Index, existing: FoundIndex | None) -> str:
    """Return the person's comment that the index is to have: as declared, else as it is."""
    if index.comment is not None:
        return index.comment
    return naming.own_comment(existing.comment) if existing is not None else ""


def compare(index: Index, canonical: Definition, existing: FoundIndex) -> Difference:
    """Return how a found index differs from the declared one."""
    rebuild: list[str] = []
    alter: list[str] = []
    have, want = existing.definition, canonical
    if existing.table != index.table:
        rebuild.append(f"is on {existing.table}")
    if have.unique != want.unique:
        rebuild.append("is unique" if have.unique else "is not unique")
    if not want.tail_is(have):
        rebuild.append(f"is {have.tail}")
    if have.parameters != want.parameters:
        names = {name for name, _ in set(have.parameters) ^ set(want.parameters)}
        message = f"has storage parameters {dict(have.parameters)}"
        (alter if names <= _LIVE else rebuild).append(message)
    if index.tablespace is not None and existing.tablespace != index.tablespace:
        rebuild.append(f"is in tablespace {existing.tablespace}")
    if not existing.valid:
        rebuild.append("is INVALID")
    if naming.is_pending(existing.comment):
        rebuild.append("has its parameters from an interrupted run, which did not build it by them")
    return Difference(tuple(rebuild), tuple(alter))
