"""What a check of the repository says of damage: pgBackRest ends with 0, and names the file in its log alone."""

import re
from subprocess import CompletedProcess

import pytest
from repository import Backup, Repository, RepositoryError
from verify_repository import check_files, damage_of, way_past

WHOLE = "stanza: mltrading\nstatus: ok\n"
DAMAGED = "stanza: mltrading\nstatus: error\n  archiveId: 15-1, total WAL checked: 72, total valid WAL: 71\n"
LOG = """INFO: verify command begin 2.45
INFO: invalid result 15-1/0000000100000000/000000010000000000000048-0ed66d94.lz4: [29] raised: lz4 error
INFO: verify command end: completed successfully (28097ms)
"""


class Answered(Repository):
    """One that answers what it is told to."""

    def __init__(self, said: str, log: str) -> None:
        """Say this."""
        super().__init__("mltrading")
        self.said, self.log = said, log

    def answer(self, command: str, *arguments: str) -> CompletedProcess[str]:
        """As told; the log is asked for, as the host's configuration keeps it to warnings."""
        assert command == "verify"
        assert "--log-level-stderr=info" in arguments
        return CompletedProcess([], 0, self.said, self.log)


def test_a_whole_repository_is_taken() -> None:
    check_files(Answered(WHOLE, ""))


def test_a_damaged_file_is_named_and_why() -> None:
    with pytest.raises(RepositoryError, match=r"15-1/\S+000000000048-\S+: \[29\] raised: lz4 error"):
        check_files(Answered(DAMAGED, LOG))


# As 2.45 says it: a segment and two files of a backup are damaged, another backup is whole.
SAID = """stanza: mltrading
status: error
  archiveId: 15-1, total WAL checked: 3, total valid WAL: 2
    missing: 0, checksum invalid: 0, size invalid: 0, other: 1
  backup: 20261127-211700F, status: invalid, total files checked: 964, total valid files: 962
    missing: 1, checksum invalid: 1, size invalid: 0, other: 0
  backup: 20261128-211700F, status: valid, total files checked: 964, total valid files: 964
    missing: 0, checksum invalid: 0, size invalid: 0, other: 0
"""
LOGGED = """INFO: invalid result 15-1/0000000100000000/000000010000000000000005-80d05dc8.lz4: [29] raised: lz4 error
INFO: invalid checksum '20261127-211700F/pg_data/base/1/1247.lz4'
INFO: file missing '20261127-211700F/pg_data/base/1/1249.lz4'
"""
OLD, NEW, OTHER = "20261127-211700F", "20261128-211700F", "0" * 24
OF_INTEREST = [
    pytest.param([NEW], (OTHER,), "", id="neither"),
    pytest.param([OLD], (OTHER,), f"backup {OLD} is invalid; invalid checksum '{OLD}/pg_data/", id="the-backup"),
    pytest.param([NEW], ("000000010000000000000005",), "invalid result 15-1/", id="the-segment"),
]


@pytest.mark.parametrize(("backups", "segments", "reason"), OF_INTEREST)
def test_damage_counts_for_a_restore_that_needs_it(backups: list[str], segments: tuple[str, ...], reason: str) -> None:
    found = damage_of(CompletedProcess([], 0, SAID, LOGGED))
    ours = found.within(backups, segments)
    assert (len(ours), reason in "".join(ours)) == (1 if reason else 0, True)
    assert len(found.all()) == 2


UNTOLD = [
    pytest.param(SAID, "", id="which-segment-it-is"),
    pytest.param("stanza: mltrading\nstatus: error\n", "", id="what-it-is"),
    pytest.param("", LOGGED.splitlines()[1], id="anything"),
]


@pytest.mark.parametrize(("said", "log"), UNTOLD)
def test_damage_that_cannot_be_told_counts_for_every_restore(said: str, log: str) -> None:
    assert damage_of(CompletedProcess([], 0, said, log)).within([NEW], (OTHER,))


def a_backup(label: str, segment: int) -> Backup:
    return Backup(label, 1, f"{1:08X}{0:08X}{segment:08X}", 0, 0, 1000)


BEFORE_GAP, DIFF, BEHIND_GAP = a_backup("1-1F", 3), a_backup("1-1F_1-2D", 5), a_backup("2-1F", 9)
GAPS = [
    pytest.param([BEFORE_GAP, DIFF], "take a full backup", id="no-full-backup-is-behind-it"),
    pytest.param([BEFORE_GAP, DIFF, BEHIND_GAP], "pgbackrest --stanza=mltrading expire --set=1-1F$", id="one-is"),
    pytest.param(
        [a_backup("0-1F", 1), BEFORE_GAP, BEHIND_GAP],
        "expire --set=0-1F && pgbackrest --stanza=mltrading expire --set=1-1F$",
        id="two-are-before-it",
    ),
]


@pytest.mark.parametrize(("backups", "remedy"), GAPS)
def test_a_gap_says_what_ends_its_message(backups: list[Backup], remedy: str) -> None:
    assert re.search(remedy, way_past(backups, "000000010000000000000006", "mltrading"))
