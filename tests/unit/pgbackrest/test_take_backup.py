"""A backup that pgBackRest flags is none: it fails the job, no diff is taken of it, and no good one expires for it."""

import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from repository import Archive, Backup

SCRIPT = Path(__file__).parents[3] / "roles/pgbackrest/files/jobs/take_backup"
SEGMENT = "000000010000000000000005"
FULL_1, DIFF_1, FULL_2, DIFF_2, FULL_3 = "1-1F", "1-1F_1-2D", "2-1F", "2-1F_2-2D", "3-1F"


@pytest.fixture(scope="module")
def job() -> ModuleType:
    """The script, which has a command's name."""
    loader = importlib.machinery.SourceFileLoader("take_backup", str(SCRIPT))
    spec = importlib.util.spec_from_loader("take_backup", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def backup(label: str) -> Backup:
    full = label[: label.index("F") + 1]
    return Backup(label, 1, SEGMENT, 0, 0, 1000, () if label == full else (full,))


def archive(good: list[str], flagged: list[str]) -> Archive:
    return Archive("15-1", "7", "15", tuple(map(backup, good)), tuple(map(backup, flagged)))


KINDS = [
    pytest.param("diff", [], [], "diff", id="there-is-none-yet"),
    pytest.param("diff", [FULL_1, DIFF_1], [], "diff", id="the-newest-full-one-is-good"),
    pytest.param("diff", [FULL_1], [DIFF_1], "diff", id="a-flagged-diff-is-nobodys-base"),
    pytest.param("diff", [FULL_1], [FULL_2], "full", id="the-newest-full-one-is-flagged"),
    pytest.param("diff", [FULL_1], [FULL_2, DIFF_2], "full", id="and-a-diff-of-it"),
    pytest.param("diff", [FULL_1, FULL_3], [FULL_2], "diff", id="a-flagged-one-was-followed-by-a-good-one"),
    pytest.param("full", [FULL_1], [FULL_2], "full", id="a-full-one-is-wanted"),
]


@pytest.mark.parametrize(("wanted", "good", "flagged", "taken"), KINDS)
def test_no_diff_is_taken_of_a_flagged_full_backup(
    job: ModuleType, wanted: str, good: list[str], flagged: list[str], taken: str
) -> None:
    assert job.kind_to_take(wanted, archive(good, flagged)) == taken


SUPERFLUOUS = [
    pytest.param([FULL_1, DIFF_1], [], DIFF_1, [], id="none-is-flagged"),
    pytest.param([FULL_1], [FULL_2], FULL_2, [], id="the-new-one-is-what-there-is-of-now"),
    pytest.param([FULL_1], [FULL_2, FULL_3], FULL_3, [FULL_2], id="an-older-one-than-a-flagged-one"),
    pytest.param([FULL_1, FULL_3], [FULL_2, DIFF_2], FULL_3, [FULL_2], id="with-a-full-one-what-is-of-it"),
    pytest.param([FULL_1, FULL_3], [DIFF_1], FULL_3, [DIFF_1], id="a-diff-of-a-good-one"),
    pytest.param([FULL_1, DIFF_2], [FULL_2], DIFF_2, [], id="what-a-good-one-refers-to"),
]


@pytest.mark.parametrize(("good", "flagged", "new", "gone"), SUPERFLUOUS)
def test_flagged_backups_go_when_a_newer_one_is_there(
    job: ModuleType, good: list[str], flagged: list[str], new: str, gone: list[str]
) -> None:
    assert job.superfluous(archive(good, flagged), backup(new)) == gone


# What pgBackRest does in these tests: a backup is added to `info` as the test has it; each call is noted.
PGBACKREST = """#!{python}
import json, sys
from pathlib import Path
folder, words = Path("{folder}"), sys.argv[1:]
with (folder / "calls").open("a") as calls:
    calls.write(" ".join(words) + "\\n")
known = json.loads((folder / "info.json").read_text())
if "backup" in words:
    known[0]["backup"].append(json.loads((folder / "made.json").read_text()))
    (folder / "info.json").write_text(json.dumps(known))
    print("2026-12-01 03:46:24.553 P00   WARN: invalid page checksum found in file /data/base/5/16384 at page 3")
elif "info" in words:
    print(json.dumps(known))
"""


def described(label: str, error: bool) -> dict[str, object]:
    return {
        "label": label, "error": error, "reference": None, "type": "full", "database": {"id": 1, "repo-key": 1},
        "archive": {"start": SEGMENT, "stop": SEGMENT}, "lsn": {"start": "0/5000028", "stop": "0/5000100"},
        "timestamp": {"start": 1, "stop": 2}, "info": {"size": 1000},
    }  # fmt: skip


def take(folder: Path, made: dict[str, object]) -> tuple[int, str, list[str]]:
    """Run the job where pgBackRest makes this; return its exit code, what it said, and pgBackRest's calls."""
    stanza = {
        "name": "mltrading", "status": {"code": 0, "message": "ok"}, "db": [{"id": 1, "system-id": 7, "version": "15"}],
        "archive": [{"id": "15-1", "min": SEGMENT, "max": SEGMENT}], "backup": [described(FULL_1, False)],
    }  # fmt: skip
    (folder / "info.json").write_text(json.dumps([stanza]))
    (folder / "made.json").write_text(json.dumps(made))
    (folder / "pgbackrest").write_text(PGBACKREST.format(python=sys.executable, folder=folder))
    (folder / "pgbackrest").chmod(0o755)
    code = (
        f"import sys, importlib.machinery, importlib.util; sys.path.insert(0, {str(SCRIPT.parent)!r});"
        "import repository, ending; repository.configured_repository = lambda: repository.Repository('mltrading');"
        f"loader = importlib.machinery.SourceFileLoader('job', {str(SCRIPT)!r});"
        "spec = importlib.util.spec_from_loader('job', loader); job = importlib.util.module_from_spec(spec);"
        "loader.exec_module(job); ending.run_job(lambda: job.main(['full']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "ARCHIVE_AGE_LIMIT": "300"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr, (folder / "calls").read_text().splitlines()


def test_a_backup_with_damaged_pages_fails_with_the_file_and_nothing_expires(tmp_path: Path) -> None:
    code, said, calls = take(tmp_path, described(FULL_2, True))
    assert code == 1
    last = said.splitlines()[-1]
    assert f"{FULL_2} holds damaged pages" in last
    assert "found in file /data/base/5/16384 at page 3" in last
    assert [call for call in calls if "expire" in call] == []


def test_an_answer_of_another_shape_ends_in_a_sentence(tmp_path: Path) -> None:
    code, said, _ = take(tmp_path, {"label": FULL_2})
    assert (code, "Traceback" in said) == (1, False)
    assert said.splitlines()[-1] == "failed: KeyError 'database'"


def test_a_good_backup_has_pgbackrest_expire_what_is_behind_it(tmp_path: Path) -> None:
    _, said, calls = take(tmp_path, described(FULL_2, False))
    assert "damaged pages" not in said
    assert [call for call in calls if "expire" in call] == ["--stanza=mltrading expire"]
