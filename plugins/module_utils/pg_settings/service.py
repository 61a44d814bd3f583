"""Start and restart a server; where it does not come back, put its settings back and start it with them."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.pg_settings import dropins, trial
from ansible.module_utils.pg_settings.cluster import Cluster, SettingsError, ends, environment, reason, written_since

# Seconds for which a server is missing before it counts as one that does not start: systemd may be about to start it.
MISSING = 3
# Seconds for a stop, which writes out what is in memory, and for a start.
STOP = 3600


@dataclass(frozen=True)
class Service:
    """A cluster as systemd runs it. `logs` are the files and folders that it logs to; `patience` is in seconds."""

    cluster: Cluster
    unit: str
    logs: tuple[Path, ...]
    patience: int

    def log_files(self) -> list[Path]:
        """Return the files that it logs to."""
        return [file for path in self.logs for file in (path.glob("*.log") if path.is_dir() else [path])]

    def systemctl(self, verb: str) -> None:
        """Have systemd do something with the unit. What became of it is asked of the server."""
        try:
            subprocess.run(
                ["systemctl", verb, self.unit],
                env=environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=STOP,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise SettingsError(f"systemctl {verb} {self.unit} did not end within {STOP} s") from None

    def wait(self, former: int | None) -> bool:
        """Wait until a server answers that is not the former one, by its process; False where none is there."""
        until = time.monotonic() + self.patience
        missing = time.monotonic()
        while time.monotonic() < until:
            lines = self.cluster.pidfile()
            if lines and int(lines[0]) != former:
                if self.cluster.answers:
                    return True
                missing = time.monotonic()
            elif time.monotonic() - missing > MISSING:
                return False
            time.sleep(0.1)
        raise SettingsError(
            f"the server was started and lets nobody in after {self.patience} s. It may be recovering, as after a "
            f"crash: its log says how far it is ({', '.join(map(str, self.logs))}). Run this again once it answers."
        )


def bring_up(service: Service, verb: str, since: int | None) -> None:
    """Start or restart it by systemd; `since` is when the server was started that had its former settings.

    Raises:
        SettingsError: It does not start; what it said, and what runs now.
    """
    cluster = service.cluster
    before = ends(service.log_files())
    former = cluster.pidfile()
    service.systemctl(verb)
    if service.wait(int(former[0]) if former and verb == "restart" else None):
        return
    said = reason(written_since(before, service.log_files())) or "its log says nothing of why"
    files = list(dropins.changed_since(cluster, since)) if since is not None else []
    if not files:
        raise SettingsError(f"the server does not start, and no file was changed since it last did: {said}")
    # Meanwhile systemd tries again by itself.
    service.systemctl("stop")
    names = ", ".join(str(path) for path in dropins.put_back(cluster, since or 0))
    service.systemctl("start")
    if service.wait(None):
        raise SettingsError(f"the server did not start. {names} was put back, and it runs with that. It said: {said}")
    raise SettingsError(f"the server did not start, and does not with {names} put back either. It said: {said}")


def restart(service: Service) -> None:
    """Restart it, where it would start with its files."""
    refused = trial.problem(service.cluster, {})
    if refused:
        raise SettingsError(f"the server is not restarted, as it would not start: {refused}")
    bring_up(service, "restart", service.cluster.started)


def put_back(service: Service, *, write: bool) -> list[Path]:
    """Have a server that runs go on with the settings that it was started with; return the files."""
    since = service.cluster.started
    if since is None:
        return []
    if not write:
        return [*dropins.changed_since(service.cluster, since)]
    files: list[Path] = dropins.put_back(service.cluster, since)
    if files:
        service.systemctl("reload")
    return files
