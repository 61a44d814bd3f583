"""Environments: where one is described, where the state of its runs is kept, and who works on it now."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from getpass import getuser
from pathlib import Path

NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")
# Everything else asks for its name before it is changed: a new environment is taken for one that matters.
FREELY_CHANGED = ("lab", "dev", "staging")

# Where a lock is for all users of a machine, the first that is there.
LOCKS = ("/run/lock", "/tmp")  # noqa: S108  # a folder of all users is what is wanted, and no file is followed or trusted
LONGEST_LINE = 400

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
        """Where its runs and plans are kept, for this user of this controller."""
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
    raise RefusedError([f"{start} is in no checkout of mltrading-db: change to one first."])


def program(name: str = "mldb") -> str:
    """How a program of this installation is called from where the user stands, to be pasted into a shell."""
    here = Path(sys.executable).parent / name
    if shutil.which(name) == str(here):
        return name
    return str(here.relative_to(Path.cwd())) if here.is_relative_to(Path.cwd()) else str(here)


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
        raise RefusedError(
            [f"{name!r} is no environment: there are {', '.join(known)}. {program()} init {name} makes it."]
        )
    return Environment(name, project)


def make_private(folder: Path) -> Path:
    """Make a folder that nobody else reads."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def is_of_all(folder: str) -> bool:
    """Whether every user may make files there, which newer releases of systemd no longer allow in /run/lock."""
    return os.path.isdir(folder) and bool(os.stat(folder).st_mode & stat.S_IWOTH)


def lock_file(environment: Environment) -> Path:
    """Where it is written who is at the environment: one file for all users of this machine.

    A lab is its checkout's containers, which have a name of their own where a machine has two.
    """
    folder = os.environ.get("MLDB_LOCK_DIR") or next(filter(is_of_all, LOCKS), LOCKS[-1])
    lab = environment.project / ".lab/name"
    name = environment.name
    if name == "lab" and lab.is_file():
        name = f"lab-{lab.read_text(encoding='utf-8').strip()}"
    return Path(folder) / f"mltrading-db-{name}.lock"


def opened(path: Path) -> int:
    """Open a file for all users, and make it where it is not there.

    The kernel refuses to create (O_CREAT) what another user has in a folder like /tmp, so it is opened first.

    Raises:
        RefusedError: this user cannot.
    """
    for _ in range(2):
        try:
            return os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            with suppress(FileExistsError):
                made = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC)
                os.fchmod(made, 0o666)
                return made
        except OSError as error:
            raise RefusedError([f"{path}: {error.strerror}. It is the environment's lock, for all users."]) from None
    raise RefusedError([f"{path} comes and goes: try again."], BUSY)


@contextmanager
def locked(environment: Environment, command: str) -> Iterator[None]:
    """Hold the environment while a run lasts, against all users of this machine.

    The kernel gives the lock back with the process, however it ends, so that none is ever left over.

    Raises:
        RefusedError: somebody else is at it.
    """
    make_private(environment.state)
    with os.fdopen(opened(lock_file(environment)), "r+", encoding="utf-8", errors="replace") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = "".join(filter(str.isprintable, file.read(LONGEST_LINE))).strip() or "another run"
            raise RefusedError([f"{environment.name} is being worked on by {who}. Wait until it ends."], BUSY) from None
        file.truncate(0)
        at = datetime.now(UTC).strftime("%H:%M:%S UTC")
        where = f"process {os.getpid()} in {environment.project}"
        file.write(f"`mldb {command}` of {getuser()} since {at} ({where})")
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
