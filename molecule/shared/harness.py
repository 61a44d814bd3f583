"""The cluster of a scenario: commands on its hosts, questions to its servers, plays over them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
EPHEMERAL = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
# How the names of the hosts begin: `make test` runs the core of the faults against those of molecule/default.
PREFIX = os.environ.get("FAULTS_PREFIX") or os.environ.get("MOLECULE_SCENARIO_NAME", "faults")
RELEASE = os.environ.get("FAULTS_DEBIAN", "bookworm")
# What chooses the random targets: of an earlier run, it chooses the same.
SEED = int(os.environ.get("FAULTS_SEED") or time.time_ns())
IMAGE = f"mltrading-db-lab:{RELEASE}"
SCRIPTS = "/usr/local/lib/mltrading-db"
REPOSITORY = "/var/lib/pgbackrest"
CLONE = "/var/lib/postgresql/clone"
DATABASE = "mltrading"
# The seconds that a cluster has to be whole again after a fault is over.
PATIENCE = 180


def eventually(reached: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Whether it comes about in time."""
    end = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > end:
            return False
        time.sleep(1)
    return True


def docker(*arguments: str) -> None:
    """A command of the engine."""
    subprocess.run(["docker", *arguments], check=True, capture_output=True)


@dataclass(frozen=True)
class Node:
    """One host, by the last part of its name."""

    short: str

    @property
    def name(self) -> str:
        """Its name in the inventory, and the container's."""
        return f"{PREFIX}-{RELEASE}-{self.short}"

    def run(self, command: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """What became of a command of the shell."""
        words = ["docker", "exec", "--interactive", self.name, "bash", "-c", command]
        return subprocess.run(words, input=stdin or "", capture_output=True, text=True, check=False)

    def do(self, command: str, stdin: str | None = None) -> str:
        """What a command said, which must end well."""
        done = self.run(f"set -euo pipefail; {command}", stdin)
        assert done.returncode == 0, f"{self.name}: {command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def background(self, command: str) -> subprocess.Popen[str]:
        """A command that runs on; what it says is in its standard output."""
        words = ["docker", "exec", self.name, "bash", "-c", command]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def sql(self, statements: str, database: str = "postgres", port: int = 5432) -> str:
        """What the host's server answers to OS user postgres, unaligned and without headings."""
        psql = "runuser -u postgres -- psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 -At"
        return self.do(f"cd / && {psql} --dbname={database} --port={port}", statements)

    def answers(self) -> bool:
        """Whether the server does."""
        return self.run("cd / && runuser -u postgres -- psql -c 'SELECT 1'").returncode == 0

    def writes(self) -> bool:
        """Whether the server takes writes."""
        done = self.run("cd / && runuser -u postgres -- psql -XAtc 'SELECT pg_is_in_recovery()'")
        return done.stdout.strip() == "f"

    @property
    def address(self) -> str:
        """Its address on the network."""
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        found = subprocess.run(
            ["docker", "inspect", "--format", form, self.name], check=True, capture_output=True, text=True
        )
        return found.stdout.strip()

    def route(self, verb: str, addresses: list[str]) -> None:
        """Add or delete routes that lead nowhere: the containers themselves may not."""
        lines = "".join(f"route {verb} blackhole {address}/32\n" for address in addresses)
        command = ["docker", "run", "--rm", "--interactive", "--cap-add=NET_ADMIN", f"--network=container:{self.name}"]
        subprocess.run([*command, IMAGE, "ip", "-batch", "-"], input=lines, text=True, check=True, capture_output=True)

    @contextmanager
    def cut_from(self, *addresses: str) -> Iterator[None]:
        """No packet of this host's reaches those addresses."""
        self.route("add", list(addresses))
        try:
            yield
        finally:
            self.route("del", list(addresses))

    @contextmanager
    def on_small_disk(self, directory: str, spare_mb: int, *units: str) -> Iterator[Callable[[str], str]]:
        """A folder on a file system of its own, with little space left; gives a function that remounts it.

        The units are stopped while the folder moves, there and back.
        """
        stop, start = (f"systemctl {verb} {' '.join(units)}" for verb in ("stop", "start"))
        disk = "/mnt/small-disk"
        used = int(self.do(f"du --summarize --block-size=1M {directory} | cut -f 1"))
        self.do(
            f"{stop}; mkdir -p {disk}; mount -t tmpfs -o size={used + spare_mb}m tmpfs {disk};"
            f" chown --reference={directory} {disk}; chmod --reference={directory} {disk};"
            f" cp --archive {directory}/. {disk}; mount --bind {disk} {directory}; {start}"
        )
        try:
            yield lambda options: self.do(f"mount -o remount,{options} {disk}")
        finally:
            self.do(
                f"{stop}; umount {directory}; find {directory} -mindepth 1 -delete;"
                f" cp --archive {disk}/. {directory}; {start}; umount {disk}"
            )


@dataclass(frozen=True)
class Cluster:
    """The primary of the inventory, its standby, and the host that keeps the repository."""

    db1: Node = field(default_factory=lambda: Node("db1"))
    db2: Node = field(default_factory=lambda: Node("db2"))
    backup1: Node = field(default_factory=lambda: Node("backup1"))

    @property
    def nodes(self) -> tuple[Node, Node, Node]:
        """All hosts."""
        return self.db1, self.db2, self.backup1

    @property
    def version(self) -> str:
        """PostgreSQL's major version."""
        return {"bookworm": "15", "trixie": "17"}[RELEASE]

    @property
    def unit(self) -> str:
        """The unit of a server."""
        return f"postgresql@{self.version}-main"

    @property
    def data(self) -> str:
        """The data directory of a server."""
        return f"/var/lib/postgresql/{self.version}/main"

    def command(self, playbook: str, *arguments: str, **variables: Any) -> list[str]:
        """The command line of a play."""
        extra = ["--extra-vars", json.dumps(variables)] if variables else []
        path = str(PROJECT / "playbooks" / playbook)
        hosts = ["--inventory", str(EPHEMERAL / "inventory"), "--limit", f"{PREFIX}-{RELEASE}-*"]
        return ["ansible-playbook", *hosts, *arguments, *extra, path]

    def play(self, playbook: str, *arguments: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        """A play, run as a person would."""
        command = self.command(playbook, *arguments, **variables)
        return subprocess.run(command, env=play_environment(), capture_output=True, text=True, check=False)

    def killed_play(
        self, playbook: str, line: str, *arguments: str, count: int = 1, **variables: Any
    ) -> tuple[int, str]:
        """A play that is killed when it says a line that begins so, the `count`th time; its code, and what it said."""
        process = subprocess.Popen(
            self.command(playbook, *arguments, **variables),
            env=play_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert process.stdout
        seen, text = 0, []
        for said in process.stdout:
            text.append(said)
            seen += said.startswith(line)
            if seen == count:
                os.killpg(process.pid, signal.SIGKILL)
                break
        # What its children wrote is not waited for: they were killed with it.
        text.append(process.stdout.read())
        return process.wait(), "".join(text)

    def provision(self) -> None:
        """Run the site where it has not been run to its end."""
        if self.db1.run("test -e /etc/mltrading-db/health_metrics.env").returncode or not self.db1.answers():
            run = self.play("site.yml")
            assert run.returncode == 0, run.stdout

    def naming(self, primary: Node) -> list[str]:
        """Arguments of a play after a promotion: an inventory that names `primary`, and both servers."""
        file = EPHEMERAL / f"primary-{primary.name}.json"
        hosts = {node.name: {"postgresql_primary": primary.name} for node in (self.db1, self.db2)}
        file.write_text(json.dumps({"all": {"hosts": hosts}}))
        return ["--inventory", str(file), "--limit", ",".join(hosts)]

    def archive(self, primary: Node | None = None) -> str:
        """Have everything that was written so far archived; the last segment."""
        node = primary or self.db1
        node.sql("SELECT pg_create_restore_point('everything so far')")
        segment = node.sql("SELECT pg_walfile_name(pg_switch_wal())")
        ask = "SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver"
        assert eventually(lambda: node.sql(ask) >= segment), f"{segment} is not archived"
        return segment

    def follows(self, primary: Node | None = None) -> bool:
        """Whether the standby receives and has replayed what the primary has."""
        ask = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND replay_lsn >= '{}'"
        node = primary or self.db1
        return node.answers() and node.sql(ask.format(node.sql("SELECT pg_current_wal_lsn()"))) == "1"

    def is_whole(self) -> None:
        """Assert that it is as provisioned: one primary, a standby that follows, an archive that takes WAL."""
        assert eventually(self.db1.writes), "db1 takes no writes"
        assert eventually(self.follows), f"db2 does not follow: {self.db2.run('pg_lsclusters').stdout}"
        self.archive()

    def heal(self) -> None:
        """After a fault that left something broken, which its test has said: the others begin with a whole cluster."""
        for node in (self.db1, self.db2):
            node.run(f"systemctl reset-failed {self.unit}; systemctl start {self.unit} pgbackrest")
        self.backup1.run("systemctl start pgbackrest")
        if not eventually(self.follows, 30):
            self.play("promote_replica.yml", promote_rejoin=self.db2.name, promote_confirm=self.db2.name)

    def repository(self, command: str) -> subprocess.CompletedProcess[str]:
        """A command on the repository host, as its user."""
        return self.backup1.run(f"cd / && runuser -u pgbackrest -- {command}")

    def backup(self, kind: str) -> subprocess.CompletedProcess[str]:
        """The job that takes a backup and checks the repository."""
        return self.backup1.run(f"{SCRIPTS}/dbjob backup_{kind}")

    def labels(self) -> list[str]:
        """The backups that the repository has."""
        stanza = json.loads(self.repository("pgbackrest info --output=json").stdout)[0]
        return [str(backup["label"]) for backup in stanza["backup"]]

    def restore(self, verb: str, node: Node | None = None, **settings: Any) -> subprocess.CompletedProcess[str]:
        """The program that the playbook runs: `plan` or `run`."""
        command = f'cd / && runuser -u postgres -- {SCRIPTS}/restore_backup {verb} "$(cat)"'
        return (node or self.db1).run(command, json.dumps(settings))

    @contextmanager
    def clone(self, node: Node | None = None, **target: Any) -> Iterator[Callable[[str], str]]:
        """A clone of the primary restored to a target, on its host or another; asks its trading database."""
        on, place = node or self.db1, {"directory": CLONE, "port": 5499}
        try:
            run = self.restore("run", on, **target, **place)
            assert run.returncode == 0, run.stderr
            yield lambda statement: on.sql(statement, DATABASE, 5499)
        finally:
            self.remove_clone(on)

    def remove_clone(self, node: Node | None = None) -> None:
        """Stop the clone and remove it."""
        stop = f"/usr/lib/postgresql/{self.version}/bin/pg_ctl stop --mode=immediate -D {CLONE}"
        (node or self.db1).run(f"cd /; runuser -u postgres -- {stop}; rm -rf {CLONE} {CLONE}.restore")

    def restored(self, node: Node | None = None, **target: Any) -> set[int]:
        """The oracle's rows that a restore to a target has."""
        with self.clone(node, **target) as ask:
            return numbers(ask("SELECT number FROM oracle"))

    def rows(self, node: Node | None = None) -> set[int]:
        """The oracle's rows that a server has."""
        return numbers((node or self.db1).sql("SELECT number FROM oracle", DATABASE))


def numbers(text: str) -> set[int]:
    """A column of whole numbers."""
    return {int(line) for line in text.split()}


def play_environment() -> dict[str, str]:
    """What ansible-playbook needs."""
    return os.environ | {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0"}


def said(run: subprocess.CompletedProcess[str]) -> str:
    """What a run said, on one line."""
    return " ".join((run.stdout + run.stderr).split())


def flip(node: Node, path: str) -> None:
    """Turn one bit in the middle of a file, or turn it back."""
    program = (
        "import sys; p = sys.argv[1]; b = bytearray(open(p, 'rb').read()); b[len(b) // 2] ^= 4; open(p, 'r+b').write(b)"
    )
    node.do(f'python3 -c "{program}" {path}')
