"""Whose certificates hosts hold decides whether they may be given others, and when a rotation may go on."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

PROJECT = Path(__file__).resolve().parents[3]
OLD, NEW, OTHER = "a" * 64, "b" * 64, "c" * 64


def load(path: str) -> ModuleType:
    """A file of the project as a module."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, PROJECT / path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


filters = load("plugins/filter/authority.py")
rotation = load("roles/tls/files/rotate_authority.py")


def make_authority(folder: Path, name: str) -> str:
    """A self-signed certificate with its key; its text."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "9",
         "-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt"), "-subj", f"/CN={name}"],
        check=True, capture_output=True,
    )  # fmt: skip
    return (folder / f"{name}.crt").read_text()


@pytest.mark.parametrize(
    ("lines", "trusted", "says"),
    [
        pytest.param([], [], "", id="a blank host, a first run"),
        pytest.param([], [OLD], "", id="a blank host"),
        pytest.param([f"/tls {OLD}"], [OLD], "", id="the same authority"),
        pytest.param([f"/tls {OLD}"], [NEW, OLD], "", id="the authority before, which is still trusted"),
        pytest.param([f"/tls {NEW},{OLD}"], [OLD, NEW], "", id="the next authority signs already"),
        pytest.param([f"/tls {OTHER}"], [OLD], "another one (aaaaaaaaaaaaaaaa…)", id="another authority"),
        pytest.param([f"/tls {OTHER},{OLD}"], [OLD], "another one", id="signed by another, trusts this one"),
        pytest.param([f"/tls {OLD}"], [], "/ca has none", id="a controller without the authority"),
        pytest.param([f"/one {OLD}", f"/two {OTHER}"], [OLD], "in /two", id="one folder of two"),
    ],
)
def test_a_host_of_another_authority_is_refused(lines: list[str], trusted: list[str], says: str) -> None:
    problem = filters.authority_problem(lines, trusted, "db1", "/ca")
    assert (says in problem) if says else problem == ""
    if says:
        assert problem.startswith("db1 holds certificates")
        assert "tls_replace_authority=true" in problem


@pytest.mark.parametrize(
    ("step", "states", "coming", "says"),
    [
        pytest.param("prepare", {"db1": [f"/tls {OLD}"]}, "", "", id="it begins"),
        pytest.param("switch", {"db1": [f"/tls {OLD},{NEW}"], "db2": []}, NEW, "", id="every host trusts the next"),
        pytest.param(
            "switch", {"db1": [f"/tls {OLD}"]}, NEW, "not every host trusts the next authority yet: db1", id="early"
        ),
        pytest.param("finish", {"db1": [f"/tls {OLD},{NEW}"]}, "", "", id="every host is signed by the one that signs"),
        pytest.param(
            "finish", {"db1": [f"/tls {NEW},{OLD}"]}, "", "of the new authority yet: db1", id="a host that was away"
        ),
        pytest.param("revoke", {}, "", "is prepare, switch or finish", id="no such step"),
    ],
)
def test_a_step_waits_for_the_hosts(step: str, states: dict[str, list[str]], coming: str, says: str) -> None:
    problem = filters.rotation_problem(step, states, OLD, coming)
    assert (says in problem) if says else problem == ""


def test_a_host_says_what_it_trusts_as_the_controller_reads_it(tmp_path: Path) -> None:
    texts = [make_authority(tmp_path, name) for name in ("old", "new")]
    records, folder = tmp_path / "records", tmp_path / "tls"
    for made in (records, folder):
        made.mkdir()
    (records / "one").write_text(f"{folder}\n")
    script = ["sh", str(PROJECT / "roles/tls/files/authorities.sh"), str(records)]
    assert subprocess.check_output(script, text=True) == ""
    (folder / "server.crt").write_text("any")
    (folder / "ca.crt").write_text("".join(texts))
    prints = ",".join(filters.certificate_fingerprints("".join(texts)))
    assert subprocess.check_output(script, text=True) == f"{folder} {prints}\n"
    assert len(set(prints.split(","))) == 2


@pytest.mark.parametrize("killed_after", range(5))
def test_a_switch_that_was_killed_goes_on(tmp_path: Path, killed_after: int) -> None:
    for name in ("ca", "next"):
        make_authority(tmp_path, name)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    steps = [
        lambda: (tmp_path / "previous.key").write_bytes(before["ca.key"]),
        lambda: (tmp_path / "previous.crt").write_bytes(before["ca.crt"]),
        lambda: (tmp_path / "next.key").replace(tmp_path / "ca.key"),
        lambda: (tmp_path / "next.crt").replace(tmp_path / "ca.crt"),
    ]
    for step in steps[:killed_after]:
        step()
    assert rotation.switch(tmp_path) is (killed_after < 4)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "ca.key": before["next.key"],
        "ca.crt": before["next.crt"],
        "previous.key": before["ca.key"],
        "previous.crt": before["ca.crt"],
    }
    assert not rotation.switch(tmp_path)
    assert rotation.finish(tmp_path)
    assert not rotation.finish(tmp_path)
    (aside,) = tmp_path.glob("retired-*")
    assert (aside / "ca.key").read_bytes() == before["ca.key"]


def test_a_step_out_of_order_is_refused(tmp_path: Path) -> None:
    make_authority(tmp_path, "ca")
    assert rotation.main([str(tmp_path), "switch"]) == 1
    make_authority(tmp_path, "next")
    assert rotation.main([str(tmp_path), "finish"]) == 1
    assert rotation.main([str(tmp_path), "turn"]) == 2
