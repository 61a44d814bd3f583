"""Filters that decide about an environment's certificate authority: whose certificates a host holds, what is due."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Sequence

PEM = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)


def certificate_fingerprints(text: str) -> list[str]:
    """Return the SHA-256 fingerprint of each certificate in a PEM text, in lower-case hexadecimal digits.

    A fingerprint is the digest of the DER encoding, as `openssl x509 -fingerprint -sha256` prints it without colons.
    """
    return [hashlib.sha256(base64.b64decode(body)).hexdigest() for body in PEM.findall(text)]


def authority_problem(lines: Sequence[str], trusted: Sequence[str], host: str, place: str) -> str:
    """Return why a host may not be given certificates of this controller's authority; empty where it may.

    Args:
        lines: what authorities.sh printed on the host: a folder, a space, and fingerprints with commas between them.
        trusted: the fingerprints of the authorities that the controller has, the signing one first.
        host: the host's name in the inventory.
        place: where the controller keeps the authority.
    """
    foreign = [
        (folder, fingerprints)
        for folder, _, fingerprints in (line.strip().partition(" ") for line in lines)
        if fingerprints and fingerprints.split(",")[0] not in trusted
    ]
    if not foreign:
        return ""
    folder, fingerprints = foreign[0]
    mine = f"has another one ({trusted[0][:16]}…)" if trusted else "has none"
    return (
        f"{host} holds certificates of an authority ({fingerprints.split(',')[0][:16]}… in {folder}) that this"
        f" controller does not have: {place} {mine}. A new authority would lock out every client. Copy ca.crt and"
        f" ca.key from the controller that made it into {place}, or keep them in the vault (tls_ca_certificate):"
        " docs/operations/authority.md. Where it is lost or replaced on purpose: -e tls_replace_authority=true."
    )


def vault_problem(kept: Sequence[str], trusted: Sequence[str], place: str) -> str:
    """Return why the vault's authority and the controller's folder do not go together; empty where they do.

    Args:
        kept: the fingerprints of what the vault keeps; empty where it keeps none.
        trusted: those of what the folder has, the signing one first; empty where it has none yet.
        place: the folder.
    """
    if not kept or not trusted or kept[0] in trusted:
        return ""
    return (
        f"tls_ca_certificate of the vault is another authority ({kept[0][:16]}…) than those in {place}"
        f" ({trusted[0][:16]}…). Where it was rotated on this controller, write ca.crt and ca.key of that folder into"
        " the vault. Where it was rotated on another controller, which did that, move the folder aside: it is made"
        " again from the vault."
    )


def rotation_problem(
    step: str, states: dict[str, Sequence[str]], hosts: Sequence[str], authorities: dict[str, str]
) -> str:
    """Return why a step of a rotation may not be taken yet; empty where it may.

    Args:
        step: prepare, switch or finish.
        states: what authorities.sh printed, by host, of the hosts of the play.
        hosts: every host of the environment.
        authorities: the fingerprints of the one that signs, of the `next` one and of the vault's (`vault`), each empty
            where there is none.
    """
    if step not in {"prepare", "switch", "finish"}:
        return f"rotate_authority_step is '{step}': it is prepare, switch or finish, in this order."
    signing, vault = authorities["signing"], authorities["vault"]
    if not signing:
        return "this controller has no authority yet: playbooks/site.yml makes it, or writes it from the vault."
    absent = sorted(set(hosts) - set(states))
    if absent:
        return (
            f"every host is to be asked, and {', '.join(absent)} was not: run it without --limit when all hosts answer."
        )
    if step == "finish" and vault not in {"", signing}:
        return "the vault still keeps the authority before: write the ca.crt and ca.key that sign now into it first."
    wanted = {"prepare": "", "switch": authorities["next"], "finish": signing}[step]
    behind = []
    for host, lines in states.items() if wanted else ():
        for fingerprints in (line.strip().partition(" ")[2].split(",") for line in lines):
            if wanted != fingerprints[0] if step == "finish" else wanted not in fingerprints:
                behind.append(host)
    if behind:
        what = "trusts the next authority" if step == "switch" else "has certificates of the new authority"
        names = ", ".join(sorted(set(behind)))
        return f"not every host {what} yet: {names}. Run playbooks/site.yml for all hosts, then this step again."
    return ""


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Return the filters by their names in a template."""
        return {
            "certificate_fingerprints": certificate_fingerprints,
            "authority_problem": authority_problem,
            "vault_problem": vault_problem,
            "rotation_problem": rotation_problem,
        }
