"""No secret of the environment is anywhere but in the files that have to hold it.

The first run, from blank hosts, was watched: at -vvvv with --diff it said all that Ansible can say.
"""

from pathlib import Path

import pytest
from canaries import MAY, canaries, found_below, found_in, found_on
from environment import EPHEMERAL, NODES, RUNS, Node, mldb

pytestmark = pytest.mark.timeout(1200)
PLACES = ["controller", *(node.short for node in NODES)]


def test_the_run_said_no_secret(applied: Path) -> None:
    output = (applied / "output").read_text()
    assert "TASK [" in output
    assert found_in(output) == set()


def test_ansible_itself_said_no_secret(applied: Path) -> None:
    """Before mldb looked for secrets in what it said: the roles keep them from it."""
    log = (applied / "ansible.log").read_text()
    assert "ESTABLISH DOCKER CONNECTION" in log
    assert found_in(log) == set()


def test_the_events_that_are_kept_hold_no_secret(applied: Path) -> None:
    kept = [path for path in RUNS.rglob("*") if path.is_file()]
    assert any(path.name == "events.jsonl" and path.stat().st_size > 100_000 for path in kept), applied
    assert found_below(RUNS) == {}


@pytest.mark.parametrize("place", PLACES)
def test_no_process_had_a_secret_in_its_command_line_or_environment(applied: Path, place: str) -> None:
    seen = (applied / "processes" / place).read_text(errors="replace")
    assert seen.count("\ncmdline ") > 20
    assert seen.count("\nenviron ") > 5
    assert found_in(seen) == set()


@pytest.mark.usefixtures("applied")
def test_no_file_of_the_controller_holds_a_secret_in_clear() -> None:
    assert found_below(EPHEMERAL) == {}


@pytest.mark.usefixtures("applied")
@pytest.mark.parametrize("node", NODES, ids=lambda node: node.short)
def test_the_files_of_a_host_that_hold_secrets_are_those_that_have_to(node: Node) -> None:
    may = {path: (kept, names) for (host, path), (kept, names) in MAY.items() if host == node}
    found = found_on(node)
    # Each is found, so that the search is one that finds.
    assert found == {path: names for path, (_, names) in may.items()}
    assert {path: node.do(f"stat --format='%U:%G %a' {path}") for path in found} == {
        path: kept for path, (kept, _) in may.items()
    }


@pytest.mark.usefixtures("applied")
@pytest.mark.parametrize("node", NODES, ids=lambda node: node.short)
def test_the_journal_of_a_host_holds_no_secret(node: Node) -> None:
    journal = node.do("journalctl --no-pager --output=json")
    assert len(journal) > 10_000
    assert found_in(journal) == set()


@pytest.mark.usefixtures("applied")
def test_what_an_environment_says_differently_is_said_without_secrets() -> None:
    done = mldb("diff", "life", "production", "--json")
    assert done.returncode == 0, done.stderr
    assert "monitoring_receiver" in done.stdout
    assert found_in(done.stdout + done.stderr) == set()
    assert len(canaries()) >= 20
