#!/usr/bin/python
# SPDX-License-Identifier: MIT
"""Ansible module: what a host has of what the roles need, asked before anything is changed."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_requirements
short_description: Say what a host has of what the roles need
description:
  - Resolves the names of the environment's hosts, as this host does it, and reads memory, free disk space, the clock,
    listening ports and the package mirrors of apt.
  - Judges nothing and changes nothing. The filter C(host_problems) says what is missing.
version_added: "0.9.0"
options:
  names:
    description: The names to resolve, as the environment's hosts call each other.
    type: list
    elements: str
    required: true
  paths:
    description: Folders whose file systems are asked for free space; of a missing one, the nearest above it.
    type: list
    elements: path
    default: [/var/lib]
  clock:
    description: Seconds since 1970 by the controller's clock, as the task begins.
    type: float
    required: true
attributes:
  check_mode:
    support: full
    description: It changes nothing.
author: The authors of this project
"""

EXAMPLES = r"""
- name: Ask the host what it has
  host_requirements:
    names: "{{ ansible_play_hosts_all }}"
    clock: "{{ now().timestamp() }}"
  register: found
"""

RETURN = r"""
addresses:
  description: The addresses of each name; an empty list where it does not resolve.
  returned: always
  type: dict
  sample: {db1: [10.0.0.11]}
own_addresses:
  description: The host's own addresses.
  returned: always
  type: list
  elements: str
clock_offset:
  description: How many seconds the host's clock is ahead of the controller's; the time that the question took is in it.
  returned: always
  type: float
free_mb:
  description: The free space of each path in MB.
  returned: always
  type: dict
  sample: {/var/lib: 20480}
memory_mb:
  description: The host's memory in MB.
  returned: always
  type: int
mirrors:
  description: The hosts of apt's package mirrors that do not resolve; none where apt uses a proxy.
  returned: always
  type: list
  elements: str
listening:
  description: The TCP ports that something listens on.
  returned: always
  type: list
  elements: int
"""

import os
import shutil
import socket
import time
from pathlib import Path
from urllib.parse import urlparse

from ansible.module_utils.basic import AnsibleModule

LISTEN = "0A"


def resolve(name: str) -> list[str]:
    """Return the addresses of a name as this host resolves it."""
    try:
        return sorted({str(entry[4][0]) for entry in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)})
    except OSError:
        return []


def free_mb(path: str) -> int:
    """Return the free space of a path's file system in MB."""
    folder = Path(path)
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free // 2**20


def memory_mb() -> int:
    """Return the host's memory in MB."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20


def listening_ports(tables: list[Path]) -> list[int]:
    """Return the ports that something listens on, from tables of proc(5), which have address:PORT in hexadecimal."""
    found = set()
    for table in tables:
        for line in table.read_text().splitlines()[1:] if table.exists() else []:
            fields = line.split()
            if fields[3] == LISTEN:
                found.add(int(fields[1].rpartition(":")[2], 16))
    return sorted(found)


def unknown_mirrors(module: AnsibleModule) -> list[str]:
    """Return the hosts of apt's mirrors that do not resolve."""
    if "Proxy" in module.run_command(["apt-config", "dump", "--format=%f%n", "Acquire"])[1]:
        return []
    sites = module.run_command(["apt-get", "indextargets", "--format", "$(SITE)"], expand_user_and_vars=False)[
        1
    ].split()
    hosts = {urlparse(site).hostname for site in sites}
    return sorted(host for host in hosts if host and not resolve(host))


def main() -> None:
    """Gather all of it."""
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "clock": {"type": "float", "required": True},
            "paths": {"type": "list", "elements": "path", "default": ["/var/lib"]},
        },
        supports_check_mode=True,
    )
    own = module.run_command(["hostname", "--all-ip-addresses"])[1].split()
    module.exit_json(
        changed=False,
        addresses={name: resolve(name) for name in module.params["names"]},
        own_addresses=own,
        clock_offset=time.time() - module.params["clock"],
        free_mb={path: free_mb(path) for path in module.params["paths"]},
        memory_mb=memory_mb(),
        mirrors=unknown_mirrors(module),
        listening=listening_ports([Path("/proc/net/tcp"), Path("/proc/net/tcp6")]),
    )


if __name__ == "__main__":
    main()
