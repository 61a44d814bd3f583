"""Which files of the log a recovery reads, and where the log ends."""

import pytest
from wal import (
    SEGMENT_BYTES,
    Run,
    first_missing,
    format_lsn,
    is_on,
    parse_history,
    parse_lsn,
    parse_segment_name,
    run_from,
    segment_name,
    segments_up_to,
)

# Timeline 1 until the middle of segment 5, from there timeline 3 (2 was left again).
BRANCH = 5 * SEGMENT_BYTES + 100
LINEAGE = parse_history(3, f'1\t{format_lsn(BRANCH)}\tat restore point "x"\n')
FIRST = parse_history(1, "")


def names(timeline: int, *segments: int) -> set[str]:
    return {segment_name(timeline, segment) for segment in segments}


def test_a_position_is_read_as_it_is_written() -> None:
    assert parse_lsn("16/B374D848") == 0x16B374D848
    assert format_lsn(parse_lsn("16/B374D848")) == "16/B374D848"


@pytest.mark.parametrize(("segment", "name"), [(0, "000000010000000000000000"), (256, "000000010000000100000000")])
def test_a_segment_has_its_name(segment: int, name: str) -> None:
    assert segment_name(1, segment) == name
    assert parse_segment_name(name) == (1, segment)


def test_a_history_tells_who_wrote_what() -> None:
    assert [(part.timeline, part.begin) for part in LINEAGE] == [(1, 0), (3, BRANCH)]
    assert LINEAGE[0].end == BRANCH
    assert LINEAGE[0].reason == 'at restore point "x"'


@pytest.mark.parametrize(
    ("timeline", "lsn", "expected"),
    [
        pytest.param(1, BRANCH - 1, True, id="before-the-branch"),
        pytest.param(1, BRANCH + 1, False, id="what-was-left-behind"),
        pytest.param(2, BRANCH + 1, False, id="a-timeline-that-was-left"),
        pytest.param(3, BRANCH + 1, True, id="behind-the-branch"),
    ],
)
def test_a_position_is_ours_only_where_its_timeline_led_to_now(timeline: int, lsn: int, expected: bool) -> None:
    assert is_on(LINEAGE, timeline, lsn) is expected


RUNS = [
    pytest.param(FIRST, names(1, 3, 4, 5), [(1, 3), (1, 4), (1, 5)], None, id="whole"),
    pytest.param(FIRST, names(1, 2, 3, 4), [(1, 3), (1, 4)], None, id="older-ones-do-not-matter"),
    pytest.param(FIRST, names(1, 3, 4, 6), [(1, 3), (1, 4)], (1, 5), id="a-gap"),
    pytest.param(FIRST, names(1, 4, 5), [], (1, 3), id="the-first-is-missing"),
    pytest.param(FIRST, set(), [], None, id="nothing-yet"),
    pytest.param(
        LINEAGE, names(1, 3, 4, 5) | names(3, 5, 6), [(1, 3), (1, 4), (3, 5), (3, 6)], None, id="along-the-branch"
    ),
    pytest.param(LINEAGE, names(1, 3, 4, 5, 6, 7), [(1, 3), (1, 4), (1, 5)], None, id="nothing-of-the-branch-yet"),
    pytest.param(
        LINEAGE, names(1, 3, 4, 5) | names(3, 6), [(1, 3), (1, 4), (1, 5)], (3, 5), id="the-branch-lost-its-first"
    ),
    pytest.param(LINEAGE, names(1, 3) | names(3, 5, 6), [(1, 3)], (1, 4), id="a-gap-before-the-branch"),
    pytest.param(LINEAGE, names(1, 3, 4) | names(2, 5, 6), [(1, 3), (1, 4)], None, id="another-branch-is-not-ours"),
]


@pytest.mark.parametrize(("lineage", "found", "run", "missing"), RUNS)
def test_the_log_is_followed_until_a_segment_is_missing(lineage, found, run, missing) -> None:  # type: ignore[no-untyped-def]
    expected = Run(tuple(segment_name(*one) for one in run), segment_name(*missing) if missing else None)
    assert run_from(lineage, 3, found) == expected


def test_segments_up_to_one_go_on_behind_the_file_before() -> None:
    assert segments_up_to("000000030000000200000001", 3) == [
        "0000000300000001000000FF", "000000030000000200000000", "000000030000000200000001"
    ]  # fmt: skip
    assert segments_up_to("000000010000000000000001", 30) == ["000000010000000000000000", "000000010000000000000001"]


@pytest.mark.parametrize(
    ("present", "missing"),
    [
        pytest.param({1, 2, 3, 4}, None, id="all-are-there"),
        pytest.param({3, 4}, None, id="the-archive-begins-within"),
        pytest.param({1, 2, 4}, 3, id="one-in-between"),
        pytest.param({2, 3}, 4, id="the-last"),
        pytest.param({2}, 3, id="the-last-ones"),
        pytest.param(set(), 4, id="none-is-there"),
    ],
)
def test_the_first_missing_segment_stands_behind_one_that_is_there(present: set[int], missing: int | None) -> None:
    expected = segments_up_to(segment_name(1, 4), 4)
    assert first_missing(expected, names(1, *present)) == (missing and segment_name(1, missing))
