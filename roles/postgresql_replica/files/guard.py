#!/usr/bin/python3
"""Keep a primary that was replaced from taking writes, run as OS user postgres.

    guard.py start    before the server starts: exit 1 where another server has taken this one's place
    guard.py watch    while it runs: stop it where another has, as after a network that was parted is whole again

Who has taken its place is a server of the same system that takes writes on a later timeline. That is remembered in the
data directory (replaced.by), which its way to be a standby (mldb promote --rejoin) moves aside: until then
the server does not start, whoever answers. Exit codes: 0 it may run; 1 it may not, or it could not be told; 2 wrong
settings or arguments.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

import psycopg2
from standby import SETTINGS, Failed, Settings, control, kind, local, primary, write

MARKER = "replaced.by"
# Seconds to wait for a server that is about to answer: one that is being restarted refuses connections for some; one
# that recovers from a crash says so.
WAITS = {"Connection refused": 15, "shutting down": 60, "starting up": 120, "not yet accepting": 120}


def timeline(found: dict[str, str]) -> int:
    """The timeline that a data directory is on, of what pg_controldata says.

    A server that was promoted knows the new one as where its recovery ended, until its first checkpoint.
    """
    return max(int(found["Latest checkpoint's TimeLineID"]), int(found["Min recovery ending loc's timeline"]))


def ask(settings: Settings) -> dict[str, dict[str, Any]]:
    """What each other server of the cluster says of itself."""
    answers = {}
    for host in settings.hosts:
        conninfo = re.sub(r"\bhost=\S+", f"host={host}", settings.conninfo)
        conninfo = re.sub(r"\bconnect_timeout=\d+", "connect_timeout=3", conninfo)
        answers[host] = primary(replace(settings, conninfo=conninfo))
    return answers


def replacement(answers: dict[str, dict[str, Any]], system: str, least: int) -> str:
    """Who takes writes for this system on timeline `least` or a later one; "" where nobody does."""
    for host, answer in answers.items():
        if answer.get("writes") and answer["system"] == system and int(answer["timeline"]) >= least:
            return f"{host} takes writes for this cluster (timeline {answer['timeline']})"
    return ""


def patience(answers: dict[str, dict[str, Any]]) -> int:
    """The seconds that are worth waiting for a server that may answer otherwise in a moment."""
    errors = [str(answer.get("error", "")) for answer in answers.values()]
    return max([seconds for text, seconds in WAITS.items() if any(text in error for error in errors)], default=0)


def way_out(settings: Settings) -> str:
    """What whoever wants this server to run is to do, on the controller."""
    return f"Make it a standby: mldb promote {settings.environment} {settings.host} --rejoin --confirm {settings.host}"


def remember(settings: Settings, by: str) -> str:
    """Write down that this server was replaced; return the sentence for whoever wants to know."""
    write(settings.data / MARKER, by + "\n")
    return f"{by}, so this server does not run. {way_out(settings)}"


def start(settings: Settings) -> None:
    """A primary that was away asks the others before it starts. A timeline as ours is another primary's, too."""
    if kind(settings.data) != "primary" or (settings.data / "recovery.signal").exists():
        return
    marker = settings.data / MARKER
    if marker.exists():
        raise Failed(
            f"this server was replaced: {marker.read_text().strip()} when it was asked. {way_out(settings)}. Where its"
            f" data is what is to be kept, see that nobody else takes writes, and remove {marker}"
        )
    found = control(settings, settings.data)
    began = time.monotonic()
    while True:
        answers = ask(settings)
        if by := replacement(answers, found["Database system identifier"], timeline(found)):
            raise Failed(remember(settings, by))
        if time.monotonic() - began >= patience(answers):
            return
        time.sleep(1)


def watch(settings: Settings) -> None:
    """Stop a primary whose place another has taken: only one on a later timeline, or two would stop each other."""
    if local(settings, "SELECT pg_is_in_recovery()"):
        return
    found = control(settings, settings.data)
    by = replacement(ask(settings), found["Database system identifier"], timeline(found) + 1)
    if not by:
        return
    said = remember(settings, by)
    stop = [settings.binaries / "pg_ctl", "stop", "--pgdata", settings.data, "--timeout=15"]
    for how in ("fast", "immediate"):
        done = subprocess.run([*stop, f"--mode={how}"], capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode == 0:
            raise Failed(f"{said}. It was stopped ({how})")
    raise Failed(f"{said}. It could not be stopped: {done.stdout}{done.stderr}")


def main(arguments: list[str]) -> int:
    """Run one command."""
    commands = {"start": start, "watch": watch}
    try:
        settings = Settings.read()
        command = commands[" ".join(arguments)]
    except (OSError, KeyError, ValueError) as error:
        sys.stderr.write(f"{__doc__}\nguard: {SETTINGS}: {error!r}\n")
        return 2
    try:
        command(settings)
    except (Failed, psycopg2.Error, subprocess.CalledProcessError, OSError) as error:
        sys.stderr.write(f"guard: {' '.join(str(error).split())}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
