"""What the axes of the pictures show."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from matplotlib.axes import Axes

from mltrading_db.bench import charts as bench_charts
from mltrading_db.health import charts

HOUR = 3600.0
DAY = 86400


@pytest.fixture
def axes(monkeypatch: pytest.MonkeyPatch) -> list[Axes]:
    """The axes that were drawn on, in the order of the pictures."""
    found: list[Axes] = []
    picture = charts.picture

    @contextlib.contextmanager
    def kept(*arguments: Any) -> Iterator[tuple[Axes, list[str]]]:
        with picture(*arguments) as (axes, done):
            found.append(axes)
            yield axes, done

    monkeypatch.setattr(charts, "picture", kept)
    return found


@pytest.mark.parametrize(
    ("times", "hours"),
    [
        pytest.param([1.79e9], 1, id="one point"),
        pytest.param([1.79e9, 1.79e9 + 60], 1, id="a minute"),
        pytest.param([1.79e9, 1.79e9 + 100 * HOUR], 104, id="days"),
    ],
)
def test_the_time_that_is_shown_is_that_of_the_points(axes: list[Axes], times: list[float], hours: float) -> None:
    charts.lines("x", {"a": [(time, 1.0) for time in times]}, "%")
    first, last = axes[0].get_xlim()
    assert (last - first) * DAY / HOUR == pytest.approx(hours)
    assert first <= times[0] / DAY <= times[-1] / DAY <= last


def errors(*counts: tuple[int, str, int]) -> list[dict[str, Any]]:
    """Rows of errors: hour, type, number."""
    return [{"hour": f"2026-11-24T{hour:02}:00:00+00:00", "error_type": kind, "errors": n} for hour, kind, n in counts]


def test_stacked_bars_have_room_above_them(axes: list[Axes]) -> None:
    # The second type is not there in the highest hour: a bar of no height stands on the highest.
    charts.errors_by_hour(errors((1, "a", 9), (2, "a", 3), (2, "b", 2)))
    assert axes[0].get_ylim()[1] > 9
    performance = [{"hour": "2026-11-24T01:00:00+00:00", "average_ms": 5.0, "p95_ms": 40.0, "calls": 3}]
    charts.times_by_hour(performance)
    assert axes[1].get_ylim()[1] > 40
    assert all((one.get_xlim()[1] - one.get_xlim()[0]) * 24 < 6 for one in axes)


def test_bars_by_powers_of_ten_say_so_on_their_axis() -> None:
    axes = bench_charts.Figure().subplots()
    bench_charts.bars(
        axes, "x", {"declared": 1.0, "undeclared": 1000.0}, {"declared": "1", "undeclared": "1,000"}, log=True
    )
    assert (axes.get_xscale(), axes.get_xlabel(), axes.xaxis.get_visible()) == ("log", "powers of ten", True)
