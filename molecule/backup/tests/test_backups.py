"""Backups: what is in the repository, what a check of it finds, and what is refused."""

import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from conftest import Query, archive_all
from harness import REPOSITORY, SCRIPTS, said
from testinfra.host import Host

Play = Callable[..., subprocess.CompletedProcess[str]]

VERIFY = f"cd / && runuser -u pgbackrest -- {SCRIPTS}/verify_repository.py"


def test_a_full_backup_was_taken_by_the_first_run(repository: Host) -> None:
    assert "full backup: " in repository.check_output("runuser -u pgbackrest -- pgbackrest info")


def test_every_file_of_the_repository_is_encrypted(repository: Host) -> None:
    files = f"find {REPOSITORY} -type f -size +0"
    assert int(repository.check_output(f"{files} | wc -l")) > 100
    plain = f'{files} -print0 | xargs -0 -n 1 sh -c \'head -c 8 "$0" | grep -q Salted__ || echo "$0"\''
    assert repository.check_output(plain) == ""


def test_the_repository_is_its_users_alone(repository: Host) -> None:
    assert repository.check_output(f"find {REPOSITORY} ! -type l -perm /007 -o ! -user pgbackrest") == ""
    assert repository.check_output("stat -c '%U %G %a' /etc/pgbackrest/pgbackrest.conf") == "root pgbackrest 640"


def test_the_passphrase_is_on_the_repository_host_only(repository: Host, database: Host) -> None:
    assert repository.run("grep -q cipher-pass /etc/pgbackrest/pgbackrest.conf").rc == 0
    assert database.run("grep -rq cipher-pass /etc/pgbackrest /etc/postgresql").rc == 1


def test_the_server_answers_certificates_of_the_cluster_only(repository: Host) -> None:
    # The repository host's own certificate is signed by the same authority, and is not on its list.
    tls = "/etc/pgbackrest/tls"
    answer = repository.run(
        "runuser -u pgbackrest -- pgbackrest --stanza=mltrading --config=/dev/null --repo1-host=bk-backup1"
        f" --repo1-host-type=tls --repo1-host-ca-file={tls}/ca.crt --repo1-host-cert-file={tls}/server.crt"
        f" --repo1-host-key-file={tls}/server.key --log-path=/tmp repo-ls"
    )
    assert answer.rc != 0
    assert "access denied" in answer.stderr


def test_wal_arrives_though_nobody_fills_or_switches_its_segment(query: Query, repository: Host) -> None:
    query("CREATE TABLE IF NOT EXISTS arrival (id integer); INSERT INTO arrival VALUES (1)")
    segment = query("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
    began = time.monotonic()
    while not repository.check_output(f"find {REPOSITORY}/archive -name '{segment}-*'"):
        assert time.monotonic() - began < 600, f"{segment} never arrived"
        time.sleep(1)
    query("DROP TABLE arrival")


def test_the_heartbeat_is_written_and_looks_at_the_archive(database: Host, query: Query) -> None:
    before = int(query("SELECT max(number) FROM backup.heartbeat"))
    assert database.run(f"{SCRIPTS}/dbjob heartbeat").rc == 0
    assert int(query("SELECT max(number) FROM backup.heartbeat")) > before


@pytest.fixture
def broken_archive_command(database: Host, query: Query) -> Iterator[None]:
    """An archive command that cannot be run: failed_count stays 0."""
    query("ALTER SYSTEM SET archive_command = '/nonexistent %p'")
    query("SELECT pg_reload_conf()")
    query("SELECT pg_create_restore_point('x')")
    query("SELECT pg_switch_wal()")
    database.check_output("sleep 2; touch -d '1 hour ago' /var/lib/postgresql/*/main/pg_wal/archive_status/*.ready")
    yield
    query("ALTER SYSTEM RESET archive_command")
    query("SELECT pg_reload_conf()")
    archive_all(query)


@pytest.mark.usefixtures("broken_archive_command")
def test_the_heartbeat_fails_when_wal_waits(database: Host) -> None:
    run = database.run(f"{SCRIPTS}/dbjob heartbeat")
    assert run.rc == 1
    assert "WAL is not archived" in run.stdout + run.stderr


@pytest.fixture
def flipped_bit(repository: Host) -> Iterator[str]:
    """A bit of a file in the newest backup that is no longer what it was."""
    newest = f"find {REPOSITORY}/backup/mltrading/latest/ -name '*.lz4' -size +8k | sort | head -n 1"
    path = repository.check_output(newest)
    flip = (
        "python3 -c \"import sys; p = sys.argv[1]; b = bytearray(open(p, 'rb').read()); b[len(b) // 2] ^= 4;"
        " open(p, 'r+b').write(b)\" %s"
    )
    repository.check_output(flip, path)
    yield path
    repository.check_output(flip, path)


def test_a_flipped_bit_is_found_and_a_restore_refused(
    flipped_bit: str, repository: Host, database: Host, play: Play, query: Query
) -> None:
    found = repository.run(VERIFY)
    assert (found.rc, "did not say 'status: ok'" in found.stdout) == (1, True), flipped_bit
    archive_all(query)
    before = query("SELECT pg_postmaster_start_time()")
    run = play("restore_backup.yml", restore_target="latest", restore_confirm="bk-db1")
    assert run.returncode != 0
    assert "the repository is damaged" in said(run)
    assert query("SELECT pg_postmaster_start_time()") == before
    assert database.run("ls -d /var/lib/postgresql/*/main.restore").rc != 0


def test_of_two_backups_at_once_one_is_taken_and_one_says_why_not(repository: Host) -> None:
    both = f"{SCRIPTS}/dbjob backup_diff & sleep 0.3; {SCRIPTS}/dbjob backup_full; second=$?; wait $!; echo $? $second"
    codes = repository.run("bash -c %s", both).stdout.splitlines()[-1].split()
    assert sorted(codes) == ["0", "75"]


def test_a_short_passphrase_is_refused(play: Play) -> None:
    run = play("backup_repository.yml", pgbackrest_cipher_passphrase="x" * 19)
    assert run.returncode != 0
    assert "pgbackrest_cipher_passphrase is missing, shorter than 20 characters" in said(run)
    assert "changed: [" not in run.stdout


def test_another_passphrase_is_tried_on_the_repository_and_refused(play: Play, repository: Host) -> None:
    file = "/etc/pgbackrest/pgbackrest.conf"
    before = repository.file(file).sha256sum
    run = play("backup_repository.yml", pgbackrest_cipher_passphrase="y" * 30)
    assert run.returncode != 0
    assert "cannot be read with what is declared, and nothing was changed" in said(run)
    assert "changed: [" not in run.stdout
    assert repository.file(file).sha256sum == before


@pytest.fixture
def wrong_passphrase(repository: Host) -> Iterator[None]:
    """A configuration with another passphrase than the repository's."""
    file = "/etc/pgbackrest/pgbackrest.conf"
    repository.check_output(f"cp -p {file} {file}.kept && sed -i 's/^repo1-cipher-pass=.*/&-and-more/' {file}")
    yield
    repository.check_output(f"mv {file}.kept {file}")


@pytest.mark.usefixtures("wrong_passphrase")
def test_a_wrong_passphrase_is_named_and_nothing_is_made_anew(play: Play, repository: Host) -> None:
    sums = f"cd {REPOSITORY} && find . -name '*.info' | sort | xargs sha256sum"
    before = repository.check_output(sums)
    run = play("pgbackrest.yml")
    assert run.returncode != 0
    assert "stanza 'mltrading' on bk-backup1 cannot be read" in said(run)
    assert repository.check_output(sums) == before


@pytest.fixture
def another_system(database: Host) -> Iterator[str]:
    """Another cluster in the place of ours; its system identifier."""
    yield database.check_output(
        "set -e; cd /var/lib/postgresql/1?; version=$(basename $PWD); systemctl stop postgresql@$version-main;"
        " mv main main.kept; runuser -u postgres -- /usr/lib/postgresql/$version/bin/initdb -k -D $PWD/main >/dev/null;"
        " systemctl start postgresql@$version-main;"
        " runuser -u postgres -- psql -AtXc 'SELECT system_identifier FROM pg_control_system()'"
    )
    database.check_output(
        "set -e; cd /var/lib/postgresql/1?; version=$(basename $PWD); systemctl stop postgresql@$version-main;"
        " rm -r main; mv main.kept main; systemctl start postgresql@$version-main"
    )


def test_a_repository_of_another_system_stops_the_play_with_both_identifiers(
    another_system: str, play: Play, repository: Host
) -> None:
    ask = "runuser -u pgbackrest -- pgbackrest info --output=json | grep -o '\"system-id\":[0-9]*' | tail -n 1"
    held = repository.check_output(ask).rpartition(":")[2]
    run = play("pgbackrest.yml")
    assert run.returncode != 0
    assert f"its cluster is system {another_system}" in said(run)
    assert f"holds the backups of system {held}" in said(run)
    assert "restore_backup.yml" in said(run)
    assert "pgbackrest_stanza" in said(run)


def test_a_backup_by_hand_says_what_it_took(play: Play) -> None:
    run = play("take_backup.yml", backup_type="diff")
    assert run.returncode == 0, said(run)
    assert "is taken and checked" in said(run)
