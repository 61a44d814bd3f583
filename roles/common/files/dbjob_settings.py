"""A job as its settings describe it: /etc/mltrading-db/NAME.env, lines NAME=value quoted as for a shell."""

from __future__ import annotations

import grp
import os
import pwd
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Tests give another.
ROOT = Path(os.environ.get("DBJOB_ROOT", "/"))
SETTINGS = ROOT / "etc/mltrading-db"

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
RUNS_ON = ("primary", "standby", "any")
DEFAULTS = {
    "DBJOB_COMMAND": "",
    "DBJOB_USER": "postgres",
    "DBJOB_GROUP": "",
    "DBJOB_RUNS_ON": "any",
    "DBJOB_TIME_LIMIT": "3600",
    "DBJOB_GRACE": "30",
}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class WrongSettingsError(Exception):
    """The job cannot be run as it is described."""


@dataclass(frozen=True)
class Job:
    """A job as its settings describe it. `identity` is what Popen needs to become its user."""

    name: str
    command: tuple[str, ...]
    runs_on: str
    time_limit: int
    grace: int
    environment: dict[str, str]
    identity: dict[str, Any]


def read_settings(name: str) -> dict[str, str]:
    """The lines NAME=value of the job's file, quoted as for a shell."""
    path = SETTINGS / f"{name}.env"
    try:
        words = [word.partition("=") for word in shlex.split(path.read_text(encoding="utf-8"), comments=True)]
    except (OSError, ValueError) as error:
        raise WrongSettingsError(f"{path} cannot be read: {error}") from error
    wrong = [name for name, equals, _ in words if not equals or not VARIABLE.fullmatch(name)]
    if wrong:
        raise WrongSettingsError(f"{path}: {wrong[0]!r} is not NAME=value")
    return {name: value for name, _, value in words}


def whole_number(settings: dict[str, str], name: str, least: int) -> int:
    """A setting that counts seconds."""
    if not settings[name].isdecimal() or int(settings[name]) < least:
        raise WrongSettingsError(f"{name} is {settings[name]!r}, and a whole number of seconds from {least} is needed")
    return int(settings[name])


def readers_of(settings: dict[str, str]) -> int:
    """The group that reads the job's log and status: its user's own, unless another is named."""
    try:
        if settings.get("DBJOB_GROUP"):
            return grp.getgrnam(settings["DBJOB_GROUP"]).gr_gid
        return pwd.getpwnam(settings.get("DBJOB_USER", DEFAULTS["DBJOB_USER"])).pw_gid
    except KeyError as error:
        raise WrongSettingsError(f"DBJOB_GROUP: {error}") from error


def identity_of(user: pwd.struct_passwd) -> dict[str, Any]:
    """What Popen needs to become the user: nothing where this process is his already."""
    if os.geteuid() == user.pw_uid:
        return {}
    if os.geteuid() != 0:
        raise WrongSettingsError(f"the job is {user.pw_name}'s: start dbjob as root")
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": groups}


def read_job(name: str, settings: dict[str, str]) -> Job:
    """The job that the settings describe; raises WrongSettingsError."""
    own = DEFAULTS | {key: value for key, value in settings.items() if key.startswith("DBJOB_")}
    if unknown := sorted(set(own) - set(DEFAULTS)):
        raise WrongSettingsError(f"{unknown[0]} is not a setting: there are {', '.join(sorted(DEFAULTS))}")
    try:
        user = pwd.getpwnam(own["DBJOB_USER"])
        command = tuple(shlex.split(own["DBJOB_COMMAND"]))
    except (KeyError, ValueError) as error:
        raise WrongSettingsError(f"DBJOB_USER or DBJOB_COMMAND: {error}") from error
    if not command:
        raise WrongSettingsError("DBJOB_COMMAND is missing")
    if own["DBJOB_RUNS_ON"] not in RUNS_ON:
        raise WrongSettingsError(f"DBJOB_RUNS_ON is {own['DBJOB_RUNS_ON']!r}, not one of {', '.join(RUNS_ON)}")
    # The same from cron, from a login shell and from a play.
    standard = {"PATH": PATH, "LANG": "C.UTF-8", "TZ": "UTC", "HOME": user.pw_dir, "SHELL": "/bin/sh"}
    standard |= {"USER": user.pw_name, "LOGNAME": user.pw_name}
    given = {key: value for key, value in settings.items() if key not in own}
    return Job(
        name,
        command,
        own["DBJOB_RUNS_ON"],
        whole_number(own, "DBJOB_TIME_LIMIT", 1),
        whole_number(own, "DBJOB_GRACE", 0),
        standard | given | {"DBJOB_NAME": name},
        identity_of(user),
    )
