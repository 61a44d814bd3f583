#!/usr/bin/env python3
"""Look whether the repository is whole: every file as it was written, and no gap in the WAL behind any backup.

usage: verify_repository.py [NEEDED]        exit codes: 0 it is, 1 it is not.

NEEDED is the plan of one restore (JSON, from restore_backup plan): only damage to what that needs counts, and other
damage is told as a warning.
"""

from __future__ import annotations

import getpass
import json
import re
import sys
from dataclasses import dataclass
from subprocess import CompletedProcess
from typing import Any

from ending import run_job
from repository import Backup, Repository, RepositoryError, configured_repository
from wal import is_on, parse_segment_name, run_from

# What `verify` logs of a file (2.45, 2.55): its path in the repository, quoted or not, and what is wrong with it.
DAMAGED = re.compile(r"INFO: ((?:invalid (?:result|checksum|size)|file missing) '?(\S+?)'?(?::? .*)?)$", re.MULTILINE)
BACKUP = re.compile(r"^ *backup: (\S+), status: (.+?),", re.MULTILINE)
ARCHIVE = re.compile(
    r"^ *archiveId: .*\n *missing: (\d+), checksum invalid: (\d+), size invalid: (\d+), other: (\d+)", re.M
)
SEGMENT = re.compile(r"/([0-9A-F]{24})-")


@dataclass(frozen=True)
class Damage:
    """What `verify` found: of each backup that is not valid its status, of each file of the archive what is wrong."""

    backups: dict[str, str]
    segments: dict[str, str]
    unknown: str

    def all(self) -> list[str]:
        """A line for each."""
        backups = [f"backup {label} is {status}" for label, status in self.backups.items()]
        return [*backups, *self.segments.values(), *([self.unknown] if self.unknown else [])]

    def within(self, backups: list[str], segments: tuple[str, ...]) -> list[str]:
        """Those of these backups and segments, and what cannot be told to be of others."""
        ours = Damage(
            {label: status for label, status in self.backups.items() if label in backups},
            {name: text for name, text in self.segments.items() if name in segments},
            self.unknown,
        )
        return ours.all()


def damage_of(done: CompletedProcess[str]) -> Damage:
    """What `verify` said and logged. It ends with 0 whatever it finds, so what it says decides."""
    if "status: ok" in [line.strip() for line in done.stdout.splitlines()]:
        return Damage({}, {}, "")
    files = {path: text.strip() for text, path in DAMAGED.findall(done.stderr)}
    backups = {
        label: "; ".join([status, *(text for path, text in files.items() if path.startswith(f"{label}/"))])
        for label, status in BACKUP.findall(done.stdout)
        if status != "valid"
    }
    segments = {found[1]: text for path, text in files.items() if (found := SEGMENT.search(path))}
    # An error that is not told to be of one of them may be of any.
    counted = sum(int(number) for numbers in ARCHIVE.findall(done.stdout) for number in numbers)
    told = (backups or segments) and len(segments) >= counted
    unknown = "" if told else f"pgbackrest verify did not say 'status: ok': {' '.join(done.stdout.split())}"
    return Damage(backups, segments, unknown)


def verify(repository: Repository) -> CompletedProcess[str]:
    """Read every file of the repository. Which of them is damaged `verify` tells its log alone."""
    done = repository.answer("verify", "--output=text", "--verbose", "--log-level-stderr=info")
    print(done.stdout.rstrip())
    return done


def check_files(repository: Repository) -> None:
    """Raise RepositoryError for any file that is not as it was written."""
    done = verify(repository)
    if damage_of(done).all():
        damaged = [text for text, _ in DAMAGED.findall(done.stderr)]
        raise RepositoryError(
            f"pgbackrest verify did not say 'status: ok': {'; '.join(damaged)}: {' '.join(done.stdout.split())}"
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
        missing = run.missing or ours[0].first_segment
        raise RepositoryError(
            f"WAL segment {missing} is missing in the archive. {way_past(ours, missing, repository.stanza)}"
        )
    print(f"{len(ours)} backups, and {len(run.names)} WAL segments without a gap, {run.names[0]} to {run.names[-1]}")


def way_past(backups: list[Backup], missing: str, stanza: str) -> str:
    """What ends the message of a gap: a full backup behind it, and nothing that is older."""
    position = parse_segment_name(missing)[1]
    fulls = [backup for backup in backups if backup.label.endswith("F")]
    behind = [full.label for full in fulls if parse_segment_name(full.first_segment)[1] > position]
    before = [full.label for full in fulls if behind and full.label < behind[0]]
    if not before:
        return "Bring it back, or take a full backup: sudo /usr/local/lib/mltrading-db/dbjob backup_full"
    commands = " && ".join(f"pgbackrest --stanza={stanza} expire --set={label}" for label in before)
    return (
        f"Nothing from it to the start of {behind[0]} can be recovered to, and what came after can. This is said until"
        f" the older backups have expired; to do without them at once, as OS user {getpass.getuser()}: {commands}"
    )


def needed_segments(repository: Repository, needed: dict[str, Any]) -> tuple[str, ...]:
    """The segments that the restore reads; raises RepositoryError where one is missing."""
    archive = repository.archive()
    lineage = repository.lineage(archive.name, int(needed["timeline"]))
    first, last = (parse_segment_name(needed[name])[1] for name in ("first_segment", "last_segment"))
    run = run_from(lineage, first, repository.files(archive.name))
    names = tuple(name for name in run.names if parse_segment_name(name)[1] <= last)
    if not names or parse_segment_name(names[-1])[1] < last:
        raise RepositoryError(f"WAL segment {run.missing or needed['last_segment']} is missing in the archive")
    return names


def check_needed(repository: Repository, needed: dict[str, Any]) -> list[str]:
    """Raise RepositoryError for damage to what the restore needs; return the other damage."""
    names = needed_segments(repository, needed)
    damage = damage_of(verify(repository))
    if ours := damage.within(needed["backups"], names):
        raise RepositoryError("; ".join(ours))
    others = damage.all()
    try:
        check_archive(repository)
    except RepositoryError as error:
        others.append(str(error))
    print(f"what the restore needs is whole: {', '.join(needed['backups'])}, and {len(names)} WAL segments")
    return others


def main(arguments: list[str]) -> int:
    """Look at both; return the exit code."""
    repository = configured_repository()
    try:
        if arguments:
            for other in check_needed(repository, json.loads(arguments[0])):
                print(f"WARNING: damage elsewhere in the repository: {other}")
        else:
            check_files(repository)
            check_archive(repository)
    except RepositoryError as error:
        print(f"the repository is damaged: {error}")
        return 1
    return 0


if __name__ == "__main__":
    run_job(lambda: main(sys.argv[1:]))
