"""Environments: where one is described, where the state of its runs is kept, and who works on it now."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from getpass import getuser
from pathlib import Path

NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")
# Everything else asks for its name before it is changed: a new environment is taken for one that matters.
FREELY_CHANGED = ("lab", "dev", "staging")

# What the command ends with; docs/operations/mldb.md explains them.
DONE, FAILED, REFUSED, DRIFTED, BUSY, INTERRUPTED = 0, 1, 2, 3, 75, 130


class RefusedError(Exception):
    """What was asked for is not done, and nothing was changed.

    `problems` are lines for a person, `code` is the exit code.
    """

    def __init__(self, problems: Sequence[str], code: int = REFUSED) -> None:
        """Keep the lines."""
        super().__init__("\n".join(problems))
        self.problems = list(problems)
        self.code = code


@dataclass(frozen=True)
class Environment:
    """One folder of inventories/."""

    name: str
    project: Path

    @property
    def folder(self) -> Path:
        """Where it is described."""
        return self.project / "inventories" / self.name

    @property
    def state(self) -> Path:
        """Where its runs, plans and lock are kept, for this user of this controller."""
        home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        return Path(home) / "mltrading-db" / self.name

    @property
    def secrets(self) -> Path:
        """Where what must not be in the repository is kept: the vault's password, the certificate authority."""
        return Path.home() / ".config" / "mltrading-db" / self.name

    @property
    def vault_password_file(self) -> Path:
        """What `mldb init` encrypted the vault with."""
        return self.secrets / "vault_password"

    @property
    def asks_for_its_name(self) -> bool:
        """Whether a change has to be confirmed by the environment's name."""
        return self.name.split("-")[0] not in FREELY_CHANGED


def project_of(start: Path) -> Path:
    """The checkout that a folder is in, else the one that this code is in.

    Raises:
        RefusedError: there is none.
    """
    for folder in (start, *start.parents, *Path(__file__).resolve().parents):
        if (folder / "playbooks/site.yml").is_file() and (folder / "inventories").is_dir():
            return folder
    raise RefusedError([f"{start} is in no checkout of mltrading-db: change to one, and run mldb there."])


def names(project: Path) -> list[str]:
    """The environments of a checkout."""
    return sorted(path.parent.name for path in (project / "inventories").glob("*/hosts.yml"))


def find(name: str, start: Path | None = None) -> Environment:
    """The environment of that name.

    Raises:
        RefusedError: there is none.
    """
    project = project_of(start or Path.cwd())
    known = names(project)
    if name not in known:
        raise RefusedError([f"{name!r} is no environment: there are {', '.join(known)}. mldb init makes another."])
    return Environment(name, project)


def make_private(folder: Path) -> Path:
    """Make a folder that nobody else reads."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


@contextmanager
def locked(environment: Environment, command: str) -> Iterator[None]:
    """Hold the environment while a run lasts.

    The kernel gives the lock back with the process, however it ends, so that none is ever left over.

    Raises:
        RefusedError: somebody else is at it.
    """
    path = make_private(environment.state) / "lock"
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            line = (
                f"{environment.name} is being worked on by {file.read().strip() or 'another run'}. Wait until it ends."
            )
            raise RefusedError([line], BUSY) from None
        file.truncate(0)
        at = datetime.now(UTC).strftime("%H:%M:%S UTC")
        file.write(f"`mldb {command}` of {getuser()} since {at} (process {os.getpid()})")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def read_json(path: Path) -> dict[str, object]:
    """A JSON object of a file.

    Raises:
        RefusedError: it cannot be read, or holds something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RefusedError([f"{path} cannot be read: {error}"]) from None
    if not isinstance(found, dict):
        raise RefusedError([f"{path} holds no JSON object."])
    return found
