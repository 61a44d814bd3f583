"""What a check of the repository says of damage: pgBackRest ends with 0, and names the file in its log alone."""

from subprocess import CompletedProcess

import pytest
from repository import Repository, RepositoryError
from verify_repository import check_files

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
