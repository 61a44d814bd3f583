#!/usr/bin/python
# SPDX-License-Identifier: MIT
"""Ansible module: write a drop-in of settings that the server would start with."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: postgresql_dropin
short_description: Write a drop-in of settings that the server would start with
description:
  - Writes settings into the folder C(conf.d) beside the configuration file. Where the file differs, the real server is
    started first on the real files with the new one, beside the one that runs, with a data directory, a socket and a
    log of its own. What it refuses is refused, in its own words. Memory that the running server holds counts as free.
  - Check mode does the same and writes nothing. A file that is not there yet is parsed then, as what it names, such as
    a certificate, may be made by the run that writes it.
  - What the file was when the running server was started is kept beside it, for M(postgresql_service).
version_added: "0.2.0"
options: &options
  path:
    description: The drop-in.
    type: path
    required: true
  content:
    description: What it holds.
    type: str
    required: true
  binaries:
    description: The folder of the server's programs.
    type: path
    required: true
  data_directory:
    description: The cluster's data.
    type: path
    required: true
  config_file:
    description: The cluster's configuration file, which includes the folder of the drop-in.
    type: path
    required: true
  user:
    description: The operating system's user whom the server runs as.
    type: str
    default: postgres
attributes:
  check_mode:
    support: full
    description: The server judges the file, which is not written.
  diff_mode:
    support: full
    description: Shows the file before and after.
author: The authors of this project
"""

EXAMPLES = r"""
- name: Have more memory for each sort
  postgresql_dropin:
    path: /etc/postgresql/17/main/conf.d/40-example.conf
    content: "work_mem = '64MB'\n"
    binaries: /usr/lib/postgresql/17/bin
    data_directory: /var/lib/postgresql/17/main
    config_file: /etc/postgresql/17/main/postgresql.conf
"""

RETURN = r"""
path:
  description: The drop-in.
  type: str
  returned: always
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.pg_settings import dropins, trial
from ansible.module_utils.pg_settings.cluster import Cluster, SettingsError

ARGUMENTS: dict[str, dict[str, Any]] = {
    "path": {"type": "path", "required": True},
    "content": {"type": "str", "required": True},
    "binaries": {"type": "path", "required": True},
    "data_directory": {"type": "path", "required": True},
    "config_file": {"type": "path", "required": True},
    "user": {"type": "str", "default": "postgres"},
}


def main() -> None:
    """Compare, have the server judge what differs, and write it."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    given = module.params
    path, wanted = Path(given["path"]), given["content"]
    cluster = Cluster(
        Path(given["binaries"]), Path(given["data_directory"]), Path(given["config_file"]), given["user"] or None
    )
    before = dropins.content(path)
    if path.is_file() and before == wanted:
        module.exit_json(changed=False, path=str(path))
    try:
        # What the first settings of a host name, as certificates, is made by the run that writes them.
        refused = trial.problem(cluster, {path: wanted}, start=path.is_file() or not module.check_mode)
        if refused:
            module.fail_json(
                msg=f"{path} is not written, as the server would not start with it: {refused}", path=str(path)
            )
        if not module.check_mode:
            dropins.write(cluster, path, wanted)
    except (SettingsError, OSError) as error:
        module.fail_json(msg=f"{path}: {error}", path=str(path))
    shown = {"before_header": str(path), "after_header": str(path), "before": before, "after": wanted}
    module.exit_json(changed=True, path=str(path), diff=shown)


if __name__ == "__main__":
    main()
