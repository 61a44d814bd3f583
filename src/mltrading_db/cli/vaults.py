"""Vaults, opened and made by Ansible's own code: files of an inventory, and single values (`!vault`)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import FileVaultSecret, VaultLib, VaultSecret, VaultSecretsContext

from mltrading_db.cli.environment import Environment

VAULT_HEADER = "$ANSIBLE_VAULT"


def vault_secrets(environment: Environment) -> list[tuple[str, Any]]:
    """What vaults are opened with: the file that ANSIBLE_VAULT_PASSWORD_FILE names, else that of `mldb init`."""
    path = Path(os.environ.get("ANSIBLE_VAULT_PASSWORD_FILE") or environment.vault_password_file)
    if not path.exists():
        return []
    secret = FileVaultSecret(filename=str(path), loader=DataLoader())
    secret.load()
    return [("default", secret)]


def have_opened(secrets: list[tuple[str, Any]]) -> None:
    """Have single values opened with these too; Ansible keeps one list for the whole program."""
    context = VaultSecretsContext.current(optional=True)
    if context is None:
        VaultSecretsContext.initialize(VaultSecretsContext(list(secrets)))
    else:
        context.secrets = [*secrets, *(one for one in context.secrets if one not in secrets)]


def is_open(value: Any) -> bool:
    """Whether each encrypted text of a value is opened by a password."""
    if isinstance(value, (dict, list)):
        return all(map(is_open, value.values() if isinstance(value, dict) else value))
    try:
        str(value)
    except AnsibleError:
        return False
    return True


def is_encrypted(path: Path) -> bool:
    """Whether a file is a vault."""
    return path.read_text(encoding="utf-8", errors="replace").startswith(VAULT_HEADER)


def encrypted(text: str, password: str) -> str:
    """A text as `ansible-vault encrypt` would have it."""
    vault = VaultLib([("default", VaultSecret(password.encode()))])
    return str(vault.encrypt(text.encode()).decode())
