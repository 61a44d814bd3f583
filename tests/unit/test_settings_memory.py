"""Memory that the running server gives back counts as free; memory that the host has not does not."""

from __future__ import annotations

import pytest
from ansible.module_utils.pg_settings import memory
from ansible.module_utils.pg_settings.cluster import reason

MEMINFO = """MemTotal:        8000000 kB
SwapTotal:             0 kB
CommitLimit:     4000000 kB
Committed_AS:    3500000 kB
HugePages_Total:    1100
HugePages_Free:      600
HugePages_Rsvd:      500
HugePages_Surp:        0
Hugepagesize:       2048 kB
"""
# 2 GB of huge pages, and 1 GB of ordinary ones.
HUGE = "7f0000000000-7f0080000000 rw-s 00000000 00:10 77 /anon_hugepage (deleted)\n"
PLAIN = "7f0000000000-7f0040000000 rw-s 00000000 00:01 77 /dev/zero (deleted)\n"
GB = 1024 * memory.MB


@pytest.mark.parametrize(
    ("maps", "overcommit", "needed", "huge", "said"),
    [
        pytest.param("", 0, 7 * GB, False, "", id="within the memory"),
        pytest.param("", 1, 8 * GB, False, "8192 MB of shared memory are needed, and the host has 7812 MB", id="more"),
        pytest.param("", 2, GB, False, "the kernel commits 488 MB more", id="strict commit, too much"),
        pytest.param(PLAIN, 2, GB, False, "", id="strict commit, the running server's is given back"),
        pytest.param("", 0, GB, True, "512 huge pages are needed, and the host has 100", id="huge pages are taken"),
        pytest.param(HUGE, 0, GB, True, "", id="huge pages are given back"),
        pytest.param(HUGE, 0, 3 * GB, True, "1536 huge pages are needed, and the host has 1124", id="more huge pages"),
        pytest.param(PLAIN, 0, GB, True, "512 huge pages are needed", id="ordinary memory is no huge page"),
    ],
)
def test_memory_is_judged_as_after_the_stop(maps: str, overcommit: int, needed: int, huge: bool, said: str) -> None:
    found = memory.shortage(memory.read(MEMINFO, overcommit, 0, maps), needed, huge=huge)
    assert said in found if said else found == ""


def test_huge_pages_that_the_kernel_may_make_count() -> None:
    assert memory.shortage(memory.read(MEMINFO, 0, 600, ""), GB, huge=True) == ""


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        pytest.param("", "", id="nothing"),
        pytest.param("LOG:  database system is ready\n", "", id="no word of an end"),
        pytest.param(
            "2026-12-01 UTC [62]: user=,db= FATAL:  no\n2026-12-01 UTC [62]: user= HINT:  try\n\tthis\nLOG:  bye\n",
            "FATAL: no HINT: try",
            id="the last word and its hint",
        ),
        pytest.param("FATAL:  first\nLOG:  x\nFATAL:  second\nDETAIL:  d\n", "FATAL: second DETAIL: d", id="the last"),
        pytest.param(
            '[1] LOG:  unrecognized configuration parameter "x" in file "/a.conf" line 1\n'
            '[1] FATAL:  configuration file "/a.conf" contains errors\n',
            'unrecognized configuration parameter "x" in file "/a.conf" line 1 FATAL: configuration file "/a.conf" '
            "contains errors",
            id="a file with errors",
        ),
    ],
)
def test_the_reason_is_the_servers_own_last_word(log: str, expected: str) -> None:
    assert reason(log) == expected
