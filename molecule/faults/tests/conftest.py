"""What the faults share: the cluster, the oracle, and the line of the table that each test writes."""

import re
from collections.abc import Callable, Iterator

import pytest
from harness import EPHEMERAL, PROJECT, RELEASE, SEED, Cluster
from oracle import Oracle, login, make_table
from results import keep
from table import Fault

OUTCOME = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Know the tests that `make test` runs, too."""
    config.addinivalue_line("markers", "core: one fault of each kind, run by `make test` against its own hosts")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Remember whether the test itself passed."""
    report = yield
    if report.when == "call":  # type: ignore[attr-defined]
        item.stash[OUTCOME] = report.passed  # type: ignore[attr-defined]
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what chose the random targets, so that the same can be chosen again."""
    terminalreporter.write_line(f"FAULTS_SEED={SEED}")


@pytest.fixture(scope="session")
def hosts() -> Cluster:
    """The hosts, provisioned or not."""
    return Cluster()


@pytest.fixture(scope="session")
def provisioned(hosts: Cluster) -> Cluster:
    """The hosts, provisioned: by the test that does it under faults, or here where that one was not asked for."""
    hosts.provision()
    return hosts


@pytest.fixture
def cluster(provisioned: Cluster) -> Iterator[Cluster]:
    """The cluster, whole before the fault and after it."""
    provisioned.heal()
    provisioned.is_whole()
    yield provisioned
    provisioned.is_whole()


@pytest.fixture
def fault(request: pytest.FixtureRequest) -> Iterator[Fault]:
    """The test's line of the table, which its docstring names."""
    parameters = getattr(request.node, "callspec", None)
    name = str(request.function.__doc__).splitlines()[0].rstrip(".")
    line = Fault(name.format(**parameters.params if parameters else {}))
    yield line
    line.passed = request.node.stash.get(OUTCOME, False)
    keep(PROJECT / ".lab/results", "faults", RELEASE, line.as_row())


@pytest.fixture(scope="session")
def secret() -> Callable[[str], str]:
    """A password of the environment, by its variable's name."""
    return lambda name: (EPHEMERAL / "secrets" / name).read_text().split()[0]


@pytest.fixture
def oracle(provisioned: Cluster, request: pytest.FixtureRequest) -> Iterator[Oracle]:
    """Writers at work, on a table of their own."""
    primary = next(node for node in (provisioned.db1, provisioned.db2) if node.writes())
    make_table(primary)
    name = re.sub(r"\W+", "-", request.node.name)
    oracle = Oracle(EPHEMERAL / f"oracle-{name}.log", **login(provisioned))
    oracle.start()
    yield oracle
    oracle.stop()
