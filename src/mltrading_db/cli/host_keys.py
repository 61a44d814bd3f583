"""Host keys that SSH does not take: which key a host shows, and how a person accepts it.

ssh itself is asked, with the options that Ansible gives it, so that jump hosts and a configuration of SSH count.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace

from mltrading_db.cli.events import Failure
from mltrading_db.cli.inventory import OPEN_VALUE, Inventory, Undefined

# What ssh ends with, whatever the reason; Ansible hands it on.
UNVERIFIED = "Host key verification failed"
SHOWN_KEY = re.compile(r"^debug1: Server host key: (\S+) (\S+)\s*$", re.MULTILINE)
CHANGED = "REMOTE HOST IDENTIFICATION HAS CHANGED"
REMOVE = re.compile(r"^\s*(ssh-keygen -f .* -R .*?)\s*$", re.MULTILINE)
SECONDS = 30


def ssh_options(variables: Mapping[str, str]) -> list[str]:
    """The options of ssh for a host's variables, the host last."""
    options = [
        *shlex.split(variables.get("ansible_ssh_common_args", "")),
        *shlex.split(variables.get("ansible_ssh_extra_args", "")),
    ]
    for flag, names in (
        ("-p", ("ansible_port", "ansible_ssh_port")),
        ("-i", ("ansible_private_key_file", "ansible_ssh_private_key_file")),
    ):
        options += next(([flag, variables[name]] for name in names if variables.get(name)), [])
    address = variables.get("ansible_host") or variables["inventory_hostname"]
    user = variables.get("ansible_user") or variables.get("ansible_ssh_user")
    return [*options, f"{user}@{address}" if user else address]


def variables_of(inventory: Inventory, host: str) -> dict[str, str]:
    """The variables of a host that say how SSH reaches it."""
    names = [name for name in inventory.variables[host] if name.startswith("ansible_")]
    values = {name: inventory.value(host, name) for name in names}
    known = {name: str(value) for name, value in values.items() if not isinstance(value, Undefined)}
    return {"inventory_hostname": host, **{name: value for name, value in known.items() if value != str(OPEN_VALUE)}}


def asked(options: list[str]) -> str:
    """What ssh says of a host's key; nothing is accepted, and no shared connection answers for the host."""
    ssh = shutil.which("ssh") or "ssh"
    strict = ["-v", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ControlPath=none"]
    command = [ssh, *strict, *options, "true"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stderr


def advice(host: str, options: list[str], said: str) -> tuple[str, str]:
    """The reason and the way out, from what ssh says of a host's key."""
    shown = SHOWN_KEY.search(said)
    key = f"{shown[1]} {shown[2]}" if shown else "a key that ssh -v would show"
    file = f"/etc/ssh/ssh_host_{shown[1].removeprefix('ssh-')}_key.pub" if shown else "/etc/ssh/ssh_host_*_key.pub"
    if shown and shown[1].startswith("ecdsa"):
        file = "/etc/ssh/ssh_host_ecdsa_key.pub"
    accept = shlex.join(["ssh", "-o", "StrictHostKeyChecking=ask", *options, "true"])
    answer = f"answer with the fingerprint{f', {shown[2]}' if shown else ''}"
    compare = f"Compare it on the host's console: ssh-keygen -lf {file}"
    if CHANGED in said:
        remove = REMOVE.search(said)
        forget = remove[1] if remove else f"ssh-keygen -R {shlex.quote(options[-1].rpartition('@')[2])}"
        return (
            f"{host} shows {key}, and another key is known for it. Either the host was made anew, or another machine"
            " answers in its place. Nothing was sent to it.",
            f"{compare}\nOnly if it is the same: {forget}\nand then, to {answer}: {accept}",
        )
    return (
        f"{host} shows {key}, and no key is known for it.",
        f"{compare}\nIf it is the same, {answer}, to: {accept}",
    )


def explained(inventory: Inventory, failure: Failure) -> Failure:
    """A failure, with the key and what to do where SSH refused the host's key."""
    if UNVERIFIED not in failure.reason or failure.host not in inventory.variables:
        return failure
    options = ssh_options(variables_of(inventory, failure.host))
    reason, remedy = advice(failure.host, options, asked(options))
    return replace(failure, reason=reason, remedy=remedy)
