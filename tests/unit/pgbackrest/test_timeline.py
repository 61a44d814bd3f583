"""Whether the repository has a backup of the timeline that the server writes."""

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar

ROLE = Path(__file__).parents[3] / "roles/pgbackrest"


@pytest.fixture(scope="module", autouse=True)
def plugins() -> None:
    """Have Ansible find its filters, as its commands do."""
    init_plugin_loader()


def backups(timeline: int, *segments: str) -> Any:
    """How many of the backups that begin in these segments are of that timeline."""
    loader = DataLoader()
    info = [{"backup": [{"archive": {"start": segment}} for segment in segments], "db": [], "repo": []}]
    variables = {
        **loader.load_from_file(str(ROLE / "vars/main.yml"), trusted_as_template=True),
        "__pgbackrest_info": {"stdout": json.dumps(info)},
        "__pgbackrest_answer": {"stdout": json.dumps({"primary": True, "timeline": timeline})},
    }
    return int(Templar(loader=loader, variables=variables).template(variables["__pgbackrest_backups"]))


CASES = [
    pytest.param(1, (), 0, id="none"),
    pytest.param(1, ("000000010000000000000006",), 1, id="one"),
    pytest.param(2, ("000000010000000000000006",), 0, id="of-the-timeline-before"),
    pytest.param(10, ("000000090000000000000006", "0000000A0000000000000008"), 1, id="in-hexadecimal"),
    pytest.param(16, ("0000000A0000000000000008", "000000010000001000000008"), 0, id="of-no-other-part-of-the-name"),
]


@pytest.mark.parametrize(("timeline", "segments", "count"), CASES)
def test_a_backup_of_another_timeline_is_none_of_this_one(timeline: int, segments: tuple[str, ...], count: int) -> None:
    assert backups(timeline, *segments) == count
