"""What is compared with earlier looks: an alarm ends by itself, and idle time is no delay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import health_samples
import pytest
from health_checks import Check
from health_samples import OLDEST, WINDOW, archive, hit_ratio, replay, sampled, statements

Rows = list[dict[str, Any]]


def pages(hits: int, reads: int, item: str = "app") -> Rows:
    """The counters of a database that ten thousand reads say something of, on a server that runs for days."""
    return [{"database": item, "item": item, "hits": hits, "reads": reads, "uptime": 10**6, "enough_reads": 0}]


def calls(count: int, total_ms: float) -> Rows:
    """A statement's counters."""
    return [{"item": "app reader 1", "calls": count, "total_ms": total_ms, "query": "SELECT 1"}]


@pytest.mark.parametrize(
    ("rows", "seen", "value"),
    [
        pytest.param(pages(9_500, 10_000), None, None, id="no sample yet"),
        pytest.param(pages(1_009_000, 1_010_000), [1_000_000, 1_000_000], 90.0, id="the last hour alone"),
        pytest.param(pages(1_000_900, 1_009_900), [1_000_000, 1_000_000], None, id="too few reads"),
        pytest.param(pages(19_000, 20_000), [1_000_000, 1_000_000], 95.0, id="after a reset"),
    ],
)
def test_the_hit_ratio_is_that_of_the_last_hour(rows: Rows, seen: list[int] | None, value: float | None) -> None:
    kept = [{"time": 0, "seen": {"app": seen}}] if seen else []
    assert hit_ratio(rows, kept, 3600)[0][0]["value"] == value


def test_a_database_that_is_new_is_compared_with_nought() -> None:
    found, _ = hit_ratio(pages(10_000, 20_000, "new"), [{"time": 0, "seen": {"app": [1, 1]}}], 60)
    assert found[0]["value"] == 50


@pytest.mark.parametrize(
    ("uptime", "enough", "value"),
    [
        pytest.param(3_000, 0, None, id="the server's memory fills"),
        pytest.param(7_300, 0, None, id="the sample is of the first hour"),
        pytest.param(8_000, 0, 50.0, id="warm"),
        pytest.param(8_000, 20_001, None, id="each page was read less than a few times"),
    ],
)
def test_a_cold_server_and_a_walk_through_all_pages_say_nothing(uptime: int, enough: int, value: float | None) -> None:
    rows = [pages(10_000, 20_000)[0] | {"uptime": uptime, "enough_reads": enough}]
    assert hit_ratio(rows, [{"time": 6_000, "seen": {"app": [0, 0]}}], 10_000)[0][0]["value"] == value


@pytest.mark.parametrize(
    ("rows", "value"),
    [
        pytest.param(calls(1_020, 1_000_000 + 20 * 3_000), 3_000, id="slow now"),
        pytest.param(calls(1_020, 1_000_000 + 20 * 3), 3, id="slow once, and quick now"),
        pytest.param(calls(1_019, 1_060_000), 0, id="too few calls"),
        pytest.param(calls(20, 40), 2, id="after a reset"),
    ],
)
def test_a_statement_is_judged_by_the_last_hour(rows: Rows, value: float) -> None:
    kept = [{"time": 0, "seen": {"app reader 1": [1_000, 1_000_000]}}]
    assert statements(rows, kept, 3600)[0][0]["value"] == value
    assert statements(rows, [], 3600)[0][0]["value"] is None


def wal(unarchived: int, last: str = "A", ready: int = 0) -> Rows:
    """What the server says of its archive."""
    return [{"item": "archive", "value": ready, "last_archived": last, "unarchived_bytes": unarchived, "detail": ""}]


def test_wal_waits_since_it_was_written_and_not_since_the_last_file() -> None:
    kept: list[dict[str, Any]] = []
    ages = []
    # Idle for hours, then written to, then archived, then written to again; and a new primary, which archived nothing.
    for now, rows in [
        (0, wal(100)), (10_000, wal(100)), (10_060, wal(500_000)), (10_120, wal(900_000)), (10_180, wal(0, "B")),
        (10_240, wal(900_000, "B")), (10_300, wal(900_000, "")), (10_900, wal(900_000, "")),
        (10_960, wal(0, "C", ready=400)),
    ]:  # fmt: skip
        found, sample = archive(rows, kept, now)
        kept = [sample | {"time": now}]
        ages.append(found[0]["value"])
    assert ages == [0, 0, 60, 120, 0, 60, 0, 600, 400]
    assert archive([], kept, 0) == ([], {})
    assert archive(wal(900_000, ""), [], 50)[0][0]["value"] == 0


def behind(value: float, received: int | None, replayed: int | None) -> Rows:
    """What a standby says of itself, or a primary of a standby."""
    return [{"item": "x", "value": value, "received": received, "replayed": replayed, "detail": ""}]


@pytest.mark.parametrize(
    ("rows", "kept", "value"),
    [
        pytest.param(behind(20_000, 900, 500), [(940, 500)], 60, id="a burst after idle time"),
        pytest.param(behind(20_000, 900, 500), [(900, 300), (940, 600)], 100, id="what was received later waits"),
        pytest.param(behind(300, 900, 500), [(400, 600), (940, 700)], 300, id="behind for longer than it knows"),
        pytest.param(behind(300, 900, 500), [], 300, id="no sample"),
        pytest.param(behind(0.4, None, None), [(940, 500)], 0.4, id="seen from the primary"),
    ],
)
def test_a_standby_is_late_since_it_received_what_it_has_not_replayed(
    rows: Rows, kept: list[tuple[float, int]], value: float
) -> None:
    samples = [{"time": time, "received": received} for time, received in kept]
    assert replay(rows, samples, 1000)[0][0]["value"] == value


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A folder for the samples, and the time, which a test moves."""
    (tmp_path / "health").mkdir()
    monkeypatch.setattr(health_samples, "STATE", tmp_path)
    now = [0.0]
    monkeypatch.setattr(health_samples.time, "time", lambda: now[0])
    return now


CHECK = Check("table_hit_ratio", "Pages", unit="%", warning=95, critical=90, below=True)


def test_an_alarm_ends_when_its_cause_is_an_hour_old(clock: list[float], tmp_path: Path) -> None:
    values = []
    for minute in range(0, 240, 5):
        clock[0] = 60.0 * minute
        # For half an hour nothing is found in memory.
        bad = min(max(minute - 60, 0), 30)
        values.append(sampled(CHECK, pages(10_000 * (minute - bad), 10_000 * minute))[0]["value"])
    assert values[0] is None
    assert min(value for value in values if value is not None) < 60
    assert values[-1] == 100
    kept = json.loads((tmp_path / "health/sample_table_hit_ratio.json").read_text())
    assert len(kept) <= WINDOW / 300 + 2
    assert [path.name for path in (tmp_path / "health").iterdir()] == ["sample_table_hit_ratio.json"]


def test_a_sample_that_is_too_old_or_cut_short_is_none(clock: list[float], tmp_path: Path) -> None:
    sampled(CHECK, pages(0, 0))
    clock[0] = OLDEST + 1
    assert sampled(CHECK, pages(0, 90_000))[0]["value"] is None
    (tmp_path / "health/sample_table_hit_ratio.json").write_text("[{")
    assert sampled(CHECK, pages(0, 90_000))[0]["value"] is None


def test_what_cannot_be_kept_is_told(clock: list[float], tmp_path: Path) -> None:
    (tmp_path / "health").rmdir()
    assert sampled(CHECK, pages(0, 90_000))[0]["detail"] == "the first sample"
    assert clock == [0.0]


def test_a_database_that_could_not_be_asked_stays_in_the_rows(clock: list[float]) -> None:
    silent = {"item": "closed", "value": None, "detail": "no", "state": "unknown"}
    assert silent in sampled(CHECK, [*pages(0, 0), silent])
    assert clock == [0.0]
