"""When the last transaction ended that the repository alone can bring back, in seconds since 1970.

Runs on the repository host, beside the project's own scripts, which it asks.
"""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, "/usr/local/lib/mltrading-db")

from plan_restore import Log, last_commit, look
from repository import configured_repository

repository = configured_repository()
now = look(repository, None)
backup = now.backups[-1]
binaries = Path(f"/usr/lib/postgresql/{now.archive.version}/bin")
with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
    log = Log(repository, now.files, Path(scratch), binaries / "pg_waldump")
    sys.stdout.write(f"{last_commit(log, now.run(backup), backup)}\n")
