"""Filters for SCRAM-SHA-256 verifiers, what PostgreSQL keeps in pg_authid in place of a password.

A verifier is SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>, the last three in base64, where the keys come
from PBKDF2(password, salt, iterations) as in RFC 5802 (PostgreSQL documentation, pg_authid and sasl-authentication).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable

VERIFIER = re.compile(r"SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):(.+)")
# PostgreSQL's own defaults (scram_iterations, SCRAM_DEFAULT_SALT_LEN).
ITERATIONS = 4096
SALT_BYTES = 16


def verifier(password: str, salt: bytes, iterations: int = ITERATIONS) -> str:
    """Return the verifier of a password.

    Raises:
        ValueError: the password is not plain ASCII; others are prepared by the server (SASLprep) before it hashes.
    """
    if not password.isascii():
        msg = "a password is plain ASCII here"
        raise ValueError(msg)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    encoded = [base64.b64encode(part).decode() for part in (salt, stored_key, server_key)]
    return f"SCRAM-SHA-256${iterations}:{encoded[0]}${encoded[1]}:{encoded[2]}"


def scram_verifier(password: str) -> str:
    """Return a verifier of a password with a salt of its own, so that the password itself is never sent or logged."""
    return verifier(password, secrets.token_bytes(SALT_BYTES))


def is_password_of(password: str, found: str | None) -> bool:
    """Tell whether a password belongs to a verifier; False also for no verifier and for another kind of it."""
    parts = VERIFIER.fullmatch(found or "")
    if not parts or not password.isascii():
        return False
    iterations, salt = int(parts[1]), base64.b64decode(parts[2])
    return hmac.compare_digest(verifier(password, salt, iterations), parts[0])


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by their names in a template."""
        return {"scram_verifier": scram_verifier, "is_password_of": is_password_of}
