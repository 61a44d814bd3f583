"""Makes the modules and their own code importable as Ansible does it on a host."""

from __future__ import annotations

from pathlib import Path

import ansible.module_utils
import ansible.modules
import pytest

ROOT = Path(__file__).resolve().parent.parent
ansible.module_utils.__path__.append(str(ROOT / "plugins" / "module_utils"))
ansible.modules.__path__.append(str(ROOT / "plugins" / "modules"))


def pytest_configure(config: pytest.Config) -> None:
    """Name the markers."""
    config.addinivalue_line(
        "markers",
        "faults: interrupts, blocks and kills servers, repeats on another major, or plays playbooks; takes minutes",
    )
