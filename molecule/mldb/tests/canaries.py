"""Secrets that can be recognised, and where they are looked for.

Every secret that the environment declares is a random word that stands nowhere else. `MAY` names the files that have to
hold one, and how they are kept.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

import yaml
from environment import (
    BACKUP1,
    DB1,
    DB2,
    EPHEMERAL,
    FOLDER,
    NODES,
    VAULT,
    VAULT_PASSWORD,
    Node,
    command,
    play_environment,
)

# What they are, kept by the test for itself.
KEPT = EPHEMERAL / "canaries.json"
SAMPLER = Path(__file__).with_name("sampler.py")
CLIENTS_FILE = Path(__file__).with_name("clients.yml")

# Those that `mldb init` makes.
MADE = (
    "mltrading_rw_password",
    "mltrading_ro_password",
    "monitor_password",
    "replicator_password",
    "pgbouncer_auth_password",
    "ca_passphrase",
    "pgbackrest_cipher_passphrase",
)
# Further clients' roles (clients.yml); and what an object store would be reached with: pgBackRest keeps it, and has no
# use for it as long as the repository is a folder.
CLIENTS = ("feed", "trainer", "notebooks")
STORE = ("repo1-s3-key", "repo1-s3-key-secret", "repo1-s3-token", "repo1-azure-key")
# Who is told of an alert, as Alertmanager has it, by secrets of several forms. Nobody listens there.
NOBODY = "http://127.0.0.1:9/"
LOGIN = {"username": "a", "password": "%s"}
RECEIVERS: dict[str, tuple[str, dict[str, Any]]] = {
    "webhook_password": (
        "webhook",
        {"url": NOBODY, "http_config": {"basic_auth": {"username": "a", "password": "%s"}}},
    ),
    "webhook_token": ("webhook", {"url": NOBODY, "http_config": {"authorization": {"credentials": "%s"}}}),
    "mail_password": (
        "email",
        {
            "to": "a@example.com",
            "from": "b@example.com",
            "smarthost": "127.0.0.1:9",
            "auth_username": "b",
            "auth_password": "%s",
        },
    ),
    "pager_key": ("pagerduty", {"url": NOBODY, "routing_key": "%s"}),
    "slack_url": ("slack", {"api_url": f"{NOBODY}services/%s", "channel": "alerts"}),
    "opsgenie_key": ("opsgenie", {"api_url": NOBODY, "api_key": "%s"}),
    "pushover_token": ("pushover", {"token": "%s", "user_key": "nobody"}),
}
WATCHDOG = "watchdog_token"

# The files that have to hold secrets, each with its owner, group and mode, and whose.
PASSES = {
    "/var/lib/postgresql/replicator.pgpass": "replicator_password",
    "/etc/mltrading-db/maintenance.pgpass": "monitor_password",
}
MAY: dict[tuple[Node, str], tuple[str, set[str]]] = {
    (DB1, "/etc/pgbouncer/userlist.txt"): ("root:pgbouncer 640", {"pgbouncer_auth_password"}),
    (BACKUP1, "/etc/pgbackrest/pgbackrest.conf"): ("root:pgbackrest 640", {"pgbackrest_cipher_passphrase", *STORE}),
    (BACKUP1, "/etc/prometheus/alertmanager.yml"): ("root:prometheus 640", {*RECEIVERS, WATCHDOG}),
    **{(node, file): ("postgres:postgres 600", {name}) for node in (DB1, DB2) for file, name in PASSES.items()},
}


def canaries() -> dict[str, str]:
    """A canary for each secret, the same as long as the environment lives."""
    if not KEPT.exists():
        names = (*MADE, *(f"{name}_password" for name in CLIENTS), *STORE, *RECEIVERS, WATCHDOG)
        KEPT.touch(mode=0o600)
        KEPT.write_text(json.dumps({name: f"canary{number:02}{token_hex(12)}" for number, name in enumerate(names)}))
    return dict(json.loads(KEPT.read_text(encoding="utf-8")))


def filled(form: Any, value: str) -> Any:
    """A receiver with its secret."""
    if isinstance(form, dict):
        return {key: filled(one, value) for key, one in form.items()}
    return form.replace("%s", value)


def declare() -> None:
    """Give the environment its secrets, in its vault: those that have variables, and those inside other values."""
    known = canaries()
    receiver: dict[str, list[Any]] = {}
    for name, (kind, form) in RECEIVERS.items():
        receiver.setdefault(f"{kind}_configs", []).append(filled(form, known[name]))
    secrets = {
        **{name: known[name] for name in (*MADE, *(f"{name}_password" for name in CLIENTS))},
        "pgbackrest_repository_options": {"repo1-type": "posix", **{name: known[name] for name in STORE}},
        "monitoring_receiver": receiver,
        "monitoring_watchdog_receiver": {"webhook_configs": [{"url": NOBODY + known[WATCHDOG]}]},
    }
    VAULT.write_text(yaml.safe_dump(secrets, explicit_start=True), encoding="utf-8")
    words = ["ansible-vault", "encrypt", "--vault-password-file", VAULT_PASSWORD, VAULT]
    command(*words, env=play_environment(), cwd=FOLDER)
    (FOLDER / "group_vars/postgresql/clients.yml").write_text(
        CLIENTS_FILE.read_text(encoding="utf-8"), encoding="utf-8"
    )


def found_in(text: str) -> set[str]:
    """The names of the secrets that stand in a text."""
    return {name for name, value in canaries().items() if value in text}


def found_below(folder: Path) -> dict[str, set[str]]:
    """The controller's files below a folder that hold a secret, and whose."""
    files = [path for path in folder.rglob("*") if path.is_file() and path != KEPT]
    found = {str(path.relative_to(folder)): found_in(path.read_bytes().decode(errors="replace")) for path in files}
    return {path: names for path, names in found.items() if names}


def found_on(node: Node) -> dict[str, set[str]]:
    """The files of a host that hold a secret, and whose. What is looked for is told to grep by its standard input."""
    by_value = {value: name for name, value in canaries().items()}
    places = "$(find / -mindepth 1 -maxdepth 1 -not -name proc -not -name sys -not -name dev) /dev/shm"
    # What a server writes and removes meanwhile is none of an error.
    done = node.run(f"grep -raosF -D skip -f - {places}", "\n".join(by_value) + "\n")
    found: dict[str, set[str]] = {}
    for line in done.stdout.splitlines():
        path, _, value = line.rpartition(":")
        found.setdefault(path, set()).add(by_value[value])
    return found


@contextmanager
def sampled(folder: Path) -> Iterator[None]:
    """Note every command line and environment of a process that is met meanwhile, on each host and here."""
    folder.mkdir(mode=0o700, exist_ok=True)
    source = SAMPLER.read_text(encoding="utf-8")
    hosts = {node.short: ["docker", "exec", "--interactive", node.name, "python3", "-c", source] for node in NODES}
    running = []
    for place, words in {"controller": [sys.executable, "-c", source], **hosts}.items():
        with (folder / place).open("wb") as file:
            running.append(subprocess.Popen(words, stdin=subprocess.PIPE, stdout=file))
    try:
        yield
    finally:
        for process in running:
            process.communicate()
