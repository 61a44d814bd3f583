"""A line of the run's table: what was broken, what happened, and which rows were there afterwards."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Fault:
    """One line. `acknowledged` and `found` are of the oracle's rows, None where no row was in question."""

    fault: str
    happened: str = ""
    acknowledged: int | None = None
    found: int | None = None
    passed: bool = False
    began: float = field(default_factory=time.monotonic, repr=False)

    def accounts_for(self, acknowledged: set[int], found: set[int]) -> None:
        """Assert that no acknowledged row is missing."""
        self.acknowledged, self.found = len(acknowledged), len(acknowledged & found)
        missing = sorted(acknowledged - found)
        assert not missing, f"{len(missing)} acknowledged rows are lost, from {missing[0]} to {missing[-1]}"

    def exactly(self, expected: set[int], found: set[int]) -> None:
        """Assert that these rows are there and no others."""
        self.accounts_for(expected, found)
        assert not found - expected, f"{len(found - expected)} rows are there that were written later"

    def as_row(self) -> dict[str, Any]:
        """By the columns of the table."""
        return {
            "fault": self.fault,
            "what happened": self.happened if self.passed else f"**FAILED** {self.happened}",
            "acknowledged": self.acknowledged,
            "found": self.found,
            "seconds": round(time.monotonic() - self.began),
        }
