"""Secrets, and how they are kept out of everything that is shown or written.

Roles hide their secrets themselves (no_log, diff: false). This is the second net: whatever a run says is searched for
the values of the environment's secrets before it is shown or kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

SECRET_NAME = re.compile(r"(^|_)(password|passphrase|secret|token|private_key|provided_key)$")
MASK = "********"
# Shorter values are words that stand everywhere; the roles refuse such a secret anyway.
SHORTEST = 8


def is_secret(name: str) -> bool:
    """Whether a variable of this name holds a secret."""
    return bool(SECRET_NAME.search(name))


class Masker:
    """Replaces secrets."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """Take the values; the longest is looked for first, as one may stand in another."""
        values = sorted({value for value in secrets if len(value) >= SHORTEST}, key=len, reverse=True)
        self.pattern = re.compile("|".join(map(re.escape, values))) if values else None

    def text(self, text: str) -> str:
        """The text without secrets."""
        return self.pattern.sub(MASK, text) if self.pattern else text

    def value(self, value: Any) -> Any:
        """A JSON value without secrets, keys included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(key)): self.value(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self.value(one) for one in value]
        return value
