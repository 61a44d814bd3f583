"""The environment under test: a checkout of its own in which only `mldb` is run, and the hosts that it is about."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[3]
EPHEMERAL = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
RELEASE = os.environ.get("FAULTS_DEBIAN", "bookworm")
NETWORK = f"mltrading-mldb-{RELEASE}"
# Not dev, lab or staging: it asks for its name before it is changed.
NAME = "life"
DATABASE = "mltrading"
CHECKOUT = EPHEMERAL / "checkout"
HOME = EPHEMERAL / "home"
VAULT_PASSWORD = HOME / ".config/mltrading-db" / NAME / "vault_password"
RUNS = HOME / ".local/state/mltrading-db" / NAME / "runs"
FOLDER = CHECKOUT / "inventories" / NAME
VAULT = FOLDER / "group_vars/all/vault.yml"


def eventually(reached: Callable[[], bool], seconds: float = 120) -> bool:
    """Whether it comes about in time."""
    end = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > end:
            return False
        time.sleep(1)
    return True


def command(*arguments: str | Path, **options: Any) -> str:
    """What a command says, which must end well."""
    done = subprocess.run([*arguments], check=False, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Node:
    """One host, by the last part of its name."""

    short: str

    @property
    def name(self) -> str:
        """Its name in the inventory, and the container's."""
        return f"mldb-{RELEASE}-{self.short}"

    @property
    def address(self) -> str:
        """Its address on the network."""
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return command("docker", "inspect", "--format", form, self.name).strip()

    def run(self, text: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """What became of a command of the shell."""
        words = ["docker", "exec", "--interactive", self.name, "bash", "-c", text]
        return subprocess.run(words, input=stdin, capture_output=True, text=True, errors="replace", check=False)

    def do(self, text: str, stdin: str = "") -> str:
        """What a command said, which must end well."""
        done = self.run(f"set -euo pipefail; {text}", stdin)
        assert done.returncode == 0, f"{self.name}: {text}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def sql(self, statements: str, database: str = DATABASE) -> str:
        """What the host's server answers to OS user postgres, unaligned and without headings."""
        psql = "runuser -u postgres -- psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 -At"
        return self.do(f"cd / && {psql} --dbname={database}", statements)

    def audit(self) -> dict[str, Any]:
        """The last line of the host's audit log."""
        return dict(json.loads(self.do("tail --lines=1 /var/log/mltrading-db/audit.log")))

    def destroy(self) -> None:
        """Remove the host with all that is on it, and put a blank one in its place, which has its address."""
        before = self.address
        image = command("docker", "inspect", "--format", "{{.Config.Image}}", self.name).strip()
        command("docker", "rm", "--force", "--volumes", self.name)
        platform = {"name": self.name, "image": image, "networks": [{"name": NETWORK}]}
        variables = {"molecule_yml": {"platforms": [platform]}, "ansible_python_interpreter": sys.executable}
        playbook = ["ansible-playbook", "-i", "localhost,", "-e", json.dumps(variables), "molecule/shared/create.yml"]
        command(*playbook, cwd=PROJECT, env=os.environ | {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")})
        assert self.address == before, "the inventory names another address"


DB1, DB2, BACKUP1 = Node("db1"), Node("db2"), Node("backup1")
NODES = (DB1, DB2, BACKUP1)


def play_environment(**more: str) -> dict[str, str]:
    """What a command of the environment is run with: a home of its own, and no colours."""
    mine = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "XDG_", "MOLECULE_"))}
    programs = str(Path(sys.executable).parent)
    return mine | {"HOME": str(HOME), "COLUMNS": "120", "PATH": f"{programs}{os.pathsep}{mine['PATH']}"} | more


def mldb(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run mldb in the checkout as a person would, with nothing to type on; `more` are environment variables."""
    return subprocess.run(
        [Path(sys.executable).parent / "mldb", *arguments],
        cwd=CHECKOUT,
        env=play_environment(**more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def answer(verb: str, *arguments: str, code: int = 0) -> dict[str, Any]:
    """What `mldb VERB life --json` says, which must end with that code."""
    done = mldb(verb, NAME, *arguments, "--json")
    assert done.returncode == code, f"mldb {verb} ended with {done.returncode}: {done.stdout[-6000:]}{done.stderr}"
    return dict(json.loads(done.stdout))


def make_checkout() -> None:
    """What a person has who has cloned the repository: the files as they are now, committed."""
    if (CHECKOUT / ".git").is_dir():
        return
    listed = command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=PROJECT)
    for name in filter(None, listed.split("\0")):
        if (PROJECT / name).is_file():
            (CHECKOUT / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, CHECKOUT / name)
    HOME.mkdir(mode=0o700, exist_ok=True)
    command("git", "init", "--quiet", cwd=CHECKOUT)
    commit("Begin")


def commit(message: str) -> None:
    """Commit all that is in the checkout, as whoever changes an environment does."""
    author = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    command("git", "add", "--all", cwd=CHECKOUT)
    command("git", *author, "commit", "--quiet", "--message", message, cwd=CHECKOUT)


def set_primary(node: Node) -> None:
    """Name another primary in the inventory, the one line that is to be changed after a promotion."""
    path = FOLDER / "group_vars/all/postgresql.yml"
    lines = path.read_text(encoding="utf-8").splitlines()
    changed = [f"postgresql_primary: {node.name}" if line.startswith("postgresql_primary:") else line for line in lines]
    path.write_text("\n".join(changed) + "\n", encoding="utf-8")
    commit(f"{node.name} is the primary")


def follows(primary: Node, standby: Node) -> bool:
    """Whether the standby has replayed all that the primary has written."""
    ask = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND replay_lsn >= '{}'"
    here = standby.run("cd / && runuser -u postgres -- psql -XAtc 'SELECT pg_is_in_recovery()'").stdout.strip() == "t"
    return here and primary.sql(ask.format(primary.sql("SELECT pg_current_wal_lsn()"))) == "1"
