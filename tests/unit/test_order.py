"""What is declared is written in one order, whichever seed Python hashes by: a second run changes nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
READ = [
    path
    for folder in ("roles", "playbooks", "inventories", "molecule", "templates")
    for path in sorted((PROJECT / folder).rglob("*"))
    if path.suffix in (".yml", ".j2") and not {"files", ".ansible"} & set(path.relative_to(PROJECT).parts)
]
# Ansible's filters of sets, which forget the order of both sides; their number may be asked, or they are sorted.
OF_SETS = re.compile(r"\| *(?:difference|intersect|union|symmetric_difference)\b")
NUMBERED = re.compile(r" *\| *(?:length|sort)\b")
SERVERS = [f"db{number}.example.com" for number in range(1, 6)]

# Works out every variable of the roles and of the environment; those that need an answer of a host are left.
WORK_OUT = """
import json, sys
from pathlib import Path
import ansible.plugins.loader as loader
loader.init_plugin_loader([])
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

project, inventory = Path(sys.argv[1]), sys.argv[2]
loader.filter_loader.add_directory(str(project / "plugins/filter"))
files = DataLoader()
hosts = InventoryManager(loader=files, sources=[inventory])
manager = VariableManager(loader=files, inventory=hosts)
servers = [str(host) for host in hosts.get_hosts("postgresql")]
facts = {"distribution_major_version": "12", "distribution": "Debian", "memtotal_mb": 4096, "processor_nproc": 4,
         "default_ipv4": {"network": "10.0.0.0", "prefix": "24", "address": "10.0.0.1"}, "date_time": {"epoch": "1"}}
clusters = [{"port": "5432", "version": "15", "cluster": "main", "pgdata": "/data", "configdir": "/etc"}]
for host in hosts.get_hosts():
    manager.set_host_facts(host, facts)
    manager.set_nonpersistent_facts(host, {"__postgresql_lsclusters": {"stdout": json.dumps(clusters)}})
found = {}
for role in sorted((project / "roles").iterdir()):
    own = {}
    for path in [*sorted(role.glob("defaults/**/*.yml")), *sorted(role.glob("vars/*.yml"))]:
        own |= files.load_from_file(str(path), trusted_as_template=True) or {}
    for server in servers[:2]:
        known = {**own, **manager.get_vars(host=hosts.get_host(server)), "hostvars": HostVars(hosts, manager, files),
                 "ansible_facts": facts, "ansible_play_hosts": servers, "ansible_play_hosts_all": servers,
                 "ansible_check_mode": False, "role_path": str(role), "inventory_hostname": server}
        templar = Templar(loader=files, variables=known)
        for name in own if server == servers[0] else [*own, *known]:
            if name in ("hostvars", "vars", "groups"):
                continue
            try:
                found[f"{server} {role.name} {name}"] = json.dumps(templar.template(known[name]))
            except Exception:
                continue
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example of a production environment, with four standbys."""
    folder = tmp_path_factory.mktemp("environment")
    shutil.copytree(PROJECT / "inventories/production", folder / "production")
    path = folder / "production/hosts.yml"
    hosts = yaml.safe_load(path.read_text())
    hosts["all"]["children"]["postgresql"]["hosts"] = {name: {} for name in SERVERS}
    path.write_text(yaml.safe_dump(hosts))
    return path.parent


def worked_out(inventory: Path, seed: int) -> dict[str, str]:
    """Every variable that can be worked out without a host, by server, role and name."""
    done = subprocess.run(
        [sys.executable, "-c", WORK_OUT, str(PROJECT), str(inventory)],
        env={
            **os.environ,
            "PYTHONHASHSEED": str(seed),
            "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_every_seed_writes_the_same(inventory: Path) -> None:
    first, *others = [worked_out(inventory, seed) for seed in (0, 1, 2, 3)]
    assert len(first) > 400
    assert any("standbys" in name for name in first)
    for other in others:
        assert {name: (first.get(name), other.get(name)) for name in first if first[name] != other.get(name)} == {}


def behind(text: str, begin: int) -> str:
    """What follows the brackets that open behind a place."""
    depth = 0
    for place in range(text.index("(", begin), len(text)):
        depth += {"(": 1, ")": -1}.get(text[place], 0)
        if depth == 0:
            return text[place + 1 :]
    return ""


@pytest.mark.parametrize("path", [pytest.param(path, id=str(path.relative_to(PROJECT))) for path in READ])
def test_no_list_comes_from_a_filter_that_forgets_the_order(path: Path) -> None:
    text = " ".join(path.read_text().split())
    found = [match for match in OF_SETS.finditer(text) if not NUMBERED.match(behind(text, match.end()))]
    assert [text[match.start() : match.start() + 80] for match in found] == []
