"""How what was changed by hand is undone, as statements or commands that can be pasted, and where it would be declared.

Pure. What is accepted of a thing is what playbooks/files/host_state.sql says of it, so that it can be made again.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass

from mltrading_db.cli import grants
from mltrading_db.cli.environment import program

Difference = dict[str, str | None]
INVALID = " INVALID"
# Where the repository would say each kind. What it cannot say is accepted, or undone.
DECLARED_IN = {
    "setting": "postgresql_settings",
    "role": "mltrading_roles or postgresql_access_roles",
    "privileges": "mltrading_privileges or mltrading_databases",
    "index": "mltrading_indexes",
    "materialized view": "mltrading_materialized_views",
    "extension": "the extensions of mltrading_databases",
    "login rule": "postgresql_access_roles of the role that it is for",
    "cron line": "a job of the role that it belongs to (docs/operations/jobs.md)",
    "file": "the template or the variable of its role",
}


@dataclass(frozen=True)
class Where:
    """The environment and the host that a difference is of."""

    environment: str
    host: str

    def apply(self, tags: str = "") -> str:
        """The command that brings the host to what the repository says."""
        return f"{program()} apply {self.environment} --limit {self.host}{f' --tags {tags}' if tags else ''}"


@dataclass(frozen=True)
class WayOut:
    """`undo` is SQL for `database` where there is one, else commands or a sentence."""

    undo: str
    keep: str
    database: str = ""


def literal(text: str) -> str:
    """A text as SQL has it; a backslash means itself (standard_conforming_strings)."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A name as SQL has it."""
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else '"' + name.replace('"', '""') + '"'


def concurrently(definition: str) -> str:
    """A statement of pg_get_indexdef that lets writers go on."""
    return re.sub(r"^CREATE (UNIQUE )?INDEX ", r"CREATE \1INDEX CONCURRENTLY ", definition.removesuffix(INVALID))


def undo_index(name: str, before: str | None, now: str | None) -> str:
    """An index is built without a lock on its table, and dropped so; each statement for itself, in no transaction."""
    lines = [f"DROP INDEX CONCURRENTLY {name};"] if now is not None else []
    return "\n".join(lines + ([f"{concurrently(before)};"] if before is not None else []))


def undo_constraint(name: str, before: str | None, now: str | None) -> str:
    """A primary key is no index to be dropped: its constraint is."""
    table, _, constraint = name.rpartition(": ")
    lines = [f"ALTER TABLE {table} DROP CONSTRAINT {constraint};"] if now is not None else []
    return "\n".join(lines + ([f"ALTER TABLE {table} ADD CONSTRAINT {constraint} {before};"] if before else []))


def undo_view(kind: str, name: str, before: str | None, now: str | None) -> str:
    """A view by its definition; what stands on it is named by the server, which then refuses."""
    lines = [f"DROP {kind} {name};"] if now is not None else []
    return "\n".join(lines + ([f"CREATE {kind} {name} AS {before.strip().rstrip(';')};"] if before is not None else []))


def undo_table(name: str, before: str | None, now: str | None) -> str:
    """A table of another owner is given back; one that is gone is in the backups."""
    if before is None:
        return f"DROP TABLE {name};"
    if now is None:
        return "restore it from a backup: docs/operations/restore_backup.md"
    return f"ALTER TABLE {name} OWNER TO {identifier(before.removeprefix('of '))};"


def undo_extension(name: str, before: str | None, now: str | None) -> str:
    """An extension; another version is brought back where the extension has a way to it."""
    if before is None:
        return f"DROP EXTENSION {identifier(name)};"
    if now is None:
        return f"CREATE EXTENSION {identifier(name)} VERSION {literal(before)};"
    return f"ALTER EXTENSION {identifier(name)} UPDATE TO {literal(before)};"


def undo_setting(name: str, before: str | None, now: str | None, where: Where) -> str:
    """A setting: ALTER SYSTEM is reset, a line of another file goes, and a role's settings are set as they were."""
    if re.match(r"of (every )?role\b", name):
        return undo_role_settings(name, before or "", now or "")
    if "postgresql.auto.conf" in (now or ""):
        return f"ALTER SYSTEM RESET {name}; SELECT pg_reload_conf();"
    if re.search(r" by [^;]*postgresql\.auto\.conf", before or ""):
        value = (before or "").partition(" by ")[0]
        return f"ALTER SYSTEM SET {name} = {literal(value)}; SELECT pg_reload_conf();"
    file = re.findall(r" by ([\w.-]+\.conf)", now or before or "")
    return without_setting(name, f"/etc/postgresql/*/*/conf.d/{file[-1]}", where) if file else where.apply("postgresql")


def without_setting(name: str, file: str, where: Where) -> str:
    """The commands on a host that take a setting out of a file; one that a role writes is written again by an apply."""
    take = f"sudo sed -i -E '/^\\s*{name}\\s*=?\\s/d' {file}"
    return (
        f"on {where.host}: {take}\n"
        f"on {where.host}: sudo -u postgres psql -c 'SELECT pg_reload_conf()'\n{where.apply('postgresql')}"
    )


def undo_role_settings(name: str, before: str, now: str) -> str:
    """The settings of a role, in all databases or in one."""
    said = re.fullmatch(r"of (?:role (?P<role>.+?)|every role)(?: in (?P<database>.+))?", name)
    role, database = (said["role"], said["database"]) if said else (None, None)
    what = f"ROLE {identifier(role) if role else 'ALL'}" + (f" IN DATABASE {identifier(database)}" if database else "")
    pattern = re.compile(r"(?:^|, )([A-Za-z_][\w.]*)=(.*?)(?=, [A-Za-z_][\w.]*=|$)", re.DOTALL)
    was, is_now = (dict(pattern.findall(text)) for text in (before, now))
    lines = [f"ALTER {what} RESET {setting};" for setting in is_now if setting not in was]
    lines += [
        f"ALTER {what} SET {setting} TO {value if setting in LISTS else literal(value)};"
        for setting, value in was.items()
        if is_now.get(setting) != value
    ]
    return "\n".join(lines)


# Settings whose value is a list of names: quoted as a whole it would be one name.
LISTS = {
    "search_path",
    "datestyle",
    "DateStyle",
    "temp_tablespaces",
    "local_preload_libraries",
    "session_preload_libraries",
}


def undo_cron(name: str, now: str | None) -> str:
    """A line of cron's file, whatever its blanks."""
    file, _, line = name.partition(": ")
    if now is None:
        return f"echo {shlex.quote(line)} | sudo tee -a {shlex.quote(file)}"
    words = r"[[:space:]]+".join(re.sub(r"([][\\.*^$+?(){}|/])", r"\\\1", word) for word in line.split())
    return f"sudo sed -i -E {shlex.quote(f'/^[[:space:]]*{words}[[:space:]]*$/d')} {shlex.quote(file)}"


def undo_function(name: str, before: str | None, now: str | None) -> str:
    """A function whose body is not kept: only a new one can be undone."""
    if before is None:
        return f"DROP FUNCTION {name};"
    return f"ask its owner: what {name} did is not kept" + (", and it is gone" if now is None else "")


def undo_privileges(name: str, before: str | None, now: str | None) -> str:
    """Privileges on a table or a schema."""
    return grants.undo(name, before or "", now or "")


Undo = Callable[[str, str | None, str | None], str]
IN_A_DATABASE: dict[str, Undo] = {
    "index": undo_index,
    "constraint": undo_constraint,
    "view": lambda name, before, now: undo_view("VIEW", name, before, now),
    "materialized view": lambda name, before, now: undo_view("MATERIALIZED VIEW", name, before, now),
    "table": undo_table,
    "extension": undo_extension,
    "privileges": undo_privileges,
    "function with its owner's rights": undo_function,
}


def undo_override(name: str, _: str | None, now: str | None, where: Where) -> str:
    """What wins over a role's setting: ALTER SYSTEM, or a line of another file."""
    file = (now or "").rpartition(" by ")[2]
    if file.endswith("postgresql.auto.conf"):
        return f"ALTER SYSTEM RESET {name}; SELECT pg_reload_conf();"
    return without_setting(name, file, where)


def undo_rules_for_nobody(name: str, _: str | None, __: str | None, where: Where) -> str:
    """The rules of a role that is not there, in whichever fragment they are."""
    role = re.sub(r"([][\\.*^$+?(){}|/])", r"\\\1", name)
    take = f"sudo sed -i -E '/\\s{role}\\s/d' /etc/postgresql/*/*/pg_hba.d/*.conf"
    return f"on {where.host}: {take}\n{where.apply('postgresql_access')}"


def undo_file(name: str, before: str | None, _: str | None, where: Where) -> str:
    """A file that a role writes is written again; what was in another is not kept."""
    return f"on {where.host}: sudo rm {shlex.quote(name)}" if before is None else where.apply()


UndoThere = Callable[[str, str | None, str | None, Where], str]
ELSEWHERE: dict[str, UndoThere] = {
    "setting": undo_setting,
    "overridden setting": undo_override,
    "login rule of a removed role": undo_rules_for_nobody,
    "login rule": lambda _name, _before, _now, where: where.apply("postgresql_access"),
    "cron line": lambda name, _, now, where: f"on {where.host}: {undo_cron(name, now)}",
    "file": undo_file,
    "role": lambda name, before, now, _: grants.undo_role(name, before, now),
    "privileges": lambda name, before, now, _: grants.undo(name, before or "", now or ""),
}
SQL = re.compile(r"(ALTER|CREATE|DROP|GRANT|REVOKE) |\\password")


def way_out(found: Difference, where: Where) -> WayOut:
    """How a difference is undone, and how it is kept."""
    kind, name = str(found["kind"]), str(found["name"])
    before, now = found["accepted"], found["found"]
    accept = f"take it as it is: {program()} drift {where.environment} --limit {where.host} --accept"
    keep = f"declare it in {DECLARED_IN[kind]}, or {accept}" if kind in DECLARED_IN else accept
    if kind in IN_A_DATABASE and not name.startswith("database "):
        database, _, inside = name.partition(": ")
        undo = IN_A_DATABASE[kind](inside, before, now)
        return WayOut(undo, keep, database if SQL.match(undo) else "")
    undo = ELSEWHERE[kind](name, before, now, where) if kind in ELSEWHERE else where.apply()
    return WayOut(undo, keep, "postgres" if SQL.match(undo) else "")
