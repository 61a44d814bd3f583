"""How many twins stand at a time?"""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.pg_optimization.batch import shares
from ansible.module_utils.pg_optimization.declaration import parse
from ansible.module_utils.pg_optimization.model import Name

CASES: dict[str, tuple[list[int], list[list[int]]]] = {
    "none": ([], [[]]),
    "few": ([1, 1], [[0, 1]]),
    "as many as may be": ([3, 3], [[0, 1]]),
    "one too many": ([3, 4], [[0], [1]]),
    "one that is too big by itself": ([1, 20, 1, 1], [[0], [1], [2, 3]]),
}


@pytest.mark.parametrize(("indexes", "expected"), CASES.values(), ids=CASES)
def test_tables_are_looked_at_in_shares(indexes: list[int], expected: list[list[int]]) -> None:
    class Table:
        def __init__(self, number: int) -> None:
            self.name = Name("public", f"t{number}")

    declared = [
        {"name": f"i{table}_{number}", "table": f"t{table}", "columns": ["a"]}
        for table, count in enumerate(indexes)
        for number in range(count)
    ]
    tables: list[Any] = [Table(number) for number in range(len(indexes))]
    made = shares(parse({"indexes": declared})[0], tables, 10)
    assert [[tables.index(table) for table in share] for share in made] == expected
