"""What a wheel carries, and what a scenario of Molecule refuses to do elsewhere."""

from __future__ import annotations

import os
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def test_a_wheel_has_every_file_of_its_packages() -> None:
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["setuptools"]
    carried = settings["package-data"]
    left_out = []
    for path in (PROJECT / "src").rglob("*"):
        if path.is_dir() or path.suffix in (".py", ".pyc") or ".egg-info" in str(path):
            continue
        package = ".".join(path.parent.relative_to(PROJECT / "src").parts)
        if not any(fnmatch(path.name, pattern) for pattern in carried.get(package, [])):
            left_out.append(str(path.relative_to(PROJECT)))
    assert left_out == []


def test_every_folder_of_the_source_is_a_package() -> None:
    folders = {path.parent for path in (PROJECT / "src").rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_secrets_of_test_hosts_are_made_in_the_scenarios_folder_or_nowhere() -> None:
    inventory = PROJECT / "molecule/default/inventory"
    environment = {name: value for name, value in os.environ.items() if name != "MOLECULE_EPHEMERAL_DIRECTORY"}
    command = ["ansible", "-i", inventory, "localhost", "-m", "debug", "-a", "msg={{ local_directory }}"]
    done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "MOLECULE_EPHEMERAL_DIRECTORY" in done.stdout + done.stderr
