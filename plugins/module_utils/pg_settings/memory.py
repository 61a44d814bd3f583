"""Whether memory that a running server holds is what a trial of its settings lacks."""

from __future__ import annotations

import re
from dataclasses import dataclass

MB = 1024 * 1024
MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+\s+(/anon_hugepage|/dev/zero)", re.MULTILINE)
STRICT = 2


@dataclass(frozen=True)
class Memory:
    """Memory in bytes, huge pages by their number.

    `own` and `own_huge` are the shared memory that the running server gives back when it is stopped.
    """

    total: int
    commit_room: int
    overcommit: int
    huge_free: int
    huge_page: int
    own: int
    own_huge: int


def fields(meminfo: str) -> dict[str, int]:
    """Return the numbers of /proc/meminfo: bytes where it says kB, else a count."""
    found = re.findall(r"^(\S+):\s+(\d+)( kB)?", meminfo, re.MULTILINE)
    return {name: int(number) * (1024 if unit else 1) for name, number, unit in found}


def read(meminfo: str, overcommit: int, huge_surplus: int, maps: str) -> Memory:
    """Return the memory of a host: from /proc/meminfo, two numbers of /proc/sys/vm, and the server's /proc/PID/maps."""
    said = fields(meminfo)
    page = said.get("Hugepagesize", 2 * MB)
    sizes = [(int(end, 16) - int(begin, 16), kind) for begin, end, kind in MAPPING.findall(maps)]
    more = max(huge_surplus - said.get("HugePages_Surp", 0), 0)
    return Memory(
        total=said.get("MemTotal", 0) + said.get("SwapTotal", 0),
        commit_room=said.get("CommitLimit", 0) - said.get("Committed_AS", 0),
        overcommit=overcommit,
        huge_free=said.get("HugePages_Free", 0) - said.get("HugePages_Rsvd", 0) + more,
        huge_page=page,
        own=sum(size for size, kind in sizes if kind == "/dev/zero"),
        own_huge=sum(size for size, kind in sizes if kind == "/anon_hugepage") // page,
    )


def shortage(memory: Memory, needed: int, *, huge: bool) -> str:
    """Return why `needed` bytes of shared memory are not there once the running server is stopped; "" where they are.

    `huge` is whether they must be of huge pages.
    """
    if huge:
        pages = -(-needed // memory.huge_page)
        there = memory.huge_free + memory.own_huge
        return "" if pages <= there else f"{pages} huge pages are needed, and the host has {there} for this server"
    if needed > memory.total:
        return f"{needed // MB} MB of shared memory are needed, and the host has {memory.total // MB} MB in all"
    there = memory.commit_room + memory.own
    if memory.overcommit == STRICT and needed > there:
        return f"{needed // MB} MB of shared memory are needed, and the kernel commits {max(there, 0) // MB} MB more"
    return ""
