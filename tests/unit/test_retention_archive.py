"""An archive's name is on the disk before the rows that it holds may go."""

import os
import sys
from pathlib import Path

import pytest

ROLES = Path(__file__).parents[2] / "roles"


@pytest.fixture
def archives(monkeypatch: pytest.MonkeyPatch) -> object:
    """The module, which finds what it imports beside it on a host."""
    monkeypatch.syspath_prepend(str(ROLES / "postgresql_retention/files/jobs"))
    monkeypatch.syspath_prepend(str(ROLES / "common/files"))
    import retention_archive  # noqa: PLC0415 - from the path above

    yield retention_archive
    for name in ("retention_archive", "dbjob_session"):
        sys.modules.pop(name, None)


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """What was in a folder each time that it was flushed."""
    seen: list[set[str]] = []

    def fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        if path.is_dir():
            seen.append({file.name for file in path.iterdir()})

    monkeypatch.setattr(os, "fsync", fsync)
    return seen


def test_a_new_archive_is_in_its_folder_before_rows_are_written_to_it(
    archives: object, flushed: list[set[str]], tmp_path: Path
) -> None:
    archives.Archive(tmp_path, "db.public.t-1", ["id"])  # type: ignore[attr-defined]
    assert flushed == [{"db.public.t-1.csv.gz.partial"}]


def test_a_finished_archive_never_is_without_a_name(archives: object, flushed: list[set[str]], tmp_path: Path) -> None:
    archive = archives.Archive(tmp_path, "db.public.t-1", ["id"])  # type: ignore[attr-defined]
    archive.file.write(archives.gzip.compress(b"7\n"))  # type: ignore[attr-defined]
    archive.rows = 1
    assert archive.finish() == tmp_path / "db.public.t-1.csv.gz"
    final, beside = "db.public.t-1.csv.gz", "db.public.t-1.csv.gz.sha256"
    assert flushed[1:] == [{f"{final}.partial", final, beside}, {final, beside}]


def test_no_archive_is_begun_on_a_disk_without_room(archives: object, tmp_path: Path) -> None:
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    archives.refuse_a_full_disk(tmp_path, free // 4, free // 4)  # type: ignore[attr-defined]
    with pytest.raises(Exception, match="are to be archived"):
        archives.refuse_a_full_disk(tmp_path, free, free)  # type: ignore[attr-defined]
