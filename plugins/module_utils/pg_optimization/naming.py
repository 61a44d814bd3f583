"""Names that the module gives itself, and the mark it leaves in comments."""

from __future__ import annotations

import hashlib
import re

from .model import Name

LIMIT = 63  # bytes, NAMEDATALEN - 1: the server cuts what is longer without an error
MARK = "[managed by postgresql_optimization]"
# On an index whose parameters are set already and whose pages are not built by them yet.
PENDING = "[to be rebuilt by postgresql_optimization]"

OWN = r"__pgopt_(new|old|part)_[0-9a-f]{8}$"  # the server's pattern of those names
_OWN = re.compile(r"__pgopt_(new|old|part)_[0-9a-f]{8}\Z")
_REINDEX = re.compile(r"_cc(new|old)\d*\Z")


def cut(text: str, size: int) -> str:
    """Return at most `size` bytes of `text`, never half a character."""
    return text.encode()[:size].decode(errors="ignore")


def digest(*parts: str) -> str:
    """Return eight hexadecimal digits that stand for the parts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]


def _own(base: str, use: str, *identity: str) -> str:
    suffix = f"__pgopt_{use}_{digest(*identity)}"
    return cut(base, LIMIT - len(suffix)) + suffix


def building(name: Name) -> Name:
    """Return the name under which an object is built before it takes its own."""
    return name.sibling(_own(name.name, "new", *name))


def retired(name: Name, oid: int | None = None) -> Name:
    """Return the name that an object has between its replacement and its removal; with an oid, one of its own."""
    return name.sibling(_own(name.name, "old", *name, *([] if oid is None else [str(oid)])))


def on_partition(index: Name, partition: Name, definition: str) -> Name:
    """Return the name of a partition's part of an index; another definition gives another name."""
    return partition.sibling(_own(partition.name, "part", *index, *partition, definition))


def is_own(name: str) -> bool:
    """Tell whether a name is one of those made here."""
    return _OWN.search(name) is not None


def reindex_leftover_of(name: str) -> str | None:
    """Return the index that a killed REINDEX CONCURRENTLY was rebuilding under this name, cut as the server cuts it."""
    match = _REINDEX.search(name)
    return name[: match.start()] if match else None


def is_reindex_leftover(name: str, declared: str) -> bool:
    """Tell whether `name` is what REINDEX CONCURRENTLY of `declared` leaves when it is killed."""
    base = reindex_leftover_of(name)
    if base is None or base == declared:
        return base is not None
    return len(name.encode()) == LIMIT and base == cut(declared, len(base.encode()))


def marked(comment: str | None) -> bool:
    """Tell whether a comment carries the mark."""
    return comment is not None and comment.endswith(MARK)


def own_comment(comment: str | None) -> str:
    """Return the person's part of a comment, without the module's signs; none is an empty text."""
    text = comment or ""
    for sign in (MARK, PENDING):
        if text.endswith(sign):
            text = text[: -len(sign)].rstrip(" ")
    return text


def mark(comment: str | None) -> str:
    """Return a person's comment with the mark behind it."""
    return f"{own_comment(comment)} {MARK}".lstrip(" ")


def settled(comment: str | None) -> str:
    """Return a comment as it is once the index is rebuilt: the person's part, and the mark where it has one."""
    return mark(comment) if marked(comment) else own_comment(comment)


def pending(comment: str | None) -> str:
    """Return a comment with the sign that the index is to be rebuilt."""
    text = f"{own_comment(comment)} {PENDING}".lstrip(" ")
    return f"{text} {MARK}" if marked(comment) else text


def is_pending(comment: str | None) -> bool:
    """Tell whether an interrupted run set the parameters of an index and did not rebuild it."""
    return comment is not None and comment == pending(comment)
