"""The new passwords take the place of the old ones on the controller, and a kill half-way costs none of them."""

import subprocess
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
# Each step, and what closes the block that it is in.
STEPS = {
    "cp --archive": "fi",
    'mv --no-target-directory secrets.partial "$before"': "fi",
    'mv --no-target-directory "$file"': "done",
    "rmdir": "",
}


def script() -> str:
    """The command of the playbook's last play."""
    task = yaml.safe_load((PROJECT / "playbooks/rotate_secrets.yml").read_text())[-1]["tasks"][0]
    return str(task["ansible.builtin.shell"]["cmd"])


def run(folder: Path, text: str) -> str:
    done = subprocess.run(["sh", "-c", text], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two roles, of which a run has made new passwords, and a passphrase that it does not know."""
    for name, values in {
        "secrets": {"a_password": "old", "b_password": "old", "cipher_passphrase": "kept"},
        "secrets.new": {"a_password": "new", "b_password": "new"},
    }.items():
        (tmp_path / name).mkdir()
        for file, value in values.items():
            (tmp_path / name / file).write_text(value)
    return tmp_path


NEW = {"a_password": "new", "b_password": "new", "cipher_passphrase": "kept"}


def test_what_was_not_rotated_stays_and_the_old_ones_are_kept(folder: Path) -> None:
    assert run(folder, script()) == "changed"
    assert contents(folder / "secrets") == NEW
    (kept,) = folder.glob("secrets.before-*")
    assert contents(kept) == {"a_password": "old", "b_password": "old", "cipher_passphrase": "kept"}
    assert not (folder / "secrets.new").exists()
    assert run(folder, script()) == ""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_swap_that_is_killed_is_done_by_the_next_run(folder: Path, step: str, when: str) -> None:
    lines = script().splitlines()
    (number,) = [number for number, line in enumerate(lines) if step in line]
    command = lines[number].strip().removesuffix("; fi").removeprefix('if [ -e "$file" ]; then ')
    killed = [*lines[:number], "exit 0" if when == "before" else f"{command}; exit 0", STEPS[step]]
    run(folder, "\n".join(killed))
    assert contents(folder / "secrets").keys() == NEW.keys()
    assert contents(folder / "secrets")["cipher_passphrase"] == NEW["cipher_passphrase"]
    run(folder, script())
    assert contents(folder / "secrets") == NEW
    assert not (folder / "secrets.new").exists()
