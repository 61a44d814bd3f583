"""The one question whether a certificate still serves, and whether the checks are told of it."""

from __future__ import annotations

import hashlib
import os
import pwd
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "roles/tls/files/certificate_state.sh"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a certificate that is its own authority."""
    found = tmp_path / "tls"
    found.mkdir()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", str(found / "server.key"), "-out", str(found / "server.crt"), "-days", "90", "-subj", "/CN=db1",
         "-addext", "subjectAltName=DNS:db1"],
        check=True, capture_output=True,
    )  # fmt: skip
    (found / "ca.crt").write_bytes((found / "server.crt").read_bytes())
    (found / "server.key").chmod(0o600)
    return found


def said(folder: Path, days: int = 30) -> str:
    """What the script says."""
    digest = hashlib.sha256((folder / "ca.crt").read_bytes()).hexdigest()
    owner, record = pwd.getpwuid(os.getuid()).pw_name, folder.parent / "record"
    arguments = [str(folder), owner, digest, str(days * 86400), "DNS:db1", str(record)]
    return subprocess.check_output(["sh", str(SCRIPT), *arguments], text=True).strip()


def test_a_certificate_that_the_checks_are_not_told_of_is_unrecorded(folder: Path) -> None:
    assert said(folder) == "unrecorded"
    (folder.parent / "record").write_text(f"{folder}\n")
    assert said(folder) == "ok"
    (folder.parent / "record").write_text("/elsewhere\n")
    assert said(folder) == "unrecorded"


def test_a_certificate_that_ends_soon_is_made_anew_recorded_or_not(folder: Path) -> None:
    assert said(folder, days=100) == "server.crt ends soon"
