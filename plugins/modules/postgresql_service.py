#!/usr/bin/python
# SPDX-License-Identifier: MIT
"""Ansible module: restart a server, and put its settings back where it does not come back with them."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: postgresql_service
short_description: Start or restart a PostgreSQL server that comes back
description:
  - Starts a server, or restarts it, and waits until it lets clients in. Before a restart the real server is started on
    the real files beside the one that runs, as M(postgresql_dropin) does; where it refuses, nothing is stopped.
  - A server that does not come back is given the drop-ins that it had when it was last started, and is started with
    them. The message then ends with its own FATAL line.
version_added: "0.2.0"
options:
  state:
    description:
      - C(started) starts a server that does not run. C(restarted) restarts it.
      - C(put_back) has a running server go on with the drop-ins that it was started with, as where another server of
        the cluster did not come back with the new ones.
    type: str
    choices: [started, restarted, put_back]
    default: started
  unit:
    description: Its unit of systemd.
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
    description: The cluster's configuration file.
    type: path
    required: true
  logs:
    description: The files, and the folders of files C(*.log), that the server logs to.
    type: list
    elements: path
    default: []
  user:
    description: The operating system's user whom the server runs as.
    type: str
    default: postgres
  patience:
    description: Seconds to wait for a server that was started, and recovers.
    type: int
    default: 600
attributes:
  check_mode:
    support: full
    description: Whether the server would start is judged; nothing is started, restarted or written.
  diff_mode:
    support: none
    description: The drop-ins are shown by the module that writes them.
author: The authors of this project
"""

EXAMPLES = r"""
- name: Restart the server
  postgresql_service:
    state: restarted
    unit: postgresql@17-main
    binaries: /usr/lib/postgresql/17/bin
    data_directory: /var/lib/postgresql/17/main
    config_file: /etc/postgresql/17/main/postgresql.conf
    logs: [/var/log/postgresql/postgresql-17-main.log]
"""

RETURN = r"""
files:
  description: The drop-ins that were put back.
  type: list
  elements: str
  returned: success
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.pg_settings import service as services
from ansible.module_utils.pg_settings import trial
from ansible.module_utils.pg_settings.cluster import Cluster, SettingsError
from ansible.module_utils.pg_settings.service import Service

ARGUMENTS: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["started", "restarted", "put_back"], "default": "started"},
    "unit": {"type": "str", "required": True},
    "binaries": {"type": "path", "required": True},
    "data_directory": {"type": "path", "required": True},
    "config_file": {"type": "path", "required": True},
    "logs": {"type": "list", "elements": "path", "default": []},
    "user": {"type": "str", "default": "postgres"},
    "patience": {"type": "int", "default": 600},
}


def carry_out(service: Service, state: str, *, check_mode: bool) -> dict[str, Any]:
    """Do what is asked; return changed, and the files that were put back."""
    if state == "put_back":
        files = services.put_back(service, write=not check_mode)
        return {"changed": bool(files), "files": [str(path) for path in files]}
    if state == "started" and service.cluster.answers:
        return {"changed": False, "files": []}
    if check_mode:
        refused = trial.problem(service.cluster, {})
        if refused:
            raise SettingsError(f"the server would not start: {refused}")
    elif state == "started":
        services.bring_up(service, "start", None)
    else:
        services.restart(service)
    return {"changed": True, "files": []}


def main() -> None:
    """Read the arguments, and do what is asked."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    given = module.params
    cluster = Cluster(
        Path(given["binaries"]), Path(given["data_directory"]), Path(given["config_file"]), given["user"] or None
    )
    service = Service(cluster, given["unit"], tuple(map(Path, given["logs"])), given["patience"])
    try:
        done = carry_out(service, given["state"], check_mode=module.check_mode)
    except (SettingsError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**done)


if __name__ == "__main__":
    main()
