"""Secrets, and how they are kept out of everything that is shown or written.

Roles hide their secrets themselves (no_log, diff: false). This is the second net: whatever a run says is searched for
the values of the environment's secrets before it is shown or kept.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote

# A variable or a key within one, as roles, Ansible (ansible_become_pass), pgBackRest (repo1-s3-key-secret,
# repo1-cipher-pass) and Alertmanager (auth_password, api_url with its token) name theirs.
SECRET_NAME = re.compile(
    r"(^|[_-])(pass|passwd|password|passphrase|secret|token|credentials|private_key|provided_key|"
    r"(api|s3|routing|service|user|gcs|azure)[_-]key|api_url|webhook_url)\Z"
)
MASK = "********"
# Shorter values are words that stand everywhere; the roles refuse such a secret anyway.
SHORTEST = 8


def is_secret(name: str) -> bool:
    """Whether a variable or a key of this name holds a secret."""
    return bool(SECRET_NAME.search(name))


def secrets_of(name: str, value: object) -> Iterator[str]:
    """The secrets of a variable, however deep in it they stand: all texts below a name that says so."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from secrets_of(name if is_secret(name) else str(key), one)
    elif isinstance(value, list):
        for one in value:
            yield from secrets_of(name, one)
    elif is_secret(name) and isinstance(value, (str, int)) and not isinstance(value, bool) and value != "":
        # The text as it is: its type says whether it may be a template.
        yield value if isinstance(value, str) else str(value)


def hidden(name: str, value: Any) -> Any:
    """A variable's value as it may be shown; expressions are no secrets."""
    if isinstance(value, dict):
        return {key: hidden(name if is_secret(name) else str(key), one) for key, one in value.items()}
    if isinstance(value, list):
        return [hidden(name, one) for one in value]
    return MASK if is_secret(name) and value not in (None, "") and "{{" not in str(value) else value


def forms(secret: str) -> Iterator[str]:
    """A secret as it may stand in a text: as it is, in JSON and in JSON within JSON, in a URL, in base64."""
    yield secret
    for ascii_only in (True, False):
        once = json.dumps(secret, ensure_ascii=ascii_only)[1:-1]
        yield from (once, json.dumps(once, ensure_ascii=ascii_only)[1:-1])
    yield quote(secret, safe="")
    yield base64.b64encode(secret.encode()).decode()


class Masker:
    """Replaces secrets."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """Take the values; the longest is looked for first, as one may stand in another."""
        found = {form for secret in secrets if len(secret) >= SHORTEST for form in forms(secret)}
        values = sorted(found, key=len, reverse=True)
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
