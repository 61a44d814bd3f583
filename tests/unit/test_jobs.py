"""What the jobs are told: when they start on which host, whom they mail, and which other nodes they ask."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar

PROJECT = Path(__file__).parents[2]
ROLE = PROJECT / "roles/common"
HOSTS = [f"db{number}" for number in range(1, 9)]
NIGHTLY = {"command": "/bin/true", "schedule": "15 2 * * *", "user": "postgres", "time_limit": 60}
EACH_MINUTE = NIGHTLY | {"schedule": "* * * * *"}


@pytest.fixture(scope="module", autouse=True)
def plugins() -> None:
    """Have Ansible find its lookups, as its commands do."""
    init_plugin_loader()


def evaluated(name: str, host: str, *jobs: dict[str, Any], **given: Any) -> Any:
    """A variable of the role for the jobs of a host."""
    loader = DataLoader()
    loader.set_basedir(str(ROLE))
    variables = {
        **loader.load_from_file(str(ROLE / "defaults/main.yml"), trusted_as_template=True),
        **loader.load_from_file(str(ROLE / "vars/main.yml"), trusted_as_template=True),
        "role_path": str(ROLE),
        "inventory_hostname": host,
        "ansible_managed": "Ansible managed",
        "common_jobs_owner": "mltrading",
        "common_jobs": list(jobs),
        **given,
    }
    return Templar(loader=loader, variables=variables).template(variables[name])


def job_files(host: str, *jobs: dict[str, Any], **given: Any) -> dict[str, str]:
    """All that the jobs have on a host, by path."""
    return {file["path"]: file["content"] for file in evaluated("__common_jobs_files", host, *jobs, **given)}


ROLES_WITH_JOBS = sorted(path.parents[1].name for path in (PROJECT / "roles").glob("*/files/jobs"))


@pytest.mark.parametrize("owner", ROLES_WITH_JOBS)
def test_every_file_of_a_role_has_its_folder_made_before_it(owner: str) -> None:
    # A host may have the jobs of this role alone: a pooler of its own has those of the checks, without the folder sql.
    given = {"common_jobs_owner": owner, "role_path": str(ROLE)}
    made = {"/", "/etc", "/etc/cron.d", "/usr/local/lib", "/var/lib", "/var/log"}
    for entry in evaluated("__common_jobs_folders", "pool1", **given) + evaluated(
        "__common_jobs_files", "pool1", **given
    ):
        assert str(Path(entry["path"]).parent) in made, entry["path"]
        made.add(entry["path"])


def cron_files(host: str, *jobs: dict[str, Any], **given: Any) -> dict[str, str]:
    """The lines for cron of a host, by the names of their jobs."""
    mark, files = "/etc/cron.d/mltrading-db-", job_files(host, *jobs, **given)
    return {path.removeprefix(mark): text for path, text in files.items() if path.startswith(mark)}


def settings_files(host: str, *jobs: dict[str, Any], **given: Any) -> dict[str, str]:
    """The settings of the jobs of a host, by their names."""
    files = job_files(host, *jobs, **given)
    return {Path(path).stem: text for path, text in files.items() if path.endswith(".env")}


def delay(file: str) -> int:
    """The seconds that a line waits before its job."""
    found = re.search(
        r"^\S+ \S+ \S+ \S+ \S+ root sleep (\d+); exec /usr/local/lib/mltrading-db/dbjob", file, re.MULTILINE
    )
    assert found, file
    return int(found[1])


def test_hosts_and_jobs_of_one_schedule_are_spread_and_each_keeps_its_time() -> None:
    jobs = [NIGHTLY | {"name": name} for name in ("dump", "retention")]
    delays = {(host, name): delay(file) for host in HOSTS for name, file in cron_files(host, *jobs).items()}
    assert len(delays) == 2 * len(HOSTS)
    assert len(set(delays.values())) > len(HOSTS)
    assert max(delays.values()) < 300
    assert delay(cron_files(HOSTS[0], *jobs)["dump"]) == delays[HOSTS[0], "dump"]
    assert {delay(cron_files(host, *jobs, common_jobs_stagger=0)["dump"]) for host in HOSTS} == {0}


WINDOW = {"common_jobs_window": "22:00-06:00"}
LATE = NIGHTLY | {"name": "weekly", "schedule": "10 3 * * 0", "time_limit": 14400}


@pytest.mark.parametrize(
    ("job", "given", "limit"),
    [
        pytest.param(LATE, {}, 14400, id="no window"),
        pytest.param(LATE, WINDOW, 9900, id="stopped with the window, on a host that begins last"),
        pytest.param(LATE | {"ends_with_window": False}, WINDOW, 14400, id="a backup"),
        pytest.param(EACH_MINUTE | {"name": "weekly", "keeps_to_window": False}, WINDOW, 60, id="all day"),
    ],
)
def test_a_job_has_no_more_time_than_the_window(job: dict[str, Any], given: dict[str, Any], limit: int) -> None:
    assert f"DBJOB_TIME_LIMIT={limit}\n" in settings_files("db1", job, **given)["weekly"]


def test_the_job_of_the_months_goes_where_no_table_is_to_have_them() -> None:
    tasks = DataLoader().load_from_file(str(PROJECT / "roles/mltrading/tasks/jobs.yml"))
    (off,) = [task for task in tasks if task.get("when") == "not mltrading_partitions_enabled | bool"]
    assert off["ansible.builtin.include_role"] == {"name": "common", "tasks_from": "jobs"}
    found = {"stdout_lines": ["/etc/cron.d/mltrading-db-partitions", "ActiveState=active"]}
    jobs, given = off["vars"]["common_jobs"], {"common_jobs_owner": off["vars"]["common_jobs_owner"]}
    assert evaluated("__common_jobs_removed", "db1", *jobs, __common_jobs_found=found, **given) == ["partitions"]
    files = job_files("db1", *jobs, **given)
    assert "/usr/local/lib/mltrading-db/maintain_partitions" in files
    assert [path for path in files if path.startswith("/etc/")] == []


def test_a_job_of_every_minute_is_over_before_the_next() -> None:
    assert max(delay(cron_files(host, EACH_MINUTE | {"name": "heartbeat"})["heartbeat"]) for host in HOSTS) < 30


@pytest.mark.parametrize(
    ("given", "line"), [({}, 'MAILTO=""'), ({"common_jobs_mailto": "dba@example.com"}, 'MAILTO="dba@example.com"')]
)
def test_nobody_is_mailed_unless_asked_for(given: dict[str, str], line: str) -> None:
    lines = cron_files("db1", NIGHTLY | {"name": "dump"}, **given)["dump"].splitlines()
    assert line in lines
    # What a job that ended well says is in its log; only what goes to the standard error is mailed.
    assert lines[-1].endswith("dbjob dump >/dev/null")


def of_group(environment: str, role: str) -> dict[str, Any]:
    """What an environment's inventory says to its servers of a role."""
    path = PROJECT / f"inventories/{environment}/group_vars/postgresql/{role}.yml"
    return dict(DataLoader().load_from_file(str(path), trusted_as_template=True))


@pytest.mark.parametrize("environment", ["lab", "staging", "production"])
def test_each_server_asks_every_other_one_for_the_use_of_its_indexes_and_is_let_in(environment: str) -> None:
    hosts = DataLoader().load_from_file(str(PROJECT / f"inventories/{environment}/hosts.yml"))
    servers = hosts["all"]["children"]["postgresql"]["hosts"]
    wanted = of_group(environment, "postgresql_maintenance")["postgresql_maintenance_nodes"]
    access = of_group(environment, "postgresql_access")
    for server, given in servers.items():
        variables = {"groups": {"postgresql": list(servers)}, "inventory_hostname": server, "hostvars": servers}
        templar = Templar(loader=DataLoader(), variables=variables | access)
        nodes = templar.template(wanted)
        assert [node["host"] for node in nodes] == [name for name in servers if name != server]
        # The lab's network is that of its containers.
        if given:
            networks = templar.template(access["postgresql_access_monitor_networks"])
            assert f"{given['ansible_host']}/32" in networks


def test_every_exit_code_is_explained_in_one_place() -> None:
    page = (PROJECT / "docs/operations/jobs.md").read_text()
    rows = re.findall(r"^\| ([\d, ]+) \|", page, re.MULTILINE)
    explained = {int(code) for row in rows for code in row.split(",")}
    # What the runner and the scripts name: constants, and lines such as `DONE, FAILED, BUSY = 0, 1, 75`.
    scripts = [ROLE / "files/dbjob", *PROJECT.glob("roles/*/files/jobs/*")]
    named = set()
    # A restore is a playbook's, and no job.
    for script in (path for path in scripts if path.is_file() and not path.name.startswith("restore_")):
        for names, codes in re.findall(r"^([A-Z_, ]+) = ([\d, ]+)(?:, 128 \+ .*)?$", script.read_text(), re.MULTILINE):
            if {"WRONG_SETTINGS", "FAILED", "BUSY"} & {name.strip() for name in names.split(",")}:
                named |= {int(code) for code in codes.split(",")}
    assert named >= {0, 1, 2, 69, 75, 124}
    assert named | {126, 127, 130, 137, 143} <= explained


def python_of_the_roles() -> list[Path]:
    """Every file of Python that goes to a host."""
    files = [path for path in (PROJECT / "roles").glob("*/files/**/*") if path.is_file()]
    return [
        path
        for path in files
        if path.suffix == ".py" or path.read_bytes()[:40].startswith((b"#!/usr/bin/env python3", b"#!/usr/bin/python3"))
    ]


def test_every_connection_says_its_encoding() -> None:
    # A database's own is the default, in which names of another one are no names.
    silent = []
    for path in python_of_the_roles():
        text = path.read_text()
        for call in ast.walk(ast.parse(text)):
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "psycopg2.connect":
                said = {keyword.arg for keyword in call.keywords}
                # What is given as a dictionary is made beside the call.
                if not ("client_encoding" in said or (None in said and "client_encoding" in text) or "async_" in said):
                    silent.append(path.name)
    assert silent == []
