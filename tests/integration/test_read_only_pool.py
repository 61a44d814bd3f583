"""Debian's pgBouncer with the role's own settings before two standbys, over TLS that is verified by name.

`PGBOUNCER=/path/to/pgbouncer` has another version tried than that of the controller's Debian release.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib.util
import ipaddress
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg2
import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from servers import Server, running

PROJECT = Path(__file__).parents[2]
ROLE = PROJECT / "roles/pgbouncer"
UNPACKED = PROJECT / ".cache/pgbouncer"
STANDBYS = ["127.0.0.2", "127.0.0.3"]
PORT = 6435
# A quote, which userlist.txt doubles.
LOOKS_UP = 'looks "passwords" up\\in the server'
READS = "of-a-client-of-the-pool"


def filter_module(name: str) -> ModuleType:
    """A file of the project's filters."""
    spec = importlib.util.spec_from_file_location(name, PROJECT / f"plugins/filter/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Standbys have one verifier of a password, their primary's: the pooler logs in with what a client proved.
VERIFIERS = {
    role: filter_module("scram").scram_verifier(secret)
    for role, secret in (("pgbouncer_auth", LOOKS_UP), ("reader_of_rows", READS))
}


class Authority:
    """An authority, and the certificates that it signs into folders."""

    def __init__(self) -> None:
        """Make its key and its certificate."""
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of the tests")])
        self.certificate = self._signed(self.name, self.key, x509.BasicConstraints(ca=True, path_length=0))

    def _signed(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *extensions: Any) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=1))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, folder: Path, names: list[str], *, owner: Any) -> None:
        """Leave server.key, server.crt and ca.crt in a folder, with the names given as an inventory gives them."""
        folder.mkdir()
        key = ec.generate_private_key(ec.SECP256R1())
        parts = [name.partition(":") for name in names]
        alternative = x509.SubjectAlternativeName(
            [
                x509.IPAddress(ipaddress.ip_address(value)) if kind == "IP" else x509.DNSName(value)
                for kind, _, value in parts
            ]
        )
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a server of the tests")])
        pem = serialization.Encoding.PEM
        (folder / "server.crt").write_bytes(self._signed(subject, key, alternative).public_bytes(pem))
        (folder / "ca.crt").write_bytes(self.certificate.public_bytes(pem))
        form = serialization.PrivateFormat.PKCS8
        (folder / "server.key").write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()))
        (folder / "server.key").chmod(0o600)
        for path in (folder, *folder.iterdir()):
            if owner is not None:
                os.chown(path, owner.pw_uid, owner.pw_gid)


def role_value(name: str, **given: Any) -> Any:
    """A variable of the role, worked out with what an inventory gives."""
    init_plugin_loader()
    loader = DataLoader()
    loader.set_basedir(str(PROJECT))
    variables: dict[str, Any] = {"role_path": str(ROLE), "inventory_hostname": "pool1", "ansible_managed": "managed"}
    for part in ("defaults", "vars"):
        variables |= loader.load_from_file(str(ROLE / part / "main.yml"), trusted_as_template=True)
    return Templar(loader=loader, variables=variables | given).template(variables[name])


@dataclass
class Pool:
    """Two servers, and the pooler before them."""

    servers: dict[str, Server]
    folder: Path
    log: Path

    def answers(self, count: int = 12) -> Counter[str]:
        """Which server answered how many of so many clients that are there at once."""
        with contextlib.ExitStack() as stack:
            login = {"password": READS, "sslmode": "verify-full", "sslrootcert": str(self.folder / "tls/ca.crt")}
            found: Counter[str] = Counter()
            for _ in range(count):
                connection = psycopg2.connect(
                    host="127.0.0.1", port=PORT, dbname="trading_ro", user="reader_of_rows", **login
                )
                stack.callback(connection.close)
                with connection.cursor() as cursor:
                    cursor.execute("SELECT host(inet_server_addr())")
                    found[cursor.fetchone()[0]] += 1
            return found


@contextlib.contextmanager
def standby(authority: Authority, address: str, names: list[str]) -> Iterator[Server]:
    """A server at an address of its own, with the pooler's function and a client's role."""
    template = (ROLE / "templates/get_auth.sql.j2").read_text()
    body = (ROLE / "files/get_auth_body.sql").read_text()
    function = (
        template.replace("{{ item.item.name }}", "trading")
        .replace("{{ lookup('ansible.builtin.file', 'get_auth_body.sql', rstrip=false) }}", body)
    )  # fmt: skip
    ciphers = DataLoader().load_from_file(str(PROJECT / "roles/postgresql/vars/main.yml"))
    with running(15, folder="pool", listen_addresses=address) as server:
        authority.issue(server.home / "tls", names, owner=server.user)
        tls = {"ssl_cert_file": "server.crt", "ssl_key_file": "server.key", "ssl_ca_file": "ca.crt"}
        with contextlib.closing(server.connect("postgres")) as connection, connection.cursor() as cursor:
            for name, file in tls.items():
                cursor.execute(f"ALTER SYSTEM SET {name} = '{server.home}/tls/{file}'")
            cursor.execute(
                "ALTER SYSTEM SET ssl_ciphers = %s", (ciphers["__postgresql_derived_settings"]["ssl_ciphers"],)
            )
            cursor.execute("ALTER SYSTEM SET ssl = on")
            cursor.execute("CREATE DATABASE trading")
            for role, verifier in VERIFIERS.items():
                cursor.execute(f"CREATE ROLE {role} LOGIN PASSWORD %s", (verifier,))
        with contextlib.closing(server.connect("trading")) as connection, connection.cursor() as cursor:
            cursor.execute(function)
        (server.data / "pg_hba.conf").write_text("local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n")
        server.run("pg_ctl", "reload", "-D", str(server.data))
        yield server


@contextlib.contextmanager
def pooler(authority: Authority, servers: dict[str, Server], **settings: Any) -> Iterator[Pool]:
    """PgBouncer as the role sets it up, in a folder of its own."""
    owner = next(iter(servers.values())).user
    with tempfile.TemporaryDirectory(prefix="pool-", dir="/tmp") as name:
        folder = Path(name)
        authority.issue(folder / "tls", ["DNS:localhost", "IP:127.0.0.1"], owner=owner)
        database = {"name": "trading", "host": STANDBYS[0], "port": next(iter(servers.values())).port}
        given = {
            "__pgbouncer_config_dir": name,
            "__pgbouncer_run_dir": name,
            "__pgbouncer_tls_dir": str(folder / "tls"),
            "pgbouncer_listen_port": PORT,
            "pgbouncer_auth_password": LOOKS_UP,
            "pgbouncer_databases": [database | {"read_only_hosts": list(reversed(STANDBYS))}],
            "pgbouncer_settings": {"logfile": f"{name}/log"} | settings,
        }
        (folder / "pgbouncer.ini").write_text(role_value("__pgbouncer_ini", **given))
        (folder / "userlist.txt").write_text(role_value("__pgbouncer_userlist", **given))
        command, environment = [os.environ.get("PGBOUNCER", "")], {}
        if not command[0]:
            shutil.copytree(UNPACKED / "usr", folder / "usr", symlinks=True)
            command = [str(folder / "usr/sbin/pgbouncer")]
            (library,) = UNPACKED.glob("usr/lib/*-linux-*")
            environment = {"LD_LIBRARY_PATH": str(folder / library.relative_to(UNPACKED))}
        who: dict[str, Any] = {}
        if owner is not None:
            who = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
            for path in (folder, *folder.glob("*")):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        with subprocess.Popen([*command, "-q", str(folder / "pgbouncer.ini")], env=environment, **who) as process:
            try:
                while not (folder / f".s.PGSQL.{PORT}").exists():
                    assert process.poll() is None, (folder / "log").read_text()
                    time.sleep(0.05)
                yield Pool(servers, folder, folder / "log")
            finally:
                process.terminate()


@pytest.fixture(scope="module")
def authority() -> Authority:
    """The authority of the servers and of the pooler."""
    return Authority()


@pytest.fixture(scope="module")
def servers(authority: Authority) -> Iterator[dict[str, Server]]:
    """Two standbys of three servers, whose certificates carry what the role's variable says."""
    pool_names = filter_module("pools").pool_names
    known = ["127.0.0.1", *STANDBYS]
    with contextlib.ExitStack() as stack:
        yield {
            address: stack.enter_context(
                standby(authority, address, [f"IP:{address}", *(f"DNS:{name}" for name in pool_names(known, address))])
            )
            for address in STANDBYS
        }


@pytest.fixture
def pool(authority: Authority, servers: dict[str, Server]) -> Iterator[Pool]:
    """The pooler before the standbys."""
    with pooler(authority, servers) as found:
        yield found


def test_reads_are_spread_over_the_standbys(pool: Pool) -> None:
    assert pool.answers(12) == dict.fromkeys(STANDBYS, 6)


def test_a_dead_standby_costs_a_retry_and_no_client(pool: Pool, servers: dict[str, Server]) -> None:
    dead, lives = STANDBYS
    servers[dead].stop()
    try:
        assert pool.answers(8) == {lives: 8}
    finally:
        servers[dead].start()
    assert set(pool.answers(8)) == set(STANDBYS)


def test_a_standby_that_accepts_and_says_nothing_is_given_up(pool: Pool, servers: dict[str, Server]) -> None:
    frozen, lives = STANDBYS
    process = int((servers[frozen].data / "postmaster.pid").read_text().split()[0])
    os.kill(process, signal.SIGSTOP)
    try:
        assert pool.answers(3) == {lives: 3}
        assert "connect timeout" in pool.log.read_text()
    finally:
        os.kill(process, signal.SIGCONT)


def test_a_server_whose_certificate_names_neither_itself_nor_the_pool_is_refused(
    authority: Authority, pool: Pool, servers: dict[str, Server]
) -> None:
    false, right = STANDBYS
    home = servers[false].home
    (home / "tls").rename(home / "tls.right")
    authority.issue(home / "tls", ["DNS:localhost", "DNS:db9"], owner=servers[false].user)
    servers[false].run("pg_ctl", "reload", "-D", str(servers[false].data))
    try:
        assert pool.answers(8) == {right: 8}
        assert "not present in server certificate" in pool.log.read_text()
    finally:
        shutil.rmtree(home / "tls")
        (home / "tls.right").rename(home / "tls")
        servers[false].run("pg_ctl", "reload", "-D", str(servers[false].data))


@pytest.mark.usefixtures("pool")
@pytest.mark.parametrize("option", ["geqo=off", "search_path=nowhere", "statement_timeout=5"])
def test_a_startup_parameter_is_refused_by_name(option: str) -> None:
    with pytest.raises(psycopg2.OperationalError, match="unsupported startup parameter"):
        psycopg2.connect(
            host="127.0.0.1", port=PORT, dbname="trading_ro", user="reader_of_rows", password=READS,
            sslmode="require", options=f"-c {option}",
        )  # fmt: skip


def handshake(address: str, port: int, ciphers: str, version: ssl.TLSVersion) -> str:
    """The suite that a server agrees to, after PostgreSQL's request for TLS; raises ssl.SSLError where it refuses."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    context.set_ciphers(ciphers)
    with socket.create_connection((address, port), timeout=30) as plain:
        plain.sendall(struct.pack("!II", 8, 80877103))
        assert plain.recv(1) == b"S"
        with context.wrap_socket(plain) as secured:
            cipher = secured.cipher()
            assert cipher is not None
            return cipher[0]


@pytest.fixture(params=["server", "pooler"])
def listener(request: pytest.FixtureRequest, pool: Pool) -> tuple[str, int]:
    """Where TLS is offered."""
    server = pool.servers[STANDBYS[0]]
    return (STANDBYS[0], server.port) if request.param == "server" else ("127.0.0.1", PORT)


@pytest.mark.parametrize(
    "ciphers",
    [
        pytest.param("ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384@SECLEVEL=0", id="CBC"),
        pytest.param("ECDHE-ECDSA-AES256-CCM:ECDHE-ECDSA-AES128-CCM8@SECLEVEL=0", id="CCM"),
        pytest.param("ECDHE-ARIA128-GCM-SHA256:ECDHE-ECDSA-CAMELLIA128-SHA256@SECLEVEL=0", id="others"),
    ],
)
def test_suites_of_other_kinds_are_refused(listener: tuple[str, int], ciphers: str) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        handshake(*listener, ciphers, ssl.TLSVersion.TLSv1_2)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda one: one.name)
def test_a_client_gets_a_suite_with_authenticated_encryption(
    listener: tuple[str, int], version: ssl.TLSVersion
) -> None:
    suite = handshake(*listener, "ALL:@SECLEVEL=0", version)
    assert "GCM" in suite or "CHACHA20" in suite
