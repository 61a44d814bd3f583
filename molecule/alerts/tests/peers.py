"""What check_postgres and check_pgbackrest say of the same thing at the same time, with the levels of `health`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import DATABASE, EPHEMERAL, Cluster

Check = dict[str, Any]
Values = dict[str, float]
STATES = ("ok", "warning", "critical", "unknown")
# A value with what is behind it in the third part of a plugin's output: mltrading=123B;80;90
PERFORMANCE = re.compile(r"'?([\w.-]+)'?=(-?[\d.]+)")
# As check_postgres's manual has it, for whoever is no superuser.
READY = "ls_archive_status"
MAKE_READY = (
    f"CREATE OR REPLACE FUNCTION {READY}() RETURNS SETOF text LANGUAGE sql"
    " AS $$SELECT pg_ls_dir('pg_wal/archive_status')$$"
)


@dataclass(frozen=True)
class Said:
    """A state, and the numbers behind it by item."""

    state: str
    values: Values

    @property
    def alarms(self) -> bool:
        """Whether it is one that a person is told of."""
        return self.state != "ok"


@dataclass(frozen=True)
class Peer:
    """One comparison: our check on a host, and a plugin's command there or on another, as that user.

    `numbers` takes our numbers from the check, `read` the plugin's from what it says. `near` is how far apart they
    may be, as what they count goes on.
    `one_level` plugins know critical alone, and are given our warning level.
    """

    check: str
    host: str
    command: Callable[[Cluster, Check], str]
    numbers: Callable[[Check], Values]
    near: float
    read: Callable[[str], Values]
    beside: str = ""
    one_level: bool = False

    def ours(self, cluster: Cluster) -> tuple[Check, Said]:
        """What `health` says."""
        node = getattr(cluster, self.host)
        report = json.loads(node.run(f"health --json --check {self.check}").stdout)
        found: Check = next(check for check in report["checks"] if check["name"] == self.check)
        return found, Said(found["state"], self.numbers(found))

    def theirs(self, cluster: Cluster, check: Check) -> Said:
        """What the plugin says; its exit code is the state."""
        node = getattr(cluster, self.beside or self.host)
        user = "pgbackrest" if node == cluster.backup1 else "postgres"
        done = node.run(f"cd / && runuser -u {user} -- {self.command(cluster, check)}", f"{password()}\n")
        assert done.returncode in range(len(STATES)), done
        assert done.stdout.strip(), done
        return Said(STATES[done.returncode], self.read(done.stdout))


def password() -> str:
    """The password of the role that may ask the servers over the network."""
    return Path(EPHEMERAL / "secrets/monitor_password").read_text().split()[0]


def check_postgres(action: str, unit: str = "", **more: str) -> Callable[[Cluster, Check], str]:
    """An action of check_postgres on the host's own server, with the levels of our check."""
    options = "".join(f" --{name}={value}" for name, value in more.items())

    def command(_cluster: Cluster, check: Check) -> str:
        levels = f"--warning={check['warning']:.0f}{unit} --critical={check['critical']:.0f}{unit}"
        return f"check_postgres --action={action} --dbname={DATABASE} {levels}{options}"

    return command


def hot_standby_delay(cluster: Cluster, check: Check) -> str:
    """Over the network, as both servers are asked; the password is on standard input."""
    command = check_postgres("hot_standby_delay")(cluster, check)
    hosts = f"--dbhost={cluster.db1.name},{cluster.db2.name} --dbuser=monitor,monitor --dbport=5432,5432"
    return f"bash -c 'PGPASSWORD=$(cat) exec {command} {hosts}'"


def wraparound(cluster: Cluster, check: Check) -> str:
    """It counts transactions, and we their share of all that there are."""
    most = {name: check[name] / 100 * 2**31 for name in ("warning", "critical")}
    return check_postgres("txn_wraparound")(cluster, check | most)


def check_pgbackrest(service: str, level: str) -> Callable[[Cluster, Check], str]:
    """A service of check_pgbackrest, with the level at which we warn."""
    return lambda _cluster, check: (
        f"check_pgbackrest --stanza=mltrading --service={service} --{level}={check['warning']:.0f}s"
    )


def performance(said: str) -> Values:
    """A plugin's numbers by their names."""
    found = PERFORMANCE.findall(said.partition("|")[2])
    return {name: float(value) for name, value in found if name != "time"}


def clients(said: str) -> Values:
    """The clients of all databases together."""
    return {"clients": sum(performance(said).values())}


def file_systems(said: str) -> Values:
    """How full each is, by where it is mounted: FS overlay mounted on / is using 31 GB of 251 GB (13%)."""
    return {name: float(percent) for name, percent in re.findall(r"mounted on (\S+) is using .*?\((\d+)%\)", said)}


def mounted(check: Check) -> Values:
    """How full each of ours is: all is on the root's file system, but for what a scenario has mounted."""
    own = "/var/log/postgresql"
    alone = len(check["rows"]) == 1
    return {own if row["item"] == own and not alone else "/": row["value"] for row in check["rows"]}


def by_item(check: Check) -> Values:
    """Our numbers, each under its item's last word: the name of a database, of a slot, of a standby."""
    return {row["item"].split()[-1]: row["value"] for row in check["rows"]}


def counted(check: Check) -> Values:
    """Our numbers where the value is a share: what the detail counts."""
    return {row["item"]: float(re.findall(r"\d+", row["detail"])[0]) for row in check["rows"]}


def since_archived(check: Check) -> Values:
    """For how long nothing has been archived: our value is of what waits, beside it stands when the last one was."""
    text = re.findall(r"last archived ([\d-]+ [\d:]+\+00)", check["rows"][0]["detail"])[0]
    return {"latest_archive_age": (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()}


def only(name: str) -> Callable[[Check], Values]:
    """Our one number, by the plugin's name for it."""
    return lambda check: {name: check["value"]}


PEERS = {
    "backends": Peer("connections", "db1", check_postgres("backends", "%"), counted, 5, clients),
    "database_size": Peer("database_size", "db1", check_postgres("database_size"), by_item, 4 * 2**20, performance),
    "disk_space": Peer("disk", "db1", check_postgres("disk_space", "%"), mounted, 1, file_systems),
    "hot_standby_delay": Peer(
        "replication_lag_bytes", "db1", hot_standby_delay, only("replay_delay"), 2**20, performance
    ),
    "txn_wraparound": Peer("wraparound", "db1", wraparound, counted, 100, performance),
    # Without a function of one's own it looks into the wrong folder on servers newer than 9.6.
    "archive_ready": Peer(
        "archive_backlog", "db1", check_postgres("archive_ready", lsfunc=READY), only("files"), 1, performance
    ),
    "replication_slots": Peer("slot_retained", "db1", check_postgres("replication_slots"), by_item, 2**20, performance),
    "retention": Peer(
        "backup_age", "backup1", check_pgbackrest("retention", "retention-age"), only("latest_bck_age"), 5, performance,
        one_level=True,
    ),
    "archives": Peer(
        "archive_age", "db1", check_pgbackrest("archives", "latest-archive-age-alert"), since_archived, 10, performance,
        beside="backup1", one_level=True,
    ),
}  # fmt: skip
