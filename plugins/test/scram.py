"""A Jinja test that tells whether a password is the one behind a SCRAM-SHA-256 verifier, as pg_authid keeps it.

A verifier is SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>, the last three in base64 (RFC 5802; PostgreSQL
documentation, pg_authid). StoredKey = SHA-256(HMAC(PBKDF2(password, salt, iterations), "Client Key")).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable

VERIFIER = re.compile(r"SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):(.+)")


def is_password_of(password: str, verifier: str | None) -> bool:
    """Tell whether a password belongs to a verifier.

    False also where it cannot be told: no verifier, another kind of it, or a password that is not plain ASCII, which
    the server prepares (SASLprep) before it hashes. The module that sets passwords then decides.
    """
    found = VERIFIER.fullmatch(verifier or "")
    if not found or not password.isascii():
        return False
    iterations, salt, stored_key, _server_key = found.groups()
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(iterations))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return hmac.compare_digest(hashlib.sha256(client_key).digest(), base64.b64decode(stored_key))


class TestModule:
    """What Ansible looks for."""

    def tests(self) -> dict[str, Callable[..., bool]]:
        """Return the tests by their names in a template."""
        return {"password_of": is_password_of}
