"""The commands of `mldb`, and what they take. Each is a playbook with its variables as options."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console

from mltrading_db.cli.environment import FAILED, INTERRUPTED, RefusedError, find, names, project_of

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="The PostgreSQL servers of an environment: see what a change would do, make it, and look after what is there."
    "\n\nBegin with [bold]mldb lab up[/], or with [bold]mldb init ENV[/] for hosts of your own; then"
    " [bold]mldb plan ENV[/], [bold]mldb apply ENV[/], [bold]mldb health ENV[/]. Every command is a playbook of"
    " playbooks/, which ansible-playbook runs as well."
    "\n\nExit codes: 0 done; 1 a host failed; 2 refused, nothing was changed; 3 drift was found; 75 another run is at"
    " it; 130 stopped by Ctrl-C. docs/operations/mldb.md says more.",
)
lab = typer.Typer(no_args_is_help=True, help="The lab: containers on this machine, built as production is.")
app.add_typer(lab, name="lab", rich_help_panel="Begin")

BEGIN, CHANGE, LOOK, OPERATE = "Begin", "Change", "Look", "Operate"


def complete_environment(incomplete: str) -> list[str]:
    """The environments that begin so, for the shell."""
    try:
        return [name for name in names(project_of(Path.cwd())) if name.startswith(incomplete)]
    except RefusedError:
        return []


Env = Annotated[
    str, typer.Argument(metavar="ENV", help="A folder of inventories/.", autocompletion=complete_environment)
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, and nothing else, to standard output.")]
Verbose = Annotated[int, typer.Option("-v", "--verbose", count=True, help="Ansible's own output too; -vvv for all.")]
Limit = Annotated[
    str, typer.Option(help="Only these hosts, as ansible-playbook takes them: db1, or 'postgresql:!db2'.")
]
Older = Annotated[bool, typer.Option("--older", help="Though a host was changed from a newer checkout.")]
Confirm = Annotated[str, typer.Option(metavar="NAME", help="Say the name that would be asked for.")]


def operate(
    command: str, name: str, playbook: str, variables: Mapping[str, object] | None = None, **options: Any
) -> None:
    """Run a playbook that does one thing; what it says is what came of it.

    `confirm` is the environment's name, `changes` whether it has to be given where the environment asks for it.
    """
    from mltrading_db.cli import session  # noqa: PLC0415  # Ansible takes a second to import

    as_json, check = options.get("as_json", False), options.get("check", False)
    with session.session(command, name, as_json=as_json, verbosity=options.get("verbose", 0)) as made:
        if options.get("changes") and not check:
            session.confirm(made.environment, options.get("confirm", ""), f"{command} changes {name}.")
        given = {key: value for key, value in (variables or {}).items() if value}
        limit = options.get("limit", "")
        if options.get("changes") and not check:
            # Which host may be lost is for the playbook to say.
            recap = made.change(playbook, given, limit=limit, older=options.get("older", False), absent=True)
        else:
            recap = made.run(playbook, given, check=check, limit=limit)
        raise typer.Exit(made.end(recap, check=check))


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
def check(env: Env) -> None:
    """Check an environment's inputs, and nothing else: every problem in one line, before anything runs."""
    from mltrading_db.cli import inputs  # noqa: PLC0415  # Ansible takes a second to import

    inventory, wrong = inputs.checked(find(env))
    if wrong:
        raise RefusedError(wrong)
    typer.echo(f"inventories/{env}: {len(inventory.hosts)} hosts, {len(inventory.said)} variables, nothing wrong.")


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
    raise typer.Exit(new.init(env, answers))


@app.command(rich_help_panel=LOOK)
def health(env: Env, as_json: Json = False, verbose: Verbose = 0) -> None:
    """Ask every host how it does, and say what needs a person first. Ends with 1 where something does."""
    operate("health", env, "check_health", as_json=as_json, verbose=verbose)


@app.command(rich_help_panel=LOOK)
def report(env: Env, as_json: Json = False, verbose: Verbose = 0) -> None:
    """Write one HTML page on how the environment does, with a month of history."""
    operate("report", env, "report_health", as_json=as_json, verbose=verbose)


class BackupType(StrEnum):
    """What a backup holds."""

    full = "full"
    diff = "diff"


@app.command(rich_help_panel=OPERATE)
def backup(
    env: Env,
    backup_type: Annotated[
        BackupType, typer.Option("--type", help="All of it, or what changed since the last full one.")
    ] = BackupType.diff,
    confirm: Confirm = "",
    as_json: Json = False,
    verbose: Verbose = 0,
) -> None:
    """Take a backup now, beside those that are taken by themselves."""
    variables = {"backup_type": backup_type.value}
    operate("backup", env, "take_backup", variables, changes=True, confirm=confirm, as_json=as_json, verbose=verbose)


@app.command(rich_help_panel=OPERATE)
def drill(env: Env, as_json: Json = False, verbose: Verbose = 0) -> None:
    """Restore the newest backup into a scratch instance on the repository's host, and look at everything in it."""
    operate("drill", env, "drill_restore", as_json=as_json, verbose=verbose)


def host_name(given: str, host: str, what: str) -> str:
    """The host's name, typed by whoever means it; the playbook compares it once more."""
    if not given and sys.stdin.isatty():
        given = typer.prompt(f"{what} Type the host's name, {host}, to go on", default="", show_default=False)
    if given != host:
        raise RefusedError([f"{what} Confirm it by the host's name: --confirm {host} (given: {given!r})."])
    return given


@app.command(rich_help_panel=OPERATE)
def restore(
    env: Env,
    host: Annotated[str, typer.Argument(metavar="HOST", help="The server that is restored.")],
    to_time: Annotated[str, typer.Option(help="To a time with its offset: '2026-11-24 03:00:00+00'.")] = "",
    to_lsn: Annotated[str, typer.Option(help="To a position in the WAL.")] = "",
    to_name: Annotated[str, typer.Option(help="To a named restore point.")] = "",
    to_xid: Annotated[str, typer.Option(help="To a transaction.")] = "",
    latest: Annotated[bool, typer.Option("--latest", help="To the end of the archive.")] = False,
    timeline: Annotated[str, typer.Option(help="Along this timeline.")] = "",
    directory: Annotated[str, typer.Option(help="As a clone, into this directory; needs --port.")] = "",
    port: Annotated[str, typer.Option(help="The clone's port.")] = "",
    dry_run: Annotated[bool, typer.Option("--check", help="Say whether it can be done, and do nothing.")] = False,
    confirm: Confirm = "",
    as_json: Json = False,
    verbose: Verbose = 0,
) -> None:
    """Restore a backup in place or as a clone; refused with its reason where the target cannot be reached.

    The data that is there is moved aside, never deleted. docs/operations/restore_backup.md
    """
    what = f"{host} of {env} would be restored; what it has is moved aside."
    variables = {
        "restore_host": host,
        "restore_target_time": to_time,
        "restore_target_lsn": to_lsn,
        "restore_target_name": to_name,
        "restore_target_xid": to_xid,
        "restore_target": "latest" if latest else "",
        "restore_timeline": timeline,
        "restore_directory": directory,
        "restore_port": port,
        "restore_confirm": host if dry_run else host_name(confirm, host, what),
    }
    # Whoever named the host has named what matters.
    options = {"changes": True, "confirm": env, "check": dry_run, "as_json": as_json, "verbose": verbose}
    operate("restore", env, "restore_backup", variables, **options)


@app.command(rich_help_panel=OPERATE)
def rebuild(
    env: Env,
    host: Annotated[str, typer.Argument(metavar="HOST", help="The host that is built anew.")],
    confirm: Confirm = "",
    as_json: Json = False,
    verbose: Verbose = 0,
) -> None:
    """Build a host that was lost or is empty anew: from a backup, or as a standby of the primary."""
    confirmed = host_name(confirm, host, f"{host} of {env} would be built anew.")
    variables = {"rebuild_host": host, "rebuild_confirm": confirmed}
    options = {"changes": True, "confirm": env, "as_json": as_json, "verbose": verbose}
    operate("rebuild", env, "rebuild_host", variables, **options)


@app.command(rich_help_panel=OPERATE)
def promote(
    env: Env,
    host: Annotated[str, typer.Argument(metavar="HOST", help="The standby that is to take writes.")],
    unplanned: Annotated[bool, typer.Option("--unplanned", help="The primary is gone: do not ask it.")] = False,
    rejoin: Annotated[bool, typer.Option("--rejoin", help="HOST is a former primary: make it a standby.")] = False,
    confirm: Confirm = "",
    as_json: Json = False,
    verbose: Verbose = 0,
) -> None:
    """Make a standby the primary, or a former primary a standby: docs/operations/promote_replica.md."""
    does = "become a standby, with a copy of the primary's data" if rejoin else "take the place of the primary"
    what = f"{host} of {env} would {does}."
    variables = {
        "promote_rejoin" if rejoin else "promote_to": host,
        "promote_unplanned": unplanned,
        "promote_confirm": host_name(confirm, host, what),
    }
    options = {"changes": True, "confirm": env, "as_json": as_json, "verbose": verbose}
    operate("promote", env, "promote_replica", variables, **options)


@app.command(rich_help_panel=OPERATE)
def partition(
    env: Env,
    table: Annotated[str, typer.Argument(metavar="TABLE", help="A table that is declared as partitioned.")],
    cut: Annotated[str, typer.Option(help="Where the first month begins, as 2026-12-01.")] = "",
    confirm: Annotated[
        str, typer.Option(metavar="HOST", help="The primary's name; without it only the plan is made.")
    ] = "",
    as_json: Json = False,
    verbose: Verbose = 0,
) -> None:
    """Say how a live table would be partitioned by month, and do it where --confirm names the primary."""
    variables = {
        "partition_table_name": table,
        "partition_table_cut": cut,
        "partition_table_confirm": confirm,
        "partition_table_plan_only": not confirm,
    }
    options = {"changes": bool(confirm), "confirm": env, "as_json": as_json, "verbose": verbose}
    operate("partition", env, "partition_table", variables, **options)


def make(*targets: str) -> None:
    """Run targets of the Makefile, and end as they do."""
    done = subprocess.run(["make", "--directory", str(project_of(Path.cwd())), *targets], check=False)  # noqa: S603, S607
    raise typer.Exit(FAILED if done.returncode else 0)


def lab_hosts() -> list[str]:
    """The lab's containers."""
    platforms = yaml.safe_load((project_of(Path.cwd()) / "molecule/lab/molecule.yml").read_text(encoding="utf-8"))
    return [str(platform["name"]) for platform in platforms["platforms"]]


@lab.command("up")
def lab_up(
    hosts_only: Annotated[bool, typer.Option("--hosts-only", help="Blank hosts, to try `mldb apply lab` on.")] = False,
) -> None:
    """Build the lab, load market data, and show what the optimisation bought; five minutes the first time."""
    make("lab-hosts" if hosts_only else "lab")


@lab.command("down")
def lab_down(confirm: Confirm = "") -> None:
    """Remove the lab's hosts and all that is on them."""
    host_name(confirm, "lab", f"{', '.join(lab_hosts())} and their data would be removed.")
    make("lab-down")


@lab.command("status")
def lab_status() -> None:
    """Say which of the lab's hosts run."""
    for name in lab_hosts():
        asked = ["docker", "container", "inspect", "--format", "{{.State.Status}}, {{.Config.Image}}", name]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
        typer.echo(f"{name}: {done.stdout.strip() or 'not there; mldb lab up makes it'}")


@lab.command("shell")
def lab_shell(
    host: Annotated[str, typer.Argument(metavar="HOST", autocompletion=lab_hosts)] = "db1",
    psql: Annotated[bool, typer.Option("--psql", help="psql in the trading database, as the superuser.")] = False,
) -> None:
    """Open a shell on a host of the lab."""
    if host not in lab_hosts():
        raise RefusedError([f"{host!r} is no host of the lab: there are {', '.join(lab_hosts())}."])
    inside = ["--user", "postgres", host, "psql", "mltrading"] if psql else [host, "bash"]
    os.execvp("docker", ["docker", "exec", "--interactive", "--tty", *inside])  # noqa: S606, S607


def main() -> None:
    """Run a command; what is refused is said in lines, without a traceback."""
    try:
        os.environ.setdefault("ANSIBLE_CONFIG", str(project_of(Path.cwd()) / "ansible.cfg"))
        app(prog_name="mldb")
    except RefusedError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(*error.problems, sep="\n", markup=False)
        sys.exit(error.code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
