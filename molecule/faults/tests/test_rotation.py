"""New passwords for everybody, while somebody keeps logging in through the pooler."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import psycopg2
import pytest
from harness import EPHEMERAL, Cluster, eventually, said
from table import Fault


class Visitor:
    """Logs in again and again, as an application that has the new password beforehand.

    It tries the old one first: between the two the password may change, and only from the old one to the new one.
    """

    def __init__(self, login: Callable[[str, str], None]) -> None:
        """Not started yet."""
        self.login = login
        self.logins: list[float] = []
        self.refused: list[str] = []
        self.ends = threading.Event()
        self.thread = threading.Thread(target=self.run)

    @staticmethod
    def passwords() -> list[str]:
        """Those that there are, the old one first; looked for the other way round, as the new file takes its place."""
        files = [EPHEMERAL / folder / "mltrading_rw_password" for folder in ("secrets.new", "secrets")]
        found: list[str] = []
        for file in files:
            with suppress(FileNotFoundError, IndexError):
                found.insert(0, file.read_text().split()[0])
        return found

    def run(self) -> None:
        """Log in until told to end, to the primary and to the standby."""
        while not self.ends.is_set():
            for database in ("mltrading", "mltrading_ro"):
                errors = [self.attempt(database, password) for password in self.passwords()]
                if all(errors):
                    self.refused.append(str(errors))
                self.logins.append(time.monotonic())

    def attempt(self, database: str, password: str) -> str | None:
        """None, or why it was refused."""
        try:
            self.login(database, password)
        except psycopg2.Error as error:
            return f"{database}: {error}"
        return None


@pytest.fixture
def visitor(cluster: Cluster) -> Iterator[Visitor]:
    """One who is at it, and is told to end at the end."""

    def login(database: str, password: str) -> None:
        who = {"host": cluster.db1.address, "port": 6432, "user": "mltrading_rw", "password": password}
        trust = {"sslmode": "verify-full", "sslrootcert": str(EPHEMERAL / "ca/ca.crt")}
        with closing(psycopg2.connect(dbname=database, connect_timeout=60, **who, **trust)) as connection:
            connection.cursor().execute("SELECT 1")

    visitor = Visitor(login)
    visitor.thread.start()
    yield visitor
    visitor.ends.set()
    visitor.thread.join()


@pytest.mark.timeout(1200)
def test_nobody_who_has_both_passwords_is_refused_and_the_old_one_is_worth_nothing(
    cluster: Cluster, visitor: Visitor, fault: Fault, secret: Callable[[str], str]
) -> None:
    """Every password is changed while somebody logs in again and again."""
    roles = ("mltrading_rw", "mltrading_ro", "monitor", "replicator", "pgbouncer_auth")
    before = {role: secret(f"{role}_password") for role in roles}
    passphrase = secret("pgbackrest_cipher_passphrase")
    meant_otherwise = cluster.play("rotate_secrets.yml", rotate_confirm="production")
    assert "Every password of environment test will be another" in said(meant_otherwise)
    assert meant_otherwise.returncode != 0
    assert eventually(lambda: len(visitor.logins) > 10)

    run = cluster.play("rotate_secrets.yml", rotate_confirm="test")
    assert run.returncode == 0, run.stdout
    done = len(visitor.logins)
    assert eventually(lambda: len(visitor.logins) > done + 10)
    visitor.ends.set()
    visitor.thread.join()
    assert visitor.refused == []

    after = {role: secret(f"{role}_password") for role in roles}
    assert set(before.values()).isdisjoint(after.values())
    kept = sorted(path for path in Path(EPHEMERAL).glob("secrets.before-*"))[-1]
    assert (kept / "mltrading_rw_password").read_text().split()[0] == before["mltrading_rw"]
    for database in ("mltrading", "mltrading_ro"):
        assert visitor.attempt(database, after["mltrading_rw"]) is None
        assert "SASL authentication failed" in str(visitor.attempt(database, before["mltrading_rw"]))

    # What is no password of a role stays what it is: the repository can be read, and the site has nothing to do.
    assert secret("pgbackrest_cipher_passphrase") == passphrase
    assert not (EPHEMERAL / "secrets.new").exists()
    site = cluster.play("site.yml")
    assert site.returncode == 0, site.stdout
    assert "changed: [" not in site.stdout, site.stdout

    # The standby comes back with the new one.
    cluster.db1.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
    assert eventually(cluster.follows)
    for text in (*before.values(), *after.values()):
        assert text not in run.stdout
        assert (
            cluster.db1.run("grep --recursive --files-with-matches --fixed-strings --file=- /var/log /tmp", text).stdout
            == ""
        )
    fault.happened = f"of {len(visitor.logins):,} logins none was refused that had both; the old ones are worth nothing"


@pytest.mark.timeout(3600)
def test_a_rotation_that_is_killed_is_run_again(
    cluster: Cluster, visitor: Visitor, fault: Fault, secret: Callable[[str], str]
) -> None:
    """The change of every password is killed as each of its plays begins, and run again."""
    before, passphrase = secret("mltrading_rw_password"), secret("pgbackrest_cipher_passphrase")
    boundary = 2
    while True:
        code, text = cluster.killed_play("rotate_secrets.yml", "PLAY [", count=boundary, rotate_confirm="test")
        if code != -signal.SIGKILL:
            break
        boundary += 1
    assert code == 0, text
    visitor.ends.set()
    visitor.thread.join()
    assert visitor.refused == []
    assert secret("mltrading_rw_password") != before
    assert secret("pgbackrest_cipher_passphrase") == passphrase
    assert visitor.attempt("mltrading", secret("mltrading_rw_password")) is None
    assert eventually(cluster.follows)
    assert not (EPHEMERAL / "secrets.new").exists()
    fault.happened = f"killed {boundary - 2} times; the run that was left alone ends well, and nobody was refused"
