"""What every command of `mldb` stands on: the program, the options that several take, and how a playbook is run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from mltrading_db.cli.environment import RefusedError, names, project_of

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
Check = Annotated[bool, typer.Option("--check", help="Say whether it can be done, and do nothing.")]
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


def host_name(given: str, host: str, what: str) -> str:
    """The host's name, typed by whoever means it; the playbook compares it once more."""
    if not given and sys.stdin.isatty():
        given = typer.prompt(f"{what} Type the host's name, {host}, to go on", default="", show_default=False, err=True)
    if given != host:
        raise RefusedError([f"{what} Confirm it by the host's name: --confirm {host} (given: {given!r})."])
    return given
