"""The security controls of the pooler, and those that only a server which takes writes can show."""

import re
import ssl
import subprocess

import pytest
from conftest import Query
from testinfra.host import Host

# The pooler is on the primary's host.
testinfra_hosts = ["pgbouncer"]

ASKED_OF_THE_HOST = [
    pytest.param("stat -c '%U %G %a' /etc/pgbouncer/userlist.txt", "root pgbouncer 640", id="6-pooler-password-file"),
    pytest.param("stat -c '%U %G %a' /etc/pgbouncer/pgbouncer.ini", "root pgbouncer 640", id="6-pooler-configuration"),
    pytest.param("stat -c '%U %a' /etc/pgbouncer/tls/server.key", "pgbouncer 600", id="16-pooler-key"),
    pytest.param("ps -o user= -C pgbouncer", "pgbounc+", id="19-the-pooler-is-its-own-user"),
    pytest.param("systemctl show pgbouncer -p NoNewPrivileges --value", "yes", id="27-the-pooler-gains-no-privileges"),
    pytest.param("systemctl show pgbouncer -p ProtectSystem --value", "strict", id="27-the-pooler-writes-nowhere"),
]


@pytest.mark.parametrize(("command", "expected"), ASKED_OF_THE_HOST)
def test_the_pooler_s_host_answers_as_the_control_says(host: Host, command: str, expected: str) -> None:
    answer = host.check_output(command)
    # ps cuts a user's name that is longer than its column on one release and not on the other.
    assert answer in {expected, "pgbouncer"} if expected.endswith("+") else answer == expected


@pytest.mark.parametrize("port", [pytest.param(5432, id="postgresql"), pytest.param(6432, id="pgbouncer")])
def test_16_tls_older_than_1_2_is_refused(address: str, ca: str, port: int) -> None:
    command = ["openssl", "s_client", "-starttls", "postgres", "-connect", f"{address}:{port}", "-CAfile", ca]
    old = subprocess.run([*command, "-tls1_1"], input="", capture_output=True, text=True, check=False)
    new = subprocess.run([*command, "-tls1_2"], input="", capture_output=True, text=True, check=False)
    assert re.search(r"Verify return code: 0 \(ok\)", new.stdout)
    assert "Cipher is (NONE)" in old.stdout or old.returncode != 0
    assert ssl.OPENSSL_VERSION_INFO >= (1, 1, 1)


def test_24_a_change_of_the_schema_is_audited(host: Host, query: Query) -> None:
    query("CREATE TABLE audit_probe (); DROP TABLE audit_probe", "mltrading")
    assert (
        host.check_output(
            "grep -hc 'AUDIT: .*DROP TABLE.*audit_probe' /var/log/postgresql/*-main/*.log | sort -n | tail -1"
        )
        != "0"
    )
