"""Ends a job with its exit code, and in a sentence whatever happens: a traceback tells nobody what to do."""

from __future__ import annotations

import configparser
import subprocess
import sys
from collections.abc import Callable
from typing import NoReturn

import psycopg2
from repository import RepositoryError

# What a job's surroundings may do to it: a server, a program, a file or an answer that is not as it is to be.
FAILURES = (
    RepositoryError,
    psycopg2.Error,
    OSError,
    subprocess.SubprocessError,
    configparser.Error,
    ValueError,
    LookupError,
    StopIteration,
)


def reason(error: BaseException) -> str:
    """What went wrong, in one line: a program's own words where it was one that failed."""
    said = error.stderr or error.stdout if isinstance(error, subprocess.CalledProcessError) else ""
    words = said.decode(errors="replace") if isinstance(said, bytes) else said or ""
    name = type(error).__name__ if isinstance(error, ValueError | LookupError | StopIteration) else ""
    return " ".join(f"{name} {error} {words}".split())


def run_job(main: Callable[[], int], failed: int = 1) -> NoReturn:
    """Run a job and exit with its code; with `failed` where it was ended by one of FAILURES."""
    try:
        code = main()
    except FAILURES as error:
        print(f"failed: {reason(error)}", file=sys.stderr)
        code = failed
    sys.exit(code)
