"""Privileges and roles as playbooks/files/host_state.sql says them, and the statements that bring them back. Pure."""

from __future__ import annotations

import re

# The letters of an access control list, as PostgreSQL's documentation has them (5.8, Privileges).
PRIVILEGES = {
    "r": "SELECT", "w": "UPDATE", "a": "INSERT", "d": "DELETE", "D": "TRUNCATE", "x": "REFERENCES", "t": "TRIGGER",
    "m": "MAINTAIN", "U": "USAGE", "C": "CREATE", "c": "CONNECT", "T": "TEMPORARY",
}  # fmt: skip
ITEM = re.compile(r'(?P<grantee>(?:"(?:[^"]|"")*"|[^=,"])*)=(?P<letters>[a-zA-Z*]*)/(?:"(?:[^"]|"")*"|[^,"]+)(?:, |$)')
WORDS = {
    "superuser": "SUPERUSER",
    "createrole": "CREATEROLE",
    "createdb": "CREATEDB",
    "replication": "REPLICATION",
    "bypassrls": "BYPASSRLS",
}


def of_list(text: str) -> dict[str, set[str]]:
    """The letters that each grantee has, with a star where it may hand the privilege on; PUBLIC has no name there."""
    found: dict[str, set[str]] = {}
    for item in ITEM.finditer(text):
        found.setdefault(item["grantee"] or "PUBLIC", set()).update(re.findall(r"[a-zA-Z]\*?", item["letters"]))
    return found


def target(name: str, letters: set[str]) -> str:
    """What the privileges are on; a sequence is told by USAGE, which no table has."""
    if name.startswith(("database ", "schema ")):
        kind, _, rest = name.partition(" ")
        return f"{kind.upper()} {quoted(rest)}"
    return f"{'SEQUENCE' if any(letter[0] == 'U' for letter in letters) else 'TABLE'} {name}"


def undo(name: str, before: str, now: str) -> str:
    """The statements that give privileges back as they were."""
    was, is_now = of_list(before), of_list(now)
    on = target(name, {letter for letters in (*was.values(), *is_now.values()) for letter in letters})
    lines = []
    for grantee in sorted(was.keys() | is_now.keys()):
        gone = is_now.get(grantee, set()) - was.get(grantee, set())
        come = was.get(grantee, set()) - is_now.get(grantee, set())
        if gone:
            words = ", ".join(sorted({PRIVILEGES[letter[0]] for letter in gone}))
            lines.append(f"REVOKE {words} ON {on} FROM {grantee} CASCADE;")
            come |= {letter for letter in was.get(grantee, set()) if letter[0] in {one[0] for one in gone}}
        for option in (False, True):
            words = ", ".join(sorted(PRIVILEGES[letter[0]] for letter in come if letter.endswith("*") is option))
            if words:
                lines.append(f"GRANT {words} ON {on} TO {grantee}{' WITH GRANT OPTION' if option else ''};")
    return "\n".join(lines)


def groups(text: str) -> set[str]:
    """The roles that a role is a member of."""
    said = re.search(r"member of (\S.*)\Z", text)
    return set(said[1].split(",")) if said else set()


def attributes(text: str) -> str:
    """The attributes of a role, all of them said."""
    words = set(text.partition(" member of ")[0].split())
    said = [word if name in words else f"NO{word}" for name, word in WORDS.items()]
    limit, until = re.search(r"limit (-?\d+)", text), re.search(r"until (.+?)(?= verifier| member|$)", text)
    said += ["LOGIN" if "login" in words else "NOLOGIN", f"CONNECTION LIMIT {limit[1] if limit else -1}"]
    return " ".join([*said, f"VALID UNTIL '{until[1] if until else 'infinity'}'"])


def quoted(name: str) -> str:
    """A role's name as SQL has it."""
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else '"' + name.replace('"', '""') + '"'


def undo_role(name: str, before: str | None, now: str | None) -> str:
    """The statements that bring a role back; a password is not kept, so it is set by hand."""
    role = quoted(name)
    if before is None:
        return f"DROP ROLE {role};"
    lines = []
    plain = [re.sub(r" ?verifier \S+| ?member of.*\Z", "", text or "") for text in (before, now)]
    if now is None:
        lines.append(f"CREATE ROLE {role} {attributes(before)};")
    elif plain[0] != plain[1]:
        lines.append(f"ALTER ROLE {role} {attributes(before)};")
    was, is_now = groups(before), groups(now or "")
    lines += [f"REVOKE {quoted(group)} FROM {role};" for group in sorted(is_now - was)]
    lines += [f"GRANT {quoted(group)} TO {role};" for group in sorted(was - is_now)]
    verifier, verifier_now = (re.search(r"verifier (\S+)", text or "") for text in (before, now))
    if verifier and (not verifier_now or verifier[1] != verifier_now[1]):
        lines.append(f"\\password {role}")
    elif verifier_now and not verifier:
        lines.append(f"ALTER ROLE {role} PASSWORD NULL;")
    return "\n".join(lines)
