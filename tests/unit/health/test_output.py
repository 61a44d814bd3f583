"""What the plays leave on the controller is for its owner alone: answers and statements carry values."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

# Each plays a playbook or more.
pytestmark = pytest.mark.faults

PROJECT = Path(__file__).resolve().parents[3]
PLAY = """
- hosts: localhost
  gather_facts: false
  connection: local
  tasks:
    - ansible.builtin.import_role: {name: postgresql_health, tasks_from: PART}
"""


@pytest.mark.parametrize("part", ["check", "report"])
def test_the_answers_and_the_page_are_for_their_owner_alone(tmp_path: Path, part: str) -> None:
    play, output = tmp_path / "play.yml", tmp_path / "health"
    play.write_text(PLAY.replace("PART", part))
    output.mkdir(mode=0o755)
    command = [PROJECT / ".venv/bin/ansible-playbook", "-i", "localhost,", "-e", f"postgresql_health_output={output}",
               "-e", f"inventory_dir={tmp_path / 'lab'}", play]  # fmt: skip
    done = subprocess.run(command, cwd=PROJECT, env={**os.environ, "PYTHONPATH": str(PROJECT / "src")},
                          capture_output=True, text=True, check=False, umask=0o022)  # fmt: skip
    files = sorted(output.iterdir())
    assert len(files) == {"check": 1, "report": 2}[part], done.stdout + done.stderr
    assert output.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
