"""Start the real server on the real files, beside the one that runs: no parser knows what it refuses at its start."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from ansible.module_utils.pg_settings import memory
from ansible.module_utils.pg_settings.cluster import Cluster, SettingsError, environment, reason

# Seconds that a trial may take to start, which recovers nothing.
PATIENCE = 60
# What of the files would reach beyond the trial: its own sockets and log, nobody from outside, no WAL to the archive.
ALONE = {
    "listen_addresses": "",
    "external_pid_file": "",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_line_prefix": "",
    "log_min_messages": "warning",
    "lc_messages": "C",
    "archive_command": "",
    "archive_library": "",
    "cluster_name": "trial",
    "fsync": "off",
}
# No shared memory to speak of, where the memory was judged by itself.
SMALL = {"huge_pages": "off", "shared_buffers": "1MB"}
UNKNOWN_NAME = re.compile(r'invalid configuration parameter name "[^"]*"')
NO_MEMORY = ("could not map anonymous shared memory", "could not create shared memory segment")


def problem(cluster: Cluster, replaced: Mapping[Path, str], *, start: bool = True) -> str:
    """Return why the server would not start with its files, some of them replaced, as itself says; "" where it would.

    `replaced` has the content by the path. The trial has a data directory of its own and the cluster's other files.
    Without `start` the files are parsed, and what they name need not be there.
    """
    with folder(cluster) as scratch:
        copied = copy_files(cluster, scratch, replaced)
        try:
            if not start:
                copied.value("port")
                return ""
            segment = segment_size(cluster)
            done = copied.run(
                "initdb",
                "-D",
                str(copied.data),
                "-U",
                "postgres",
                "-A",
                "peer",
                "--no-sync",
                f"--wal-segsize={segment}",
            )
            if done.returncode:
                raise SettingsError(f"initdb for a trial of the settings failed: {done.stderr.strip()}")
            automatic = cluster.data / "postgresql.auto.conf"
            if automatic.is_file():
                hand_over(copied, copied.data / "postgresql.auto.conf", automatic.read_text(encoding="utf-8"))
            said = no_address(copied) or started(copied, scratch, {}) or memory_problem(copied, cluster)
            if any(words in said for words in NO_MEMORY):
                short = memory_problem(copied, cluster)
                said = f"{said} ({short})" if short else started(copied, scratch, SMALL)
        except SettingsError as error:
            said = str(error)
        return said.replace(str(copied.config), str(cluster.config)).replace(str(copied.data), str(cluster.data))


@contextlib.contextmanager
def folder(cluster: Cluster) -> Iterator[Path]:
    """Make a folder beside the data, of the server's user alone, and remove it."""
    above = cluster.data.parent if cluster.data.parent.is_dir() else Path(tempfile.gettempdir())
    path = Path(tempfile.mkdtemp(prefix=".trial.", dir=above))
    try:
        own(cluster, path)
        yield path
    finally:
        shutil.rmtree(path)


def own(cluster: Cluster, path: Path) -> None:
    """Give a file to the server's user."""
    identity = cluster.identity
    if identity:
        os.chown(path, identity["user"], identity["group"])


def hand_over(cluster: Cluster, path: Path, content: str) -> None:
    """Write a file of the server's user."""
    path.write_text(content, encoding="utf-8")
    path.chmod(0o600)
    own(cluster, path)


def copy_files(cluster: Cluster, scratch: Path, replaced: Mapping[Path, str]) -> Cluster:
    """Copy the configuration, with what is replaced; return the cluster that is made of it."""
    target = scratch / "config"
    sources = {path: path.read_text(encoding="utf-8") for path in configuration(cluster.config)}
    sources[cluster.config_file] = cluster.config_file.read_text(encoding="utf-8")
    for directory in (target, target / "conf.d"):
        directory.mkdir(mode=0o700)
        own(cluster, directory)
    for path, content in {**sources, **replaced}.items():
        hand_over(cluster, target / path.relative_to(cluster.config), content)
    return Cluster(cluster.binaries, scratch / "data", target / cluster.config_file.name, cluster.user)


def configuration(config: Path) -> list[Path]:
    """Return the files of a folder that a server may read its settings and rules from."""
    return sorted([*config.glob("*.conf"), *(config / "conf.d").glob("*.conf")])


def segment_size(cluster: Cluster) -> int:
    """Return the size of the cluster's WAL segments in MB: min_wal_size is compared with it."""
    done = cluster.run("pg_controldata", "-D", str(cluster.data))
    found = re.search(r"^Bytes per WAL segment: +(\d+)", done.stdout, re.MULTILINE)
    return int(found[1]) // memory.MB if found else 16


def options(copied: Cluster, scratch: Path, more: Mapping[str, str]) -> list[str]:
    """Return the options of a trial, which win over the files."""
    alone = {**ALONE, **more, "data_directory": str(copied.data), "unix_socket_directories": str(scratch)}
    return [word for name, value in alone.items() for word in ("-c", f"{name}={value}")]


def started(copied: Cluster, scratch: Path, more: Mapping[str, str]) -> str:
    """Start it, stop it, and return why it did not start or what it did not take; "" where it did."""
    log = scratch / "log"
    arguments = [str(copied.binaries / "postgres"), "-D", str(copied.data), "-c", f"config_file={copied.config_file}"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*arguments, *options(copied, scratch, more)],
            **copied.identity,
            cwd="/",
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            until = time.monotonic() + PATIENCE
            while process.poll() is None and not copied.answers and time.monotonic() < until:
                time.sleep(0.05)
            ready = process.poll() is None and copied.answers
        finally:
            stop(process)
    said = log.read_text(encoding="utf-8", errors="replace")
    unknown = UNKNOWN_NAME.findall(said)
    if not ready:
        return reason(said) or f"it did not start within {PATIENCE} s: {said.strip()[-500:]}"
    return f"{'; '.join(unknown)}: no library that it loads knows such a setting" if unknown else ""


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a trial at once."""
    if process.poll() is None:
        process.send_signal(signal.SIGQUIT)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def no_address(copied: Cluster) -> str:
    """Return that the host has none of the addresses to listen on; "" where it has one, or none is to be."""
    wanted = [text.strip() for text in copied.value("listen_addresses").split(",") if text.strip()]
    refused = []
    for address in wanted:
        try:
            if address != "*":
                kind, _, _, _, place = socket.getaddrinfo(address, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
                    0
                ]
                with socket.socket(kind, socket.SOCK_STREAM) as listener:
                    listener.bind(place)
        except OSError as error:
            refused.append(f"{address} ({error.strerror or error})")
    if wanted and len(refused) == len(wanted):
        return f"it cannot listen on {', '.join(refused)}: none of listen_addresses is the host's"
    return ""


def memory_problem(copied: Cluster, cluster: Cluster) -> str:
    """Return why the shared memory would not be there once the running server is stopped; "" where it would."""
    needed = int(copied.value("shared_memory_size", "-c", "huge_pages=off", "-c", "external_pid_file="))
    lines = cluster.pidfile()
    short: str = memory.shortage(
        memory.read(
            Path("/proc/meminfo").read_text(encoding="utf-8"),
            number(Path("/proc/sys/vm/overcommit_memory")),
            number(Path("/proc/sys/vm/nr_overcommit_hugepages")),
            Path(f"/proc/{lines[0]}/maps").read_text(encoding="utf-8") if lines else "",
        ),
        needed * memory.MB,
        huge=copied.value("huge_pages") == "on",
    )
    return short


def number(path: Path) -> int:
    """Return the number that a file of the kernel holds; 0 where there is none."""
    return int(path.read_text(encoding="utf-8")) if path.is_file() else 0
