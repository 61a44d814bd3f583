"""Whose certificates hosts hold decides whether they may be given others, and when a rotation may go on."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import dataclass
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
    ("kept", "trusted", "says"),
    [
        pytest.param([], [OLD], "", id="nothing in the vault"),
        pytest.param([OLD], [], "", id="a controller without the folder"),
        pytest.param([OLD], [OLD], "", id="the same"),
        pytest.param([OLD], [NEW, OLD], "", id="the one before, in the middle of a rotation"),
        pytest.param(
            [OLD], [NEW], "write ca.crt and ca.key of that folder into the vault", id="the one before, after it"
        ),
        pytest.param([NEW], [OLD], "move the folder aside", id="rotated on another controller"),
    ],
)
def test_vault_and_folder_go_together(kept: list[str], trusted: list[str], says: str) -> None:
    problem = filters.vault_problem(kept, trusted, "/ca")
    assert (says in problem) if says else problem == ""


@dataclass(frozen=True)
class Step:
    """A step that is asked for: what db1 and db2 answered, and the authorities that there are."""

    name: str
    states: dict[str, list[str]]
    says: str
    signing: str = OLD
    coming: str = ""
    kept: str = ""


BOTH = {host: [f"/tls {OLD},{NEW}"] for host in ("db1", "db2")}
STEPS = {
    "it begins": Step("prepare", {"db1": [f"/tls {OLD}"], "db2": []}, ""),
    "every host trusts the next": Step("switch", {**BOTH, "db2": []}, "", coming=NEW),
    "a host does not trust the next": Step(
        "switch", {**BOTH, "db2": [f"/tls {OLD}"]}, "authority yet: db2", coming=NEW
    ),
    "every host has a new certificate": Step("finish", BOTH, ""),
    "a host still has an old one": Step("finish", {**BOTH, "db2": [f"/tls {NEW},{OLD}"]}, "authority yet: db2"),
    "the vault has the one before": Step("finish", BOTH, "the vault still keeps", kept=NEW),
    "a host was not asked": Step("switch", {"db1": BOTH["db1"]}, "db2 was not", coming=NEW),
    "a controller without the authority": Step("prepare", {"db1": [], "db2": []}, "no authority yet", signing=""),
    "no such step": Step("revoke", BOTH, "is prepare, switch or finish"),
}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_step_waits_for_every_host(step: Step) -> None:
    authorities = {"signing": step.signing, "next": step.coming, "vault": step.kept}
    problem = filters.rotation_problem(step.name, step.states, ["db1", "db2"], authorities)
    assert (step.says in problem) if step.says else problem == ""


def answered(records: Path) -> str:
    """What a host prints of its certificates."""
    script = ["sh", str(PROJECT / "roles/tls/files/authorities.sh"), str(records), "internal CA"]
    return subprocess.check_output(script, text=True)


@pytest.fixture
def held(tmp_path: Path) -> Path:
    """A folder with certificates that the checks are told of, in `records`."""
    records, folder = tmp_path / "records", tmp_path / "tls"
    for made in (records, folder):
        made.mkdir()
    (records / "one").write_text(f"{folder}\n")
    return folder


@pytest.mark.parametrize("signer", [0, 1])
def test_a_host_says_who_signed_before_whom_else_it_trusts(tmp_path: Path, held: Path, signer: int) -> None:
    texts = [make_authority(tmp_path, name) for name in ("internal CA", "internal CA of today")]
    assert answered(tmp_path / "records") == ""
    (held / "server.crt").write_text(texts[signer])
    (held / "ca.crt").write_text("".join(texts))
    prints = [filters.certificate_fingerprints(text)[0] for text in texts]
    first, other = prints[signer], prints[1 - signer]
    assert answered(tmp_path / "records") == f"{held} {first},{other}\n"


def test_a_certificate_that_is_brought_along_is_nobody_else_s_concern(tmp_path: Path, held: Path) -> None:
    for file in ("server.crt", "ca.crt"):
        (held / file).write_text(make_authority(tmp_path, "Example Corp CA"))
    assert answered(tmp_path / "records") == ""


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
