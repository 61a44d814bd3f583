"""The runner of jobs, as cron starts it: one at a time, bounded, honest about the result."""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from servers import MAJORS, Server, operating_system_user
from standbys import standby_of

DBJOB = Path(__file__).parents[2] / "roles/common/files/dbjob"
USER = (operating_system_user() or pwd.getpwuid(os.getuid())).pw_name
CRON = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "SHELL": "/bin/sh"}
METRIC = re.compile(r'mltrading_job_([a-z_]+)\{job="([a-z_]+)"\} (-?[0-9.]+)')


@dataclass
class Host:
    """A host's folders below a temporary one."""

    root: Path

    def install(self, command: str, name: str = "job", **settings: object) -> None:
        """Write a job's settings."""
        lines = {"DBJOB_COMMAND": command, "DBJOB_USER": USER, "DBJOB_TIME_LIMIT": "60", "DBJOB_GRACE": "1"} | settings
        self.write("".join(f"{key}={shlex.quote(str(value))}\n" for key, value in lines.items()), name)

    def write(self, text: str, name: str = "job") -> None:
        """Write a job's settings as they are."""
        (self.root / f"etc/mltrading-db/{name}.env").write_text(text)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start dbjob in cron's environment."""
        return subprocess.Popen(
            [sys.executable, DBJOB, *(arguments or ("job",))],
            env=CRON | {"DBJOB_ROOT": str(self.root)} | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """Run dbjob; return its exit code and what it said on stdout and stderr."""
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    @property
    def status(self) -> dict[str, Any]:
        """What the last run wrote."""
        return dict(json.loads((self.root / "var/lib/mltrading-db/status/job.json").read_text()))

    @property
    def metrics(self) -> dict[str, float]:
        """What Prometheus would read: every line is a comment or a metric."""
        lines = (self.root / "var/lib/mltrading-db/metrics/job.prom").read_text().splitlines()
        found = [METRIC.fullmatch(line) for line in lines if not line.startswith(("# HELP ", "# TYPE "))]
        return {metric[1]: float(metric[3]) for metric in found if metric}

    @property
    def log(self) -> str:
        """The newest log."""
        return (self.root / "var/log/mltrading-db/job.log").read_text()

    def wait(self, what: Callable[[], bool]) -> None:
        """Wait until something is so."""
        for _ in range(500):
            if what():
                return
            time.sleep(0.02)
        raise AssertionError("waited for ten seconds in vain")

    def wait_until_running(self) -> None:
        """Wait until the job's command has said that it runs."""
        log = self.root / "var/log/mltrading-db/job.log"
        self.wait(lambda: log.exists() and " here " in log.read_text())


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Return a host with nothing but the folders."""
    for folder in ("etc/mltrading-db", "var/log/mltrading-db", *(f"var/lib/mltrading-db/{f}" for f in FOLDERS)):
        (tmp_path / folder).mkdir(parents=True)
    return Host(tmp_path)


FOLDERS = ("lock", "metrics", "status")
# Says that it runs, and goes on for a minute.
LONG = "sh -c 'echo I am here now; exec sleep 60'"


def test_a_job_leaves_its_log_its_status_and_its_metrics(host: Host) -> None:
    host.install("sh -c 'echo one; echo two >&2; printf \"rows: 3\"'")
    before = datetime.now(UTC).replace(microsecond=0)
    assert host.run() == (0, "one\ntwo\nrows: 3\n", "")
    status = host.status
    assert {key: status[key] for key in ("job", "state", "exit_code", "message", "host", "consecutive_failures")} == {
        "job": "job", "state": "ok", "exit_code": 0, "message": "rows: 3", "host": socket.gethostname(),
        "consecutive_failures": 0,
    }  # fmt: skip
    assert before <= datetime.fromisoformat(status["started"]) <= datetime.fromisoformat(status["finished"])
    assert status["last_success"] == status["finished"]
    assert [line.split(" ", 1)[1] for line in host.log.splitlines()][1:4] == ["one", "two", "rows: 3"]
    assert host.metrics == {
        "last_success_timestamp_seconds": datetime.fromisoformat(status["last_success"]).timestamp(),
        "last_run_timestamp_seconds": datetime.fromisoformat(status["started"]).timestamp(),
        "duration_seconds": status["duration_seconds"],
        "exit_code": 0, "running": 0, "not_my_role": 0, "consecutive_failures": 0, "time_limit_seconds": 60,
    }  # fmt: skip


def test_what_others_read_is_theirs_to_read_and_the_log_is_not(host: Host) -> None:
    host.install("true")
    host.run()
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in host.root.glob("var/l*/mltrading-db/**/job.*")}
    assert modes == {"job.log": "0o640", "job.json": "0o640", "job.prom": "0o644"}
    assert list(host.root.rglob("*.partial")) == []


def test_a_group_that_is_named_reads_them(host: Host) -> None:
    host.install("true", DBJOB_GROUP="daemon")
    assert host.run()[0] == 0
    readers = {path.stat().st_gid for path in host.root.glob("var/l*/mltrading-db/*/job.json")}
    # Who is not root cannot give a file to a group that is not his.
    assert readers == {grp.getgrnam("daemon").gr_gid if os.geteuid() == 0 else os.getegid()}


def test_a_group_that_the_host_has_not_is_a_wrong_setting(host: Host) -> None:
    host.install("true", DBJOB_GROUP="nobody_knows_it")
    assert host.run()[0] == 2
    assert "nobody_knows_it" in host.status["message"]


def test_a_failure_keeps_the_command_s_exit_code_and_the_last_success(host: Host) -> None:
    host.install("true")
    host.run()
    success = host.status["last_success"]
    host.install("sh -c 'echo no such table; exit 3'")
    assert host.run()[0] == 3
    code, _, said = host.run()
    assert (code, said) == (3, "dbjob: job: failed: no such table\n")
    assert (host.status["state"], host.status["consecutive_failures"], host.status["last_success"]) == (
        "failed", 2, success,
    )  # fmt: skip
    assert (host.metrics["exit_code"], host.metrics["consecutive_failures"]) == (3, 2)
    host.install("true")
    assert host.run()[0] == 0
    assert host.status["consecutive_failures"] == 0


def test_arguments_go_to_the_command(host: Host) -> None:
    host.install("printf '%s,'", GREETING="it's #1 $HOME")
    assert host.run("job", "a b", "$c")[1] == "a b,$c,\n"
    host.install("printenv GREETING", GREETING="it's #1 $HOME")
    assert host.run()[1] == "it's #1 $HOME\n"


def test_the_command_runs_as_its_user_with_low_priority_and_keeps_files_to_itself(host: Host) -> None:
    host.install("sh -c 'id -un; umask; nice; ionice'")
    lower = str(min(os.nice(0) + 10, 19))
    assert host.run()[1].split() == [USER, "0077", lower, "best-effort:", "prio", "7"]


def test_a_second_run_exits_75_and_says_who_runs(host: Host) -> None:
    host.install(LONG)
    first = host.start()
    host.wait_until_running()
    assert (host.status["state"], host.metrics["running"]) == ("running", 1)
    code, out, said = host.run()
    assert (code, out) == (75, "")
    assert f"process {first.pid} on {socket.gethostname()} since 20" in said
    assert host.status["pid"] == first.pid
    first.terminate()
    assert first.wait(20) == 128 + signal.SIGTERM


def test_of_many_started_at_once_one_runs(host: Host) -> None:
    host.install("sleep 2")
    processes = [host.start() for _ in range(6)]
    assert sorted(process.wait(60) for process in processes) == [0, 75, 75, 75, 75, 75]
    assert host.status["state"] == "ok"


def test_a_run_that_was_killed_is_known_as_such_and_the_next_one_runs(host: Host) -> None:
    host.install("sh -c 'echo I am here now; sleep 4'")
    first = host.start()
    host.wait_until_running()
    first.kill()
    first.wait(20)
    assert host.status["state"] == "running"
    assert re.search(r"job +interrupted +137", host.run("--status")[1])
    # Its command goes on, and holds the lock as long as it does.
    assert host.run()[0] == 75
    host.wait(lambda: host.run()[0] == 0)
    assert (host.status["state"], host.status["consecutive_failures"]) == ("ok", 0)
    assert f"killed: process {first.pid} is gone" in host.log


def test_a_killed_run_counts_as_a_failure(host: Host) -> None:
    host.install(LONG)
    first = host.start()
    host.wait_until_running()
    os.killpg(child_of(first.pid), signal.SIGKILL)
    assert first.wait(20) == 128 + signal.SIGKILL
    assert "ended by SIGKILL" in host.status["message"]
    assert host.status["consecutive_failures"] == 1


def processes(command: str) -> list[int]:
    """The processes that run a command which begins so."""
    found = subprocess.run(["pgrep", "--full", f"^{command}"], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def child_of(pid: int) -> int:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=True)
    return int(found.stdout.split()[0])


def test_the_time_limit_ends_the_command_and_its_children_even_where_they_ignore_it(host: Host) -> None:
    stubborn = "trap : TERM; (trap : TERM; sleep 3333.25; sleep 3333.25) & while :; do sleep 3333.5; done"
    host.install(f"sh -c '{stubborn}'", DBJOB_TIME_LIMIT="1")
    began = time.monotonic()
    code, _, said = host.run()
    assert code == 124
    assert time.monotonic() - began > 1
    assert processes("sleep 3333") == []
    assert "timed_out: not done within 1 s" in said
    assert (host.status["state"], host.metrics["exit_code"]) == ("timed_out", 124)
    left = subprocess.run(["ps", "-eo", "args="], capture_output=True, text=True, check=True).stdout
    assert "sleep 33." not in left


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_an_interrupted_run_ends_its_command_and_says_so(host: Host, number: signal.Signals) -> None:
    host.install("sh -c 'trap \"echo cleaned up; exit 1\" TERM; echo I am here now; while :; do sleep 0.1; done'")
    process = host.start()
    host.wait_until_running()
    process.send_signal(number)
    assert process.wait(20) == 128 + number
    assert host.status["state"] == "interrupted"
    assert host.status["message"] == f"stopped by {number.name}; it last said: cleaned up"


WRONG = [
    pytest.param("DBJOB_COMMAND=true\nDBJOB_TIMELIMIT=5\n", "DBJOB_TIMELIMIT is not a setting", id="an-unknown-one"),
    pytest.param("DBJOB_COMMAND=true\nDBJOB_TIME_LIMIT=1h\n", "DBJOB_TIME_LIMIT is '1h'", id="no-number"),
    pytest.param("DBJOB_COMMAND=true\nDBJOB_TIME_LIMIT=0\n", "from 1 is needed", id="no-time"),
    pytest.param("DBJOB_COMMAND=true\nDBJOB_RUNS_ON=replica\n", "not one of primary, standby, any", id="no-role"),
    pytest.param("DBJOB_COMMAND=true\nDBJOB_USER=nonesuch\n", "nonesuch", id="no-user"),
    pytest.param('DBJOB_COMMAND="it\'s"\n', "No closing quotation", id="a-command-with-an-open-quote"),
    pytest.param("GREETING=hello\n", "DBJOB_COMMAND is missing", id="no-command"),
    pytest.param("DBJOB_COMMAND='true\n", "cannot be read: No closing quotation", id="an-open-quote"),
    pytest.param("DBJOB_COMMAND=sleep 5\n", "'5' is not NAME=value", id="a-space-without-quotes"),
]


@pytest.mark.parametrize(("text", "reason"), WRONG)
def test_wrong_settings_are_refused_with_the_reason_and_are_seen(host: Host, text: str, reason: str) -> None:
    host.write(f"DBJOB_USER={USER}\n{text}")
    code, out, said = host.run()
    assert (code, out) == (2, "")
    assert reason in said
    assert (host.status["state"], host.metrics["exit_code"]) == ("failed", 2)


@pytest.mark.parametrize("arguments", [("nonesuch",), ("../etc/passwd",), ("Job",), ("--help",)])
def test_a_job_that_is_not_installed_leaves_nothing(host: Host, arguments: tuple[str, ...]) -> None:
    assert host.run(*arguments)[0] == 2
    assert [path for path in (host.root / "var").rglob("*") if path.is_file()] == []


COMMANDS = [
    pytest.param("/nonesuch/command", 127, id="missing"),
    pytest.param("/etc/passwd", 126, id="not-executable"),
    pytest.param("sh -c 'kill -SEGV $$'", 139, id="ended-by-a-signal"),
    pytest.param("sh -c 'exit 75'", 75, id="somebody-else-is-at-it"),
]


@pytest.mark.parametrize(("command", "code"), COMMANDS)
def test_a_command_that_cannot_run_or_dies_is_a_failure_with_its_code(host: Host, command: str, code: int) -> None:
    host.install(command)
    assert host.run()[0] == code
    assert (host.status["state"], host.status["exit_code"]) == ("failed", code)
    assert host.status["message"]


def test_the_environment_is_the_same_from_cron_and_from_a_login_shell(host: Host) -> None:
    host.install("sh -c 'env | grep -v ^PWD= | sort'", GREETING="hello")
    login = {"PGHOST": "elsewhere", "PGPASSWORD": "x", "LANG": "de_DE.UTF-8", "HOME": "/root", "PYTHONPATH": "/root"}
    from_cron, from_login = host.run()[1], host.run(**login)[1]
    assert from_cron == from_login
    home = pwd.getpwnam(USER).pw_dir
    assert from_cron.splitlines() == [
        "DBJOB_CLOCK_STEP=0", "DBJOB_NAME=job",
        "GREETING=hello", f"HOME={home}", "LANG=C.UTF-8", f"LOGNAME={USER}", f"PATH={CRON['PATH']}",
        "SHELL=/bin/sh", "TZ=UTC", f"USER={USER}",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def pair(servers: Callable[[int], Server]) -> Iterator[dict[str, Server]]:
    """Return a primary and its standby."""
    primary = servers(MAJORS[0])
    with standby_of(primary) as standby:
        yield {"primary": primary, "standby": standby}


def at(server: Server) -> dict[str, str]:
    """The settings of a job that asks this server."""
    path = f"{server.bin}:{CRON['PATH']}"
    return {"PGHOST": str(server.home), "PGPORT": str(server.port), "PGUSER": "postgres", "PATH": path}


@pytest.mark.parametrize("node", ["primary", "standby"])
@pytest.mark.parametrize("runs_on", ["primary", "standby", "any"])
def test_a_job_runs_on_the_node_that_has_its_role_now(
    host: Host, pair: dict[str, Server], node: str, runs_on: str
) -> None:
    host.install("echo done", DBJOB_RUNS_ON=runs_on, **at(pair[node]))
    code, out, said = host.run()
    assert (code, said) == (0, "")
    mine = runs_on in (node, "any")
    assert out == ("done\n" if mine else f"dbjob: job: not my role: the {node} is here, the job is the {runs_on}'s\n")
    assert host.status["state"] == ("ok" if mine else "not_my_role")
    assert (host.status["last_success"] is not None) == mine
    assert host.metrics["not_my_role"] == int(not mine)


def test_a_primary_that_no_standby_follows_does_the_standby_s_job(host: Host, servers: Callable[[int], Server]) -> None:
    host.install("echo done", DBJOB_RUNS_ON="standby", **at(servers(MAJORS[-1])))
    assert host.run()[:2] == (0, "done\n")
    assert host.status["state"] == "ok"
    assert host.status["message"] == "done on the primary, as no standby is there: done"
    assert host.metrics["not_my_role"] == 0


def test_a_server_that_does_not_answer_is_a_failure(host: Host, pair: dict[str, Server]) -> None:
    host.install("echo done", DBJOB_RUNS_ON="primary", **at(pair["primary"]) | {"PGPORT": "1"})
    code, out, said = host.run()
    assert (code, out) == (69, "")
    assert "does not say whether it is the primary" in said
    host.install("echo done", DBJOB_RUNS_ON="primary", **at(pair["primary"]) | {"PATH": "/nonexistent"})
    assert host.run()[0] == 69


def test_a_success_in_the_future_is_not_believed(host: Host) -> None:
    host.install("true")
    host.run()
    path = host.root / "var/lib/mltrading-db/status/job.json"
    future = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    path.write_text(json.dumps(host.status | {"last_success": future, "started": future, "finished": future}))
    host.install("false")
    assert host.run()[0] == 1
    assert datetime.fromisoformat(host.status["last_success"]) <= datetime.now(UTC)
    assert host.metrics["last_success_timestamp_seconds"] <= time.time()


def set_clock(host: Host, seconds: float) -> None:
    """Have the clock set since the last run: to dbjob it is as if the host had been booted at another time."""
    path = host.root / "var/lib/mltrading-db/status/job.json"
    status = host.status
    status["clock"]["booted"] -= seconds
    path.write_text(json.dumps(status))


def test_a_job_is_told_of_a_clock_that_was_set_until_it_does_well(host: Host) -> None:
    host.install("sh -c 'echo $DBJOB_CLOCK_STEP; exit ${CODE}'", CODE=0)
    assert host.run()[1] == "0\n"
    set_clock(host, 2 * 86400)
    host.install("sh -c 'echo $DBJOB_CLOCK_STEP; exit ${CODE}'", CODE=1)
    # It has refused: the next run, by the same clock, is told again.
    assert [host.run()[1] for _ in range(2)] == ["172800\n"] * 2
    host.install("sh -c 'echo $DBJOB_CLOCK_STEP; exit ${CODE}'", CODE=0)
    assert [host.run()[1] for _ in range(2)] == ["172800\n", "0\n"]


def test_after_a_boot_nothing_is_known_of_the_clock(host: Host) -> None:
    host.install("sh -c 'echo $DBJOB_CLOCK_STEP'")
    host.run()
    set_clock(host, 2 * 86400)
    path = host.root / "var/lib/mltrading-db/status/job.json"
    path.write_text(json.dumps(host.status | {"clock": host.status["clock"] | {"boot": "another one"}}))
    assert host.run()[1] == "0\n"


def test_a_dry_run_is_no_success_and_leaves_neither_status_nor_metrics(host: Host) -> None:
    host.install("sh -c 'echo $0; id -un'")
    code, out, _ = host.run("job", "--dry-run")
    assert (code, out) == (0, f"--dry-run\n{USER}\n")
    assert [path.name for path in (host.root / "var/lib").rglob("*") if path.is_file()] == ["job"]
    assert "dbjob: ok, exit code 0" in host.log
    host.install("false")
    host.run()
    before = (host.status, host.metrics)
    host.install("true")
    assert host.run("job", "--dry-run")[0] == 0
    assert (host.status, host.metrics) == before


def test_a_dry_run_waits_for_nobody_who_runs(host: Host) -> None:
    host.install(LONG)
    first = host.start()
    host.wait_until_running()
    assert host.run("job", "--dry-run")[0] == 75
    first.terminate()
    first.wait(20)


LATE = """
import importlib.machinery, importlib.util, os, signal, sys
sys.path.insert(0, os.path.dirname(sys.argv[1]))
loader = importlib.machinery.SourceFileLoader("dbjob", sys.argv.pop(1))
dbjob = importlib.util.module_from_spec(importlib.util.spec_from_loader("dbjob", loader))
sys.modules["dbjob"] = dbjob
loader.exec_module(dbjob)
finish = dbjob.Record.finish
def late(record, outcome):
    os.kill(os.getpid(), signal.SIGTERM)
    finish(record, outcome)
dbjob.Record.finish = late
sys.exit(dbjob.main(sys.argv[1:]))
"""


def test_a_signal_that_comes_when_the_job_is_over_loses_nothing(host: Host) -> None:
    host.install("echo done")
    done = subprocess.run(
        [sys.executable, "-c", LATE, DBJOB, "job"], env=CRON | {"DBJOB_ROOT": str(host.root)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr, host.status["state"]) == (0, "", "ok")


def test_who_reads_may_go_away(host: Host) -> None:
    host.install("seq 20000")
    process = host.start()
    assert process.stdout
    process.stdout.close()
    assert process.wait(60) == 0
    assert host.status["state"] == "ok"


def test_the_status_is_of_jobs_alone(host: Host) -> None:
    host.install("true", "one")
    host.install("true", "two")
    host.write("STANDBY_SLOT=db2\n", "standby")
    host.run("two")
    lines = host.run("--status")[1].splitlines()[1:]
    assert [line.split()[:2] for line in lines] == [["one", "never"], ["two", "ok"]]


def test_after_a_promotion_the_job_runs_where_the_primary_is_now(host: Host, servers: Callable[[int], Server]) -> None:
    with standby_of(servers(MAJORS[0])) as standby:
        host.install("echo done", DBJOB_RUNS_ON="primary", **at(standby))
        assert (host.run()[0], host.status["state"]) == (0, "not_my_role")
        standby.run("pg_ctl", "promote", "-w", "-D", str(standby.data))
        assert (host.run()[0], host.status["state"]) == (0, "ok")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"state": "running", "pid": "x"}', '{"last_success": 5}', "\0"])
def test_a_damaged_status_is_replaced(host: Host, text: str) -> None:
    host.install("true")
    (host.root / "var/lib/mltrading-db/status/job.json").write_text(text)
    assert host.run("--status")[0] == 0
    assert host.run()[0] == 0
    assert (host.status["state"], host.status["consecutive_failures"]) == ("ok", 0)


def test_the_log_is_bounded_within_one_run_and_over_many(host: Host) -> None:
    host.install("seq 20000")
    for _ in range(3):
        assert host.run("job", DBJOB_LOG_BYTES="20000")[0] == 0
    files = sorted((host.root / "var/log/mltrading-db").iterdir())
    assert [path.name for path in files] == ["job.log", *(f"job.log.{n}" for n in range(1, 5))]
    assert max(path.stat().st_size for path in files) < 21_000
    assert host.log.splitlines()[-1].endswith("dbjob: ok, exit code 0: 20000")


def test_a_daemon_that_the_command_leaves_behind_does_not_hold_it_up(host: Host) -> None:
    host.install("sh -c 'setsid sleep 2020.25 & echo started'")
    assert host.run()[0] == 0
    (daemon,) = processes("sleep 2020.25")
    os.kill(daemon, signal.SIGTERM)


def test_any_output_is_logged(host: Host) -> None:
    host.install("sh -c \"printf 'a\\\\377b\\\\nlast'; head -c 200000 /dev/zero | tr '\\\\0' x\"")
    code, out, _ = host.run()
    assert code == 0
    assert out.startswith("a�b\nlastxxx")
    assert len(out.replace("\n", "")) == 200_007
    assert len(host.status["message"]) == 500
