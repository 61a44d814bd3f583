"""A controller: a checkout of its own and a home of its own, in which only `mldb` is run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]


def command(*arguments: str | Path, **options: Any) -> str:
    """What a command says, which must end well."""
    done = subprocess.run([*arguments], check=False, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Controller:
    """One, in a folder."""

    folder: Path
    # The configuration of SSH by which the hosts are reached.
    ssh: Path

    @property
    def checkout(self) -> Path:
        """Its checkout of the project."""
        return self.folder / "checkout"

    @property
    def home(self) -> Path:
        """The home of its user."""
        return self.folder / "home"

    def clone(self, source: Path | None = None) -> None:
        """Have what a person has who cloned the project as it is now, or another controller's checkout."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.home.mkdir(parents=True, mode=0o700)
        if source:
            command("git", "clone", "--quiet", source, self.checkout)
            return
        listed = command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=PROJECT)
        for name in filter(None, listed.split("\0")):
            if (PROJECT / name).is_file():
                (self.checkout / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(PROJECT / name, self.checkout / name)
        command("git", "init", "--quiet", cwd=self.checkout)
        self.commit("Begin")

    def commit(self, message: str) -> None:
        """Commit all that is in the checkout, as whoever changes an environment does."""
        author = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
        command("git", "add", "--all", cwd=self.checkout)
        command("git", *author, "commit", "--quiet", "--message", message, cwd=self.checkout)

    def environment(self, **more: str) -> dict[str, str]:
        """What its commands are run with: its home, no colours, and nothing of whoever runs the tests."""
        mine = {
            key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "XDG_", "MOLECULE_"))
        }
        reached = f'-F "{self.ssh}" -o ControlPath=~/.ansible/cp/%C'
        programs = f"{Path(sys.executable).parent}{os.pathsep}{mine['PATH']}"
        own = {"HOME": str(self.home), "COLUMNS": "120", "PATH": programs, "ANSIBLE_SSH_COMMON_ARGS": reached}
        return mine | own | more

    def mldb(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run mldb as a person would, with nothing to type on; `more` are environment variables."""
        return subprocess.run(
            [Path(sys.executable).parent / "mldb", *arguments],
            cwd=self.checkout,
            env=self.environment(**more),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
