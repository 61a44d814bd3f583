"""Every job of the database as the hosts run it: against the sample data, twice, on the primary and on the standby."""

import json

import pytest
from conftest import PROJECT, SITE, Play, Query, eventually
from testinfra.host import Host

testinfra_hosts = ["postgresql"]

PLAYBOOK = PROJECT / "playbooks/run_maintenance.yml"
DBJOB = "/usr/local/lib/mltrading-db/dbjob"
# Each job, the node whose it is, and whether it leaves a page for a person.
JOBS = {
    "maintenance_daily": ("primary", True),
    "maintenance_weekly": ("primary", True),
    "maintenance_monthly": ("primary", True),
    "retention": ("primary", True),
    "partitions": ("primary", False),
    "dump": ("standby", False),
    "drill_dump": ("standby", False),
}


def status(host: Host, job: str) -> dict[str, object]:
    """What the last run of a job wrote down."""
    return dict(json.loads(host.file(f"/var/lib/mltrading-db/status/{job}.json").content_string))


@pytest.mark.parametrize("job", JOBS)
def test_a_job_ends_well_twice_on_the_node_whose_it_is_and_leaves_the_other_alone(
    host: Host, query: Query, job: str
) -> None:
    role, has_page = JOBS[job]
    is_mine = role == ("standby" if query("SELECT pg_is_in_recovery()") == "t" else "primary")
    for _ in range(2):
        # What cron gives its jobs, and no more.
        run = host.run("env -i PATH=/usr/bin:/bin %s %s", DBJOB, job)
        assert run.rc == 0, run.stdout + run.stderr
        assert ("not my role" in run.stdout) == (not is_mine)
        found = status(host, job)
        assert (found["state"], found["exit_code"]) == ("ok" if is_mine else "not_my_role", 0)
        metrics = host.file(f"/var/lib/mltrading-db/metrics/{job}.prom").content_string
        assert f'mltrading_job_not_my_role{{job="{job}"}} {int(not is_mine)}\n' in metrics
        if is_mine and has_page:
            page = host.file(str(found["message"]).rpartition(" ")[2])
            assert (page.user, page.mode) == ("postgres", 0o640)
            assert "</html>" in page.content_string


def test_cron_starts_every_job(host: Host) -> None:
    lines = host.check_output("grep -h ' root ' /etc/cron.d/mltrading-db-*").splitlines()
    assert {*JOBS, "guard", "heartbeat", "health_history", "health_plans"} <= {line.split()[-2] for line in lines}
    # One that is due each minute: nobody else has started it.
    assert eventually(lambda: host.file("/var/lib/mltrading-db/status/heartbeat.json").exists)


def test_a_schedule_outside_of_the_window_is_refused(play: Play) -> None:
    run = play(SITE, "--tags", "mltrading", variables={"common_jobs_window": "12:00-13:00"})
    assert run.returncode != 0
    assert "maintenance_daily: '40 1 * * *' starts at 01:40 or up to 300 s later, outside 12:00-13:00" in " ".join(
        run.stdout.split()
    )
    assert "changed: [" not in run.stdout


def test_no_job_runs_beyond_the_window(host: Host) -> None:
    # Four hours from 03:10, and as long as until 06:00 on a host that begins last.
    limits = host.check_output("grep -h TIME_LIMIT /etc/mltrading-db/maintenance_*.env").splitlines()
    assert sorted(line.partition("=")[2] for line in limits) == sorted(["14400", "9900", "4500"])


@pytest.mark.parametrize("job", ["daily", "weekly", "monthly"])
def test_the_playbook_runs_a_job_on_the_primary_and_shows_what_it_did(
    host: Host, play: Play, query: Query, job: str
) -> None:
    name = str(host.backend.get_hostname())
    run = play(PLAYBOOK, "--limit", name, variables={"maintenance_job": job})
    said = " ".join(run.stdout.split())
    if query("SELECT pg_is_in_recovery()") == "f":
        assert run.returncode == 0, run.stdout + run.stderr
        assert f"maintenance_{job}: 0 failed" in said
        assert status(host, f"maintenance_{job}")["state"] == "ok"
    else:
        # To ask the standby alone is to have it run nowhere.
        assert run.returncode != 0
        assert f"{job} ran nowhere: {name} each said that it is not their role" in said


def test_the_playbook_says_what_a_dry_run_would_delete_and_changes_nothing(host: Host, play: Play) -> None:
    before = status(host, "retention")
    run = play(PLAYBOOK, variables={"maintenance_job": "retention", "maintenance_arguments": ["--dry-run"]})
    assert run.returncode == 0, run.stdout + run.stderr
    assert "public.predictions: 365 days by timestamp, archived" in run.stdout
    assert "not my role" in run.stdout
    assert "changed=0" in run.stdout
    # It is no success of the job.
    assert status(host, "retention") == before


def test_the_playbook_refuses_a_job_that_there_is_not(play: Play) -> None:
    run = play(PLAYBOOK, variables={"maintenance_job": "yearly"})
    assert run.returncode != 0
    assert "maintenance_job=daily, weekly, monthly or retention" in " ".join(run.stdout.split())
