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


def rotation_problem(step: str, states: dict[str, Sequence[str]], signing: str, coming: str) -> str:
    """Return why a step of a rotation may not be taken yet; empty where it may.

    Args:
        step: prepare, switch or finish.
        states: what authorities.sh printed, by host, of every host of the environment.
        signing: the fingerprint of the authority that signs.
        coming: the fingerprint of the next one; empty where there is none.
    """
    if step not in {"prepare", "switch", "finish"}:
        return f"rotate_authority_step is '{step}': it is prepare, switch or finish, in this order."
    wanted = {"prepare": "", "switch": coming, "finish": signing}[step]
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
            "rotation_problem": rotation_problem,
        }
