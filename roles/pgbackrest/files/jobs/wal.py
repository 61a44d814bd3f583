"""Positions in the write-ahead log, and which of its files a recovery reads. Pure: nothing here asks anybody.

A position (LSN) is an int here, a segment the number of its 16 MB file since the beginning. Timelines and their
histories are PostgreSQL's (documentation, "Continuous Archiving", Timelines).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

SEGMENT_BYTES = 16 * 1024 * 1024
SEGMENTS_A_FILE_ID = 0x1_0000_0000 // SEGMENT_BYTES
SEGMENT_NAME = re.compile(r"[0-9A-F]{24}")
HISTORY_LINE = re.compile(r"^\s*(\d+)\s+([0-9A-F]+/[0-9A-F]+)\s+(.*)$", re.MULTILINE)
ENDLESS = 2**64


@dataclass(frozen=True)
class Stretch:
    """A part of the log that one timeline wrote: from one position to before another, and why it ended."""

    timeline: int
    begin: int
    end: int
    reason: str = ""


@dataclass(frozen=True)
class Run:
    """Segments that follow each other without a gap, and the one missing behind them though later ones exist."""

    names: tuple[str, ...]
    missing: str | None


def parse_lsn(text: str) -> int:
    """The position that PostgreSQL writes as `16/B374D848`."""
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def format_lsn(lsn: int) -> str:
    """A position as PostgreSQL writes it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def segment_of(lsn: int) -> int:
    """The segment that holds the position."""
    return lsn // SEGMENT_BYTES


def segment_name(timeline: int, segment: int) -> str:
    """The name of the segment's file."""
    return f"{timeline:08X}{segment // SEGMENTS_A_FILE_ID:08X}{segment % SEGMENTS_A_FILE_ID:08X}"


def parse_segment_name(name: str) -> tuple[int, int]:
    """The timeline and the segment of a file."""
    return int(name[:8], 16), int(name[8:16], 16) * SEGMENTS_A_FILE_ID + int(name[16:24], 16)


def parse_history(timeline: int, text: str) -> tuple[Stretch, ...]:
    """The timeline's ancestors and itself, as its history file tells; an empty text is the first timeline's."""
    stretches, begin = [], 0
    for number, end, reason in HISTORY_LINE.findall(text):
        stretches.append(Stretch(int(number), begin, parse_lsn(end), reason))
        begin = parse_lsn(end)
    return (*stretches, Stretch(timeline, begin, ENDLESS))


def is_on(lineage: Sequence[Stretch], timeline: int, lsn: int) -> bool:
    """Whether the position of that timeline is one that the lineage came through."""
    return any(part.timeline == timeline and part.begin <= lsn <= part.end for part in lineage)


def run_from(lineage: Sequence[Stretch], first: int, names: Collection[str]) -> Run:
    """The segments that a recovery finds from the first one on, in the order it reads them.

    It reads each segment from the newest timeline that had begun by then. The segment in which a timeline begins may be
    archived under its ancestor's name only, as long as nothing of the timeline itself is.
    """
    found: list[str] = []
    segment = first
    while True:
        parts = [part for part in lineage if holds(part, segment)]
        wanted = [segment_name(part.timeline, segment) for part in reversed(parts)]
        name = next((name for name in wanted if name in names), None)
        if name:
            found.append(name)
        if name != wanted[0]:
            break
        segment += 1
    expected = (segment, parts[-1].timeline)
    later = any(
        (number, timeline) > expected and any(part.timeline == timeline and holds(part, number) for part in lineage)
        for timeline, number in map(parse_segment_name, names)
    )
    return Run(tuple(found), wanted[0] if later else None)


def segments_up_to(name: str, count: int) -> list[str]:
    """The names of so many segments of one timeline that end with this one, oldest first."""
    timeline, last = parse_segment_name(name)
    return [segment_name(timeline, segment) for segment in range(max(0, last - count + 1), last + 1)]


def first_missing(expected: Sequence[str], present: Collection[str]) -> str | None:
    """The first of the expected segments that is missing though an earlier one is there, or the last where none is.

    What is missing before the first that is there may have been written before the archive or the timeline began.
    """
    begun = next((index for index, name in enumerate(expected) if name in present), len(expected) - 1)
    return next((name for name in expected[begun:] if name not in present), None)


def holds(part: Stretch, segment: int) -> bool:
    """Whether a segment may hold a record of this part of the log."""
    return segment_of(part.begin) <= segment <= segment_of(part.end)
