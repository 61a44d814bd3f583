"""The commands of `mldb` that describe, change and look at an environment, and the program itself."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from mltrading_db.cli import labs, operations
from mltrading_db.cli.environment import INTERRUPTED, RefusedError, find, project_of
from mltrading_db.cli.options import (
    BEGIN,
    CHANGE,
    LOOK,
    Confirm,
    Env,
    Json,
    Limit,
    Older,
    Verbose,
    app,
    operate,
)

# Their commands are there by being read.
__all__ = ["app", "labs", "main", "operations"]


@app.command(rich_help_panel=CHANGE)
def apply(
    env: Env,
    dry_run: Annotated[bool, typer.Option("--check", help="Change nothing: say what would be changed.")] = False,
    limit: Limit = "",
    tags: Annotated[str, typer.Option(help="Only these roles: a role's name is its tag.")] = "",
    from_plan: Annotated[
        Path | None, typer.Option("--plan", help="Refuse unless it would still do what this plan says.")
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Restart servers and poolers where a setting needs it.")
    ] = False,
    older: Older = False,
    confirm: Confirm = "",
    as_json: Json = False,
    verbose: Verbose = 0,
) -> None:
    """Bring the hosts to what the inventory says. Run again, it changes nothing.

    Every input is checked first, then every host: wrong inputs, another environment's host or an unsupported release
    are refused before the first change. The run leaves a line in /var/log/mltrading-db/audit.log of each host.

    [dim]mldb apply staging --limit db1.staging.example.com --tags postgresql[/]
    """
    from mltrading_db.cli import changes  # noqa: PLC0415  # Ansible takes a second to import

    wanted = changes.Wanted(env, dry_run, limit, tags, from_plan, older, restart, confirm)
    raise typer.Exit(changes.apply(wanted, as_json=as_json, verbosity=verbose))


@app.command(rich_help_panel=CHANGE)
def plan(
    env: Env,
    limit: Limit = "",
    tags: Annotated[str, typer.Option(help="Only these roles.")] = "",
    out: Annotated[Path | None, typer.Option(help="Where it is saved, for `mldb apply ENV --plan`.")] = None,
    as_json: Json = False,
    verbose: Verbose = 0,
) -> None:
    """Say what `mldb apply` would do: files, settings with their reload or restart, objects with locks and sizes.

    Nothing is changed. The plan is saved; `mldb apply ENV --plan FILE` does it, and refuses where hosts or repository
    have moved since.
    """
    from mltrading_db.cli import changes  # noqa: PLC0415  # Ansible takes a second to import

    wanted = changes.Wanted(env, check=True, limit=limit, tags=tags, plan=out)
    raise typer.Exit(changes.plan(wanted, as_json=as_json, verbosity=verbose))


@app.command(rich_help_panel=LOOK)
def drift(
    env: Env,
    limit: Limit = "",
    accept: Annotated[bool, typer.Option("--accept", help="Hold hosts to what they are now.")] = False,
    confirm: Confirm = "",
    as_json: Json = False,
    verbose: Verbose = 0,
) -> None:
    """Say what was changed by hand: what a run would overwrite, and what the repository knows nothing of.

    Settings, login rules, roles, privileges, indexes, views, lines of cron and files. Each with who is right and how to
    keep it or undo it. Ends with 3 where there is any. Changes nothing, unless --accept.
    """
    from mltrading_db.cli import drifts  # noqa: PLC0415  # Ansible takes a second to import

    options = {"limit": limit, "accept": accept, "confirm": confirm}
    raise typer.Exit(drifts.drift(env, options, as_json=as_json, verbosity=verbose))


@app.command(rich_help_panel=LOOK)
def diff(one: Env, other: Env, as_json: Json = False) -> None:
    """Say what differs between two environments, variable by variable; of secrets only whether they are set."""
    from mltrading_db.cli import compare  # noqa: PLC0415  # Ansible takes a second to import

    raise typer.Exit(compare.diff(one, other, as_json=as_json))


@app.command(rich_help_panel=LOOK)
def runs(env: Env, as_json: Json = False) -> None:
    """List the last runs on this controller, the newest first, and where each one's record is."""
    from mltrading_db.cli import show  # noqa: PLC0415  # what lists nothing needs no table

    raise typer.Exit(show.runs(find(env), as_json=as_json))


@app.command(rich_help_panel=BEGIN)
def check(env: Env, as_json: Json = False) -> None:
    """Check an environment's inputs, and nothing else: every problem in one line, before anything runs."""
    from mltrading_db.cli import inputs  # noqa: PLC0415  # Ansible takes a second to import

    inventory, wrong = inputs.checked(find(env))
    if wrong:
        raise RefusedError(wrong)
    said = {"environment": env, "hosts": len(inventory.hosts), "variables": len(inventory.said), "problems": wrong}
    line = f"inventories/{env}: {said['hosts']} hosts, {said['variables']} variables, nothing wrong."
    typer.echo(json.dumps(said, indent=2) if as_json else line)


@app.command(rich_help_panel=BEGIN)
def init(
    env: Annotated[str, typer.Argument(metavar="ENV", help="The new environment's name.")],
    primary: Annotated[str, typer.Option(metavar="HOST=ADDRESS", help="The server that takes writes.")] = "",
    replica: Annotated[
        list[str] | None, typer.Option(metavar="HOST=ADDRESS", help="A standby; may be repeated.")
    ] = None,
    repository: Annotated[str, typer.Option(metavar="HOST=ADDRESS", help="Who keeps the backups.")] = "",
    pooler: Annotated[str, typer.Option(metavar="HOST=ADDRESS", help="Who runs pgBouncer.")] = "",
    clients: Annotated[list[str] | None, typer.Option(metavar="CIDR", help="Where clients come from.")] = None,
    monitoring: Annotated[list[str] | None, typer.Option(metavar="CIDR", help="Where the monitoring host is.")] = None,
    user: Annotated[str, typer.Option(help="Who logs in over SSH and may become root.")] = "deploy",
    connection: Annotated[str, typer.Option(help="How hosts are reached, where it is not SSH.")] = "",
    as_json: Json = False,
) -> None:
    """Describe a new environment: inventories/ENV, with a vault whose secrets are made here.

    What is not given as an option is asked for. The vault's password is made too, in ~/.config/mltrading-db/ENV/: keep
    a copy of it elsewhere, as without it no backup can be read.
    """
    from mltrading_db.cli import new  # noqa: PLC0415  # Ansible takes a second to import

    answers = new.Answers(
        primary=primary,
        replicas=tuple(replica or ()),
        repository=repository,
        pooler=pooler,
        clients=tuple(clients or ()),
        monitoring=tuple(monitoring or ()),
        user=user,
        connection=connection,
    )
    raise typer.Exit(new.init(env, answers, as_json=as_json))


@app.command(rich_help_panel=LOOK)
def health(env: Env, as_json: Json = False, verbose: Verbose = 0) -> None:
    """Ask every host how it does, and say what needs a person first. Ends with 1 where something does."""
    operate("health", env, "check_health", as_json=as_json, verbose=verbose)


@app.command(rich_help_panel=LOOK)
def report(env: Env, as_json: Json = False, verbose: Verbose = 0) -> None:
    """Write one HTML page on how the environment does, with a month of history."""
    operate("report", env, "report_health", as_json=as_json, verbose=verbose)


def refuse(problems: list[str], code: int) -> NoReturn:
    """Say why nothing was done, and end: lines for a person, and the document that a program waits for."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(*problems, sep="\n", markup=False)
    if "--json" in sys.argv:
        sys.stdout.write(json.dumps({"exit_code": code, "refused": problems}, indent=2, ensure_ascii=False) + "\n")
    sys.exit(code)


def main() -> None:
    """Run a command; what is refused is said in lines, without a traceback."""
    try:
        os.environ.setdefault("ANSIBLE_CONFIG", str(project_of(Path.cwd()) / "ansible.cfg"))
        app(prog_name="mldb")
    except RefusedError as error:
        refuse(error.problems, error.code)
    except KeyboardInterrupt:
        refuse(["Stopped before anything ran."], INTERRUPTED)


if __name__ == "__main__":
    main()
