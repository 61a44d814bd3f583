"""The commands that look after an environment: each is a playbook with its variables as options."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from mltrading_db.cli.options import OPERATE, Check, Confirm, Env, Json, Limit, Older, Verbose, app, host_name, operate


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
    older: Older = False,
    confirm: Confirm = "",
    as_json: Json = False,
    verbose: Verbose = 0,
) -> None:
    """Take a backup now, beside those that are taken by themselves."""
    variables = {"backup_type": backup_type.value}
    options = {"changes": True, "confirm": confirm, "older": older, "as_json": as_json, "verbose": verbose}
    operate("backup", env, "take_backup", variables, **options)


@app.command(rich_help_panel=OPERATE)
def drill(env: Env, as_json: Json = False, verbose: Verbose = 0) -> None:
    """Restore the newest backup into a scratch instance on the repository's host, and look at everything in it."""
    operate("drill", env, "drill_restore", as_json=as_json, verbose=verbose)


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
    expected_end: Annotated[str, typer.Option(help="Fail where recovery ends before this time.")] = "",
    replaces: Annotated[str, typer.Option(help="The identifier of the system there, which is replaced.")] = "",
    dry_run: Check = False,
    older: Older = False,
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
        "restore_expected_end": expected_end,
        "restore_replaces": replaces,
        "restore_confirm": host if dry_run else host_name(confirm, host, what),
    }
    # Whoever named the host has named what matters.
    options = {
        "changes": True,
        "confirm": env,
        "check": dry_run,
        "older": older,
        "as_json": as_json,
        "verbose": verbose,
    }
    operate("restore", env, "restore_backup", variables, **options)


@app.command(rich_help_panel=OPERATE)
def rebuild(
    env: Env,
    host: Annotated[str, typer.Argument(metavar="HOST", help="The host that is built anew.")],
    despite_standby: Annotated[
        bool, typer.Option("--despite-standby", help="Though a standby may have more than the archive.")
    ] = False,
    expected_end: Annotated[str, typer.Option(help="Fail where recovery ends before this time.")] = "",
    limit: Limit = "",
    dry_run: Check = False,
    older: Older = False,
    confirm: Confirm = "",
    as_json: Json = False,
    verbose: Verbose = 0,
) -> None:
    """Build a host that was lost or is empty anew: from a backup, or as a standby of the primary."""
    confirmed = host if dry_run else host_name(confirm, host, f"{host} of {env} would be built anew.")
    variables = {
        "rebuild_host": host,
        "rebuild_confirm": confirmed,
        "rebuild_despite_standby": despite_standby,
        "rebuild_expected_end": expected_end,
    }
    options = {"changes": True, "confirm": env, "limit": limit, "check": dry_run, "older": older}
    operate("rebuild", env, "rebuild_host", variables, **options, as_json=as_json, verbose=verbose)


@app.command(rich_help_panel=OPERATE)
def promote(
    env: Env,
    host: Annotated[str, typer.Argument(metavar="HOST", help="The standby that is to take writes.")],
    unplanned: Annotated[bool, typer.Option("--unplanned", help="The primary is gone: do not ask it.")] = False,
    rejoin: Annotated[bool, typer.Option("--rejoin", help="HOST is a former primary: make it a standby.")] = False,
    limit: Limit = "",
    dry_run: Check = False,
    older: Older = False,
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
        "promote_confirm": host if dry_run else host_name(confirm, host, what),
    }
    options = {"changes": True, "confirm": env, "limit": limit, "check": dry_run, "older": older}
    operate("promote", env, "promote_replica", variables, **options, as_json=as_json, verbose=verbose)


@app.command(rich_help_panel=OPERATE)
def partition(
    env: Env,
    table: Annotated[str, typer.Argument(metavar="TABLE", help="A table that is declared as partitioned.")],
    cut: Annotated[str, typer.Option(help="Where the first month begins, as 2026-12-01.")] = "",
    confirm: Annotated[
        str, typer.Option(metavar="HOST", help="The primary's name; without it only the plan is made.")
    ] = "",
    older: Older = False,
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
    options = {"changes": bool(confirm), "confirm": env, "older": older, "as_json": as_json, "verbose": verbose}
    operate("partition", env, "partition_table", variables, **options)
