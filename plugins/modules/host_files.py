#!/usr/bin/python
# SPDX-License-Identifier: MIT
"""Ansible module: bring many small files and folders to what is declared, in one task."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_files
short_description: Bring many small files and folders of a host to what is declared
description:
  - Writes every file whose content, owner, group or mode is not as declared, makes the folders that are missing, and
    leaves the rest alone. M(ansible.builtin.copy) does the same for one file, and takes a second for each.
  - Every entry is looked at before the first is changed. One that cannot be as declared is refused then.
  - A file is replaced whole, by one that has its owner and mode already. Nobody reads half of one.
version_added: "0.2.0"
options:
  files:
    description: The files and folders, in the order in which they are made; a folder comes before what is in it.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Where it is.
        type: path
        required: true
      owner:
        description: Its owner.
        type: str
        required: true
      group:
        description: Its group.
        type: str
        required: true
      mode:
        description: Its mode in octal digits, as C("0640").
        type: str
        required: true
      content:
        description: What the file holds, as UTF-8. An entry without it is a folder.
        type: str
attributes:
  check_mode:
    support: full
    description: Says what would be changed. An owner that the host has not is one that a play makes first.
  diff_mode:
    support: full
    description: Shows before and after of each. Set C(no_log) and C(diff=false) on a task whose files hold a secret.
author: The authors of this project
"""

EXAMPLES = r"""
- name: Write the job's script and its settings
  host_files:
    files:
      - {path: /etc/example, owner: root, group: root, mode: "0755"}
      - {path: /etc/example/job.env, owner: root, group: postgres, mode: "0640", content: "LIMIT=10\n"}
"""

RETURN = r"""
files:
  description: The paths that were changed, or in check mode would be.
  returned: always
  type: list
  elements: str
  sample: [/etc/example/job.env]
"""

import grp
import os
import pwd
import re
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

Entry = dict[str, Any]

ENTRY_OPTIONS = {
    "path": {"type": "path", "required": True},
    "owner": {"type": "str", "required": True},
    "group": {"type": "str", "required": True},
    "mode": {"type": "str", "required": True},
    "content": {"type": "str"},
}


def problem(entry: Entry, folders: set[str], check_mode: bool) -> str | None:
    """Return why an entry cannot be as declared; None where it can. A check may run before its owner is made."""
    path = Path(entry["path"])
    is_folder = entry["content"] is None
    found = None
    if not re.fullmatch("[0-7]{3,4}", entry["mode"]):
        found = f"mode '{entry['mode']}' is not three or four octal digits, such as 0640"
    elif path.exists() and path.is_dir() != is_folder:
        found = "a folder is declared, and it is a file" if is_folder else "a file is declared, and it is a folder"
    elif check_mode:
        found = None
    elif not path.parent.is_dir() and str(path.parent) not in folders:
        found = f"its folder {path.parent} does not exist"
    elif numbers(entry) is None:
        found = f"the host has no user {entry['owner']}, or no group {entry['group']}"
    return found


def numbers(entry: Entry) -> tuple[int, int] | None:
    """Return the numbers of an entry's owner and group; None where the host has not both."""
    try:
        return pwd.getpwnam(entry["owner"]).pw_uid, grp.getgrnam(entry["group"]).gr_gid
    except KeyError:
        return None


def difference(entry: Entry) -> dict[str, str] | None:
    """Return before and after of an entry, as Ansible shows them; None where it is as declared."""
    path = Path(entry["path"])
    there = path.exists() and not path.is_symlink()
    content = path.read_bytes() if there and path.is_file() else b""
    wanted = b"" if entry["content"] is None else entry["content"].encode()
    if there and content == wanted:
        status = path.stat()
        owner = f"{name(pwd.getpwuid, status.st_uid)}:{name(grp.getgrgid, status.st_gid)}"
        before = f"{owner} {status.st_mode & 0o7777:04o}\n"
        after = f"{entry['owner']}:{entry['group']} {int(entry['mode'], 8):04o}\n"
    else:
        before, after = content.decode(errors="replace"), wanted.decode()
        if before == after:
            before, after = "", "an empty file\n" if entry["content"] is not None else "a folder\n"
    if before == after:
        return None
    return {"before_header": str(path), "after_header": str(path), "before": before, "after": after}


def name(look_up: Any, number: int) -> str:
    """Return the name behind a user's or group's number, or the number where it has none."""
    try:
        return str(look_up(number)[0])
    except KeyError:
        return str(number)


def bring(entry: Entry) -> None:
    """Make one entry as it is declared."""
    path, mode = Path(entry["path"]), int(entry["mode"], 8)
    owner = numbers(entry) or (-1, -1)
    if entry["content"] is None:
        path.mkdir(exist_ok=True)
        os.chown(path, *owner)
        path.chmod(mode)
        return
    # Cron and PostgreSQL pass over a name that begins with a dot.
    number, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(entry["content"].encode())
            os.fchown(file.fileno(), *owner)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise


def main() -> None:
    """Look at all, refuse what cannot be, and write what is not as declared."""
    module = AnsibleModule(
        argument_spec={"files": {"type": "list", "elements": "dict", "required": True, "options": ENTRY_OPTIONS}},
        supports_check_mode=True,
    )
    entries: list[Entry] = module.params["files"]
    folders = {entry["path"] for entry in entries if entry["content"] is None}
    problems = [f"{entry['path']}: {why}" for entry in entries if (why := problem(entry, folders, module.check_mode))]
    if problems:
        module.fail_json(msg=f"nothing was changed: {'; '.join(problems)}", files=[])

    due = [(entry, shown) for entry in entries if (shown := difference(entry))]
    for entry, _ in due if not module.check_mode else []:
        bring(entry)
    module.exit_json(changed=bool(due), files=[entry["path"] for entry, _ in due], diff=[shown for _, shown in due])


if __name__ == "__main__":
    main()
