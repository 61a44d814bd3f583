"""A setting with which a server does not start is refused beforehand, or put back: asked of real servers."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from ansible.module_utils.pg_settings import dropins, service, trial
from ansible.module_utils.pg_settings.cluster import Cluster, SettingsError
from ansible.module_utils.pg_settings.service import Service
from servers import Server, running

# systemd's part, as pg_ctl plays it. What a server says before it has its log goes where Debian has it too.
SYSTEMCTL = """#!/bin/sh
cd /
exec {drop} {bin}/pg_ctl -D {data} -l {home}/log -w -t 30 -o "-k {home} -p {port}" "$1" > /dev/null 2>&1
"""


@pytest.fixture(scope="module", params=[15, 17, 18])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that reads drop-ins, as Debian's does."""
    with running(request.param, folder="settings") as server:
        with (server.data / "postgresql.conf").open("a") as file:
            file.write("include_dir = 'conf.d'\n")
        (server.data / "conf.d").mkdir()
        write(server, server.data / "conf.d/10-postgresql.conf", "shared_buffers = '16MB'\nlisten_addresses = ''\n")
        server.options = {}
        server.run("pg_ctl", "stop", "-m", "fast", "-D", str(server.data))
        start = server.home / "bin"
        start.mkdir(mode=0o755)
        who = server.user
        drop = f"setpriv --reuid={who.pw_uid} --regid={who.pw_gid} --clear-groups" if who else ""
        script = start / "systemctl"
        script.write_text(
            SYSTEMCTL.format(drop=drop, bin=server.bin, data=server.data, home=server.home, port=server.port)
        )
        script.chmod(0o755)
        yield server


@pytest.fixture
def cluster(server: Server, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The cluster as the modules see it, which runs with one drop-in that is good."""
    monkeypatch.setenv("PATH", f"{server.home}/bin:{os.environ['PATH']}")
    for path in (server.data / "conf.d").iterdir():
        if path.name != "10-postgresql.conf":
            path.unlink()
    (server.data / "postgresql.auto.conf").write_text("")
    write(server, server.data / "conf.d/10-postgresql.conf", "shared_buffers = '16MB'\nlisten_addresses = ''\n")
    cluster = Cluster(
        server.bin, server.data, server.data / "postgresql.conf", server.user.pw_name if server.user else None
    )
    if not cluster.answers:
        Service(cluster, "postgresql@test", (server.home / "log",), 30).systemctl("start")
    assert cluster.answers
    return cluster


@pytest.fixture
def unit(server: Server, cluster: Cluster) -> Service:
    """The server as systemd runs it."""
    return Service(cluster, "postgresql@test", (server.home / "log",), 30)


def write(server: Server, path: Path, text: str) -> None:
    """Write a file of the server's user."""
    path.write_text(text)
    for place in (path, path.parent):
        if server.user:
            os.chown(place, server.user.pw_uid, server.user.pw_gid)


def shown(server: Server, name: str) -> str:
    """What the server runs with."""
    with closing(server.connect("postgres")) as connection, connection.cursor() as cursor:
        cursor.execute(f"SHOW {name}")
        return str(cursor.fetchone()[0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("work_mem = '5MB'\n", "", id="a good one"),
        pytest.param("huge_pages = 'on'\n", "huge pages|anonymous shared memory", id="no huge pages"),
        pytest.param("shared_buffers = '900GB'\n", "shared memory", id="more than the memory"),
        pytest.param(
            "wal_level = 'minimal'\n", "WAL streaming .* requires .*wal_level", id="minimal WAL with walsenders"
        ),
        pytest.param(
            "wal_level = 'minimal'\nmax_wal_senders = 0\narchive_mode = 'on'\n",
            "WAL archival cannot be enabled",
            id="minimal WAL with an archive",
        ),
        pytest.param("shared_preload_libraries = 'pg_nothing'\n", "pg_nothing", id="a library that is not there"),
        pytest.param(
            "wrok_mem = '5MB'\n", '"wrok_mem" in file ".*/data/conf.d/40-x.conf" line 1', id="a mistyped name"
        ),
        pytest.param("work_mem = 'plenty'\n", 'invalid value for parameter "work_mem"', id="a wrong value"),
        pytest.param("work_mem = '5MB\n", "syntax error", id="no end of a string"),
        pytest.param("plpgsql.check_asserst = 'on'\n", "", id="a name of a library that is not loaded"),
        pytest.param(
            "shared_preload_libraries = 'plpgsql'\nplpgsql.check_asserst = 'on'\n",
            '"plpgsql.check_asserst": no library that it loads knows',
            id="a mistyped name of a library",
        ),
        pytest.param("listen_addresses = '203.0.113.7'\n", "none of listen_addresses is the host's", id="an address"),
        pytest.param(
            "ssl = 'on'\nssl_cert_file = '/nowhere.crt'\n",
            "/nowhere.crt|SSL is not supported",
            id="a certificate that is not there",
        ),
        pytest.param("min_wal_size = '17MB'\n", "min_wal_size", id="less WAL than two segments"),
        pytest.param("archive_command = 'touch ../archived'\narchive_mode = 'on'\n", "", id="an archive"),
        pytest.param("log_min_messages = 'panic'\nhuge_pages = 'on'\n", "huge pages|shared memory", id="a silent log"),
    ],
)
def test_the_server_itself_judges_a_drop_in(cluster: Cluster, text: str, said: str) -> None:
    problem = trial.problem(cluster, {cluster.config / "conf.d/40-x.conf": text})
    assert re.search(said, problem) if said else problem == ""
    assert ".trial" not in problem
    assert cluster.answers
    assert not list(cluster.data.parent.glob(".trial*"))
    assert not list(cluster.data.parent.rglob("archived"))


def test_alter_system_is_judged_with_the_files(server: Server, cluster: Cluster) -> None:
    with closing(server.connect("postgres")) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER SYSTEM SET huge_pages = 'on'")
    assert "huge pages" in trial.problem(cluster, {}) or "shared memory" in trial.problem(cluster, {})


def test_a_server_that_would_not_start_is_not_stopped(server: Server, cluster: Cluster, unit: Service) -> None:
    since = cluster.pidfile()
    write(server, cluster.config / "conf.d/40-hand.conf", "huge_pages = 'on'\n")
    with pytest.raises(SettingsError, match="not restarted, as it would not start"):
        service.restart(unit)
    assert cluster.pidfile() == since


def test_a_server_that_does_not_come_back_runs_again_with_what_it_had(
    server: Server, cluster: Cluster, unit: Service
) -> None:
    path = cluster.config / "conf.d/10-postgresql.conf"
    good = dropins.content(path)
    dropins.write(cluster, path, good + "work_mem = '7MB'\n")
    dropins.write(
        cluster, path, good + "work_mem = '7MB'\nhuge_pages = 'on'\nshared_preload_libraries = 'pg_nothing'\n"
    )
    with pytest.raises(SettingsError, match=r"It said: FATAL:.*pg_nothing") as failed:
        service.bring_up(unit, "restart", cluster.started)
    assert f"{path} was put back, and it runs with that" in str(failed.value)
    assert dropins.content(path) == good
    assert shown(server, "work_mem") == "4MB"


def test_where_no_file_was_changed_none_is_put_back(server: Server, cluster: Cluster, unit: Service) -> None:
    write(server, cluster.config / "conf.d/40-hand.conf", "shared_preload_libraries = 'pg_nothing'\n")
    with pytest.raises(SettingsError, match=r"no file was changed since .*FATAL:.*pg_nothing"):
        service.bring_up(unit, "restart", cluster.started)
    assert not cluster.answers


def test_a_restart_takes_up_what_is_good_and_keeps_it(server: Server, cluster: Cluster, unit: Service) -> None:
    path = cluster.config / "conf.d/10-postgresql.conf"
    dropins.write(cluster, path, "listen_addresses = ''\nshared_buffers = '17MB'\n")
    service.restart(unit)
    assert shown(server, "shared_buffers") == "17MB"
    assert service.put_back(unit, write=True) == []
    assert shown(server, "shared_buffers") == "17MB"


def test_a_server_goes_on_with_what_it_was_started_with(cluster: Cluster, unit: Service) -> None:
    path = cluster.config / "conf.d/10-postgresql.conf"
    good = dropins.content(path)
    new = cluster.config / "conf.d/30-new.conf"
    dropins.write(cluster, path, "shared_buffers = '19MB'\n")
    dropins.write(cluster, new, "work_mem = '8MB'\n")
    assert service.put_back(unit, write=False) == [path, new]
    assert service.put_back(unit, write=True) == [path, new]
    assert (dropins.content(path), dropins.content(new)) == (good, "")
    assert service.put_back(unit, write=True) == []


def test_a_server_that_recovers_is_waited_for_and_not_touched(cluster: Cluster, unit: Service) -> None:
    lines = cluster.pidfile()
    (cluster.data / "postmaster.pid").write_text("\n".join([*lines[:7], "starting"]) + "\n")
    try:
        with pytest.raises(SettingsError, match="lets nobody in after 1 s"):
            replace(unit, patience=1).wait(None)
    finally:
        (cluster.data / "postmaster.pid").write_text("\n".join(lines) + "\n")
