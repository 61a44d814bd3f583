#!/usr/bin/env python3
"""Look whether the repository is whole: every file as it was written, and no gap in the WAL behind any backup.

usage: verify_repository.py        exit codes: 0 it is, 1 it is not.
"""

from __future__ import annotations

import sys

from repository import Repository, RepositoryError, configured_repository
from wal import is_on, parse_segment_name, run_from

DAMAGED = "INFO: invalid result"


def check_files(repository: Repository) -> None:
    """Read every file of the repository. `verify` ends with 0 whatever it finds, so what it says decides.

    Which file it is that is damaged it tells its log alone.
    """
    done = repository.answer("verify", "--output=text", "--verbose", "--log-level-stderr=info")
    said = done.stdout
    print(said.rstrip())
    if "status: ok" not in [line.strip() for line in said.splitlines()]:
        damaged = [line.partition(DAMAGED)[2].strip() for line in done.stderr.splitlines() if DAMAGED in line]
        raise RepositoryError(
            f"pgbackrest verify did not say 'status: ok': {'; '.join(damaged)}: {' '.join(said.split())}"
        )


def check_archive(repository: Repository) -> None:
    """Look for gaps from the oldest backup on, along the timelines that led to now; raises RepositoryError."""
    archive = repository.archive()
    files = repository.files(archive.name)
    lineage = repository.lineage(archive.name, repository.newest_timeline(archive.name))
    ours = [backup for backup in archive.backups if is_on(lineage, backup.timeline, backup.stop_lsn)]
    if not ours:
        raise RepositoryError("there is no backup of the newest timeline or of one that led to it")
    run = run_from(lineage, parse_segment_name(ours[0].first_segment)[1], files)
    if run.missing or not run.names:
        raise RepositoryError(f"WAL segment {run.missing or ours[0].first_segment} is missing in the archive")
    print(f"{len(ours)} backups, and {len(run.names)} WAL segments without a gap, {run.names[0]} to {run.names[-1]}")


def main() -> int:
    """Look at both; return the exit code."""
    repository = configured_repository()
    try:
        check_files(repository)
        check_archive(repository)
    except RepositoryError as error:
        print(f"the repository is damaged: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
