#!/usr/bin/env python3
"""Move the files of a certificate authority from one step of its rotation to the next, on the controller.

usage: rotate_authority.py FOLDER switch|finish

ca.crt and ca.key sign. next.crt and next.key are trusted, and sign after `switch`; previous.crt is trusted until
`finish`, which puts it and its key into a folder of their own: nothing is deleted. Run again after it was killed, each
step goes on. Prints `changed` where it changed something.
"""

from __future__ import annotations

import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path


def switch(folder: Path) -> bool:
    """Have the next authority sign, and the one before it be trusted; whether anything was changed.

    Raises:
        RuntimeError: there is no next one.
    """
    if not (folder / "next.crt").exists():
        if (folder / "previous.crt").exists():
            return False
        msg = f"{folder} has no next.crt: the step before is `prepare`."
        raise RuntimeError(msg)
    # The old one is copied first, then its key is replaced, the certificate last. Without next.key that was begun.
    if (folder / "next.key").exists():
        for kind in ("key", "crt"):
            shutil.copy2(folder / f"ca.{kind}", folder / f"previous.{kind}")
        (folder / "next.key").replace(folder / "ca.key")
    (folder / "next.crt").replace(folder / "ca.crt")
    return True


def finish(folder: Path) -> bool:
    """Trust the previous authority no longer; whether anything was changed.

    Raises:
        RuntimeError: the next one does not sign yet.
    """
    if (folder / "next.crt").exists():
        msg = f"{folder} still has a next.crt: the step before is `switch`."
        raise RuntimeError(msg)
    left = [folder / name for name in ("previous.key", "previous.crt") if (folder / name).exists()]
    if not left:
        return False
    aside = folder / f"retired-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    aside.mkdir(mode=0o700)
    for path in left:
        path.replace(aside / path.name.replace("previous", "ca"))
    return True


def main(arguments: list[str]) -> int:
    """Take the step; the exit code says whether it could be taken."""
    try:
        folder, step = arguments
        changed = {"switch": switch, "finish": finish}[step](Path(folder))
    except (ValueError, KeyError):
        sys.stderr.write(__doc__ or "")
        return 2
    except (OSError, RuntimeError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("changed\n" if changed else "")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
