"""What jobs write for the textfile collector: the exposition format, whatever the names hold."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import subprocess
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import pytest
from health_checks import RANKS, Check, Result, judged
from health_metrics import ITEMS, exposition

PROJECT = Path(__file__).resolve().parents[3]
SCRIPT = PROJECT / "roles/monitoring_exporters/files/jobs/pgbouncer_metrics"
LEVELLED = Check("disk", "Disks", unit="%", warning=80, critical=90, record=True)
POOL = {
    "database": "mltrading",
    "user": "app",
    "cl_active": 3,
    "cl_waiting": 1,
    "sv_active": 2,
    "sv_idle": 4,
    "maxwait": 7,
}


@pytest.fixture(scope="module")
def pooler() -> ModuleType:
    """The script, which has a command's name."""
    loader = importlib.machinery.SourceFileLoader("pgbouncer_metrics", str(SCRIPT))
    spec = importlib.util.spec_from_loader("pgbouncer_metrics", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def linted(text: str) -> str:
    """What promtool has against it."""
    command = [PROJECT / ".cache/promtool", "check", "metrics"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False).stderr


def test_a_label_carries_quotes_backslashes_and_lines() -> None:
    result = judged(LEVELLED, [{"item": 'a "b" \\ c\nd', "value": 85, "detail": ""}])
    text = exposition(1.0, [result])
    assert 'mltrading_health_value{check="disk",item="a \\"b\\" \\\\ c\\nd"} 85' in text
    assert linted(text) == ""


def test_the_items_of_a_check_are_bounded_and_the_worst_are_kept() -> None:
    result = judged(LEVELLED, [{"item": str(number), "value": number, "detail": ""} for number in range(60)])
    lines = [line for line in exposition(1.0, [result]).splitlines() if line.startswith("mltrading_health_value")]
    assert len(lines) == ITEMS
    assert 'mltrading_health_value{check="disk",item="59"} 59' in lines


@pytest.mark.parametrize(
    ("state", "number"),
    [
        ("ok", 0), ("info", 0), ("warning", 1), ("critical", 2), ("unknown", 3), ("no_data", -1),
        ("not_configured", -2),
    ],
)  # fmt: skip
def test_a_state_is_a_number(state: str, number: int) -> None:
    assert f'mltrading_health_state{{check="disk"}} {number}\n' in exposition(1.0, [Result(LEVELLED, state, "")])


def test_every_state_that_a_check_can_have_is_told() -> None:
    text = exposition(1.0, [Result(LEVELLED, state, "", 5, ({"item": state, "value": 5},)) for state in RANKS])
    assert text.count("mltrading_health_state{") == len(RANKS)


def test_a_check_of_quiet_rows_alone_is_told_as_well() -> None:
    check = Check("query_time", "Time", unit="ms", warning=1, critical=2, quiet=("train",), record=True)
    text = exposition(1.0, [judged(check, [{"item": "train", "value": 900, "detail": ""}])])
    assert 'mltrading_health_state{check="query_time"} 0\n' in text


def test_the_pools_are_told(pooler: ModuleType) -> None:
    # The console's totals are of type numeric.
    stats = dict.fromkeys(pooler.ASKED["STATS"][1], Decimal(2_500_000)) | {"database": "mltrading"}
    databases = dict.fromkeys(pooler.ASKED["DATABASES"][1], 25) | {"name": "mltrading", "host": None}
    text = pooler.exposition(
        {"POOLS": [POOL], "STATS": [stats], "DATABASES": [databases]}, {"mltrading": "", "ro": "no\n host"}, 17.5
    )
    assert "pgbouncer_up 1\n" in text
    assert "pgbouncer_timestamp_seconds 17\n" in text
    assert 'pgbouncer_database_up{database="mltrading"} 1\npgbouncer_database_up{database="ro"} 0\n' in text
    assert "# reason ro: no host\n" in text
    assert 'pgbouncer_pools_client_maxwait_seconds{database="mltrading",user="app"} 7\n' in text
    assert 'pgbouncer_stats_queries_duration_seconds_total{database="mltrading"} 2.5\n' in text
    assert 'pgbouncer_databases_pool_size{name="mltrading",host=""} 25\n' in text
    assert linted(text) == ""


def test_a_name_is_told_once_and_with_its_quotes(pooler: ModuleType) -> None:
    text = pooler.exposition({"POOLS": [POOL | {"user": 'a"b'}] * 2, "STATS": [], "DATABASES": []}, {}, 17.5)
    assert 'pgbouncer_pools_client_active_connections{database="mltrading",user="a\\"b"} 6\n' in text
    assert linted(text) == ""


def test_a_pooler_that_does_not_answer_is_down_and_nothing_else_is_said(pooler: ModuleType) -> None:
    assert [
        line for line in pooler.exposition({}, {"pgbouncer": "gone"}, 17.5).splitlines() if not line.startswith("#")
    ] == [
        "pgbouncer_up 0",
        "pgbouncer_timestamp_seconds 17",
    ]
