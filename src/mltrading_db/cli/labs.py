"""The commands of the lab, which `make` and docker do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
import yaml

from mltrading_db.cli.environment import DONE, FAILED, RefusedError, find, locked, project_of
from mltrading_db.cli.options import Confirm, Json, host_name, lab


def make(command: str, *targets: str, as_json: bool) -> None:
    """Run targets of the Makefile while nobody else is at the lab, and end as they do."""
    environment = find("lab")
    with locked(environment, f"lab {command}"):
        asked = ["make", "--directory", str(environment.project), *targets]
        # Only one document goes to standard output.
        done = subprocess.run(asked, stdout=sys.stderr if as_json else None, check=False)  # noqa: S603
    code = FAILED if done.returncode else DONE
    if as_json:
        sys.stdout.write(json.dumps({"command": f"lab {command}", "exit_code": code}, indent=2) + "\n")
    raise typer.Exit(code)


def docker() -> str:
    """The program, by its path.

    Raises:
        RefusedError: there is none.
    """
    found = shutil.which("docker")
    if not found:
        raise RefusedError(["The lab's hosts are containers, and there is no docker here: mldb lab up."])
    return found


def container(host: str) -> str:
    """The name of a host's container: the lab of a second checkout on one machine has a name of its own before it."""
    named = project_of(Path.cwd()) / ".lab/name"
    name = named.read_text(encoding="utf-8").strip() if named.exists() else "lab"
    return host if name == "lab" else f"{name}-{host}"


def state_of(name: str) -> str:
    """How a host's container is; empty for one that is not there.

    Raises:
        RefusedError: the engine does not answer.
    """
    asked = [docker(), "container", "inspect", "--format", "{{.State.Status}}, {{.Config.Image}}", container(name)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode and "no such container" not in done.stderr.lower():
        raise RefusedError([f"The Docker Engine does not answer: {' '.join(done.stderr.split())}"])
    return done.stdout.strip()


def lab_hosts() -> list[str]:
    """The lab's hosts."""
    platforms = yaml.safe_load((project_of(Path.cwd()) / "molecule/lab/molecule.yml").read_text(encoding="utf-8"))
    return [str(platform["hostname"]) for platform in platforms["platforms"]]


@lab.command("up")
def lab_up(
    hosts_only: Annotated[bool, typer.Option("--hosts-only", help="Blank hosts, to try `mldb apply lab` on.")] = False,
    as_json: Json = False,
) -> None:
    """Build the lab, load market data, and show what the optimisation bought; five minutes the first time."""
    make("up", "lab-hosts" if hosts_only else "lab", as_json=as_json)


@lab.command("down")
def lab_down(confirm: Confirm = "", as_json: Json = False) -> None:
    """Remove the lab's hosts and all that is on them."""
    host_name(confirm, "lab", f"{', '.join(lab_hosts())} and their data would be removed.")
    make("down", "lab-down", as_json=as_json)


@lab.command("status")
def lab_status(as_json: Json = False) -> None:
    """Say which of the lab's hosts run."""
    states = {name: state_of(name) for name in lab_hosts()}
    if as_json:
        sys.stdout.write(json.dumps(states, indent=2) + "\n")
        return
    for name, state in states.items():
        typer.echo(f"{name}: {state or 'not there; mldb lab up makes it'}")


@lab.command("shell")
def lab_shell(
    host: Annotated[str, typer.Argument(metavar="HOST", autocompletion=lab_hosts)] = "db1",
    psql: Annotated[bool, typer.Option("--psql", help="psql in the trading database, as the superuser.")] = False,
) -> None:
    """Open a shell on a host of the lab."""
    if host not in lab_hosts():
        raise RefusedError([f"{host!r} is no host of the lab: there are {', '.join(lab_hosts())}."])
    there = container(host)
    inside = ["--user", "postgres", there, "psql", "mltrading"] if psql else [there, "bash"]
    program = docker()
    if not state_of(host).startswith("running"):
        raise RefusedError([f"{host} does not run: mldb lab up makes the lab's hosts."])
    os.execv(program, ["docker", "exec", "--interactive", "--tty", *inside])  # noqa: S606
