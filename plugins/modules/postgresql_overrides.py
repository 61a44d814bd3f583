#!/usr/bin/python
# SPDX-License-Identifier: MIT
"""Ansible module: find what wins over a declared setting, and take away what may be."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: postgresql_overrides
short_description: Find what wins over the declared settings of a server
description:
  - Asks the server which file each declared setting comes from. C(ALTER SYSTEM) of a declared name is reset, and the
    value that goes is shown. A later file, an option of the server's start, and two drop-ins of different values are
    refused with the one that wins. What roles and databases have of their own is told as a warning.
  - The query says what declared is.
version_added: "0.2.0"
options:
  query:
    description: The query that finds them; one JSON list, as the role's C(declared_settings.sql) gives.
    type: str
    required: true
  binaries:
    description: The folder of the server's programs.
    type: path
    required: true
  socket:
    description: The folder of the server's socket.
    type: path
    required: true
  port:
    description: The server's port.
    type: int
    required: true
  user:
    description: The operating system's user whom the server runs as.
    type: str
    default: postgres
attributes:
  check_mode:
    support: full
    description: Says what would be reset.
  diff_mode:
    support: full
    description: Shows the value that wins, and the one that is declared.
author: The authors of this project
"""

EXAMPLES = r"""
- name: Have the declared settings win
  postgresql_overrides:
    query: "{{ lookup('ansible.builtin.file', 'declared_settings.sql') }}"
    binaries: /usr/lib/postgresql/17/bin
    socket: /run/postgresql
    port: 5432
"""

RETURN = r"""
path:
  description: The drop-in that did not win.
  type: str
  returned: changed
reset:
  description: What C(ALTER SYSTEM) had set.
  type: list
  elements: dict
  returned: success
told:
  description: What roles and databases have of their own, a sentence each.
  type: list
  elements: str
  returned: success
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.pg_settings.cluster import Cluster, SettingsError
from ansible.module_utils.pg_settings.overrides import Server, find, reset, shown, told, unwanted


def main() -> None:
    """Ask, refuse what only a person can take away, and reset the rest."""
    module = AnsibleModule(
        argument_spec={
            "query": {"type": "str", "required": True},
            "binaries": {"type": "path", "required": True},
            "socket": {"type": "path", "required": True},
            "port": {"type": "int", "required": True},
            "user": {"type": "str", "default": "postgres"},
        },
        supports_check_mode=True,
    )
    given = module.params
    cluster = Cluster(Path(given["binaries"]), Path("/"), Path("/"), given["user"] or None)
    server = Server(cluster, Path(given["socket"]), given["port"])
    try:
        found = find(server, given["query"])
        problems = unwanted(found)
        if problems:
            module.fail_json(msg=" ".join(problems), overrides=found)
        by_system = [override for override in found if override["kind"] == "system"]
        if by_system and not module.check_mode:
            reset(server, by_system)
    except SettingsError as error:
        module.fail_json(msg=str(error))
    for sentence in told(found):
        module.warn(sentence)
    where = {"path": by_system[0]["drop_in"]} if by_system else {}
    shows = [shown(one) for one in by_system]
    module.exit_json(changed=bool(by_system), reset=by_system, told=told(found), diff=shows, **where)


if __name__ == "__main__":
    main()
