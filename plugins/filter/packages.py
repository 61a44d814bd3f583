"""Filters for what apt says of a package."""

from __future__ import annotations

import re
from collections.abc import Callable

NONE = "(none)"


def package_release(policy: str) -> dict[str, str | bool]:
    """Return what `apt-cache policy` says of a package: `installed`, `candidate`, and whether the candidate `waits`.

    Versions are Debian's, "" where there is none. apt takes a newer version for its candidate, or the installed one: an
    older one only where it is pinned above 1000, and that waits too.
    """
    found = dict(re.findall(r"^  (Installed|Candidate): (\S+)\s*$", policy, re.MULTILINE))
    installed, candidate = (found.get(name, NONE) for name in ("Installed", "Candidate"))
    return {
        "installed": "" if installed == NONE else installed,
        "candidate": "" if candidate == NONE else candidate,
        "waits": NONE not in (installed, candidate) and installed != candidate,
    }


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by their names in a template."""
        return {"package_release": package_release}
