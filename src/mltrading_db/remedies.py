"""Remedies as commands that can be pasted: texts name a playbook, and what shows them knows the environment. Pure.

A text says `playbooks/NAME.yml`, with options behind it where it needs some, and ENV for the environment's name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# The options of a command in a sentence: the full stop behind it is none of it.
OPTIONS = r"""(?:\s+(?:-e|--limit|--tags)\s+(?:'[^']*'|[^\s,;()'"]*[^\s,;()'".]))*"""
PLAYBOOK = re.compile(rf"playbooks/(?P<name>[a-z_]+)\.yml(?P<options>{OPTIONS})")
# What mldb has a command for, where no variable is given.
COMMANDS = {
    "site": "apply",
    "check_health": "health",
    "report_health": "report",
    "take_backup": "backup",
    "drill_restore": "drill",
}


def completed(text: str, environment: str, *, mldb: str = "mldb", playbook: str = "ansible-playbook") -> str:
    """A text with each playbook as the whole command, and the environment's name in the place of ENV.

    `mldb` and `playbook` are how the programs are called from where the reader is, the second with what opens a vault.
    """

    def command(found: re.Match[str]) -> str:
        options = " ".join(found["options"].split())
        name = COMMANDS.get(found["name"], "")
        if name and "-e " not in options:
            said = f"{mldb} {name} {environment} {options}"
        else:
            said = f"{playbook} -i inventories/{environment} playbooks/{found['name']}.yml {options}"
        return said.rstrip()

    return re.sub(r"\bENV\b", lambda _: environment, PLAYBOOK.sub(command, text))


def commands(text: str) -> Sequence[re.Match[str]]:
    """The playbooks that a text names, each with its options."""
    return list(PLAYBOOK.finditer(text))
