"""What apt says of a package, and what is said of a release that waits."""

import importlib.util
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location("packages", Path(__file__).parents[2] / "plugins/filter/packages.py")
assert SPEC is not None
assert SPEC.loader is not None
packages = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(packages)

POLICY = """postgresql-17:
  Installed: {}
  Candidate: {}
  Version table:
 *** 17.12-0+deb13u1 500
        500 http://deb.debian.org/debian trixie/main amd64 Packages
        100 /var/lib/dpkg/status
"""


@pytest.mark.parametrize(
    ("policy", "installed", "candidate", "waits"),
    [
        pytest.param(POLICY.format("17.12-0", "17.12-0"), "17.12-0", "17.12-0", False, id="the-newest"),
        pytest.param(POLICY.format("17.12-0", "17.13-0"), "17.12-0", "17.13-0", True, id="a-newer-one"),
        pytest.param(POLICY.format("(none)", "17.13-0"), "", "17.13-0", False, id="not-installed"),
        pytest.param(POLICY.format("17.12-0", "(none)"), "17.12-0", "", False, id="in-no-list"),
        pytest.param("", "", "", False, id="unknown"),
    ],
)
def test_a_release_waits_where_apt_has_another_one(policy: str, installed: str, candidate: str, waits: bool) -> None:
    assert packages.package_release(policy) == {"installed": installed, "candidate": candidate, "waits": waits}
