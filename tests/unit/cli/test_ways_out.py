"""What was changed by hand comes with what undoes it; tests/integration/test_drift.py does so on servers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mltrading_db.cli import drifts, ways_out
from mltrading_db.cli.environment import program

WHERE = ways_out.Where("mine", "db1")
APPLY = f"{program()} apply mine --limit db1"

WAYS = {
    "an index that was added": (
        "index",
        "d: i",
        None,
        "CREATE INDEX i ON t USING btree (a)",
        "DROP INDEX CONCURRENTLY i;",
    ),
    "an index that is gone": (
        "index",
        "d: i",
        "CREATE UNIQUE INDEX i ON t USING btree (a) INVALID",
        None,
        "CREATE UNIQUE INDEX CONCURRENTLY i ON t USING btree (a);",
    ),
    "a primary key that was added": (
        "constraint",
        "d: s.t: t_pkey",
        None,
        "PRIMARY KEY (a)",
        "ALTER TABLE s.t DROP CONSTRAINT t_pkey;",
    ),
    "a primary key that is gone": (
        "constraint",
        "d: s.t: t_pkey",
        "PRIMARY KEY (a)",
        None,
        "ALTER TABLE s.t ADD CONSTRAINT t_pkey PRIMARY KEY (a);",
    ),
    "a table that is gone": (
        "table",
        "d: t",
        "of owner",
        None,
        "restore it from a backup: docs/operations/restore_backup.md",
    ),
    "a table of another owner": ("table", "d: t", "of owner", "of b", "ALTER TABLE t OWNER TO owner;"),
    "ALTER SYSTEM": (
        "setting",
        "work_mem",
        None,
        "8192 by postgresql.auto.conf",
        "ALTER SYSTEM RESET work_mem; SELECT pg_reload_conf();",
    ),
    "a setting of a role": (
        "setting",
        "of role r in d",
        "search_path=a, b",
        "search_path=c, work_mem=1MB",
        "ALTER ROLE r IN DATABASE d RESET work_mem;\nALTER ROLE r IN DATABASE d SET search_path TO a, b;",
    ),
    "a setting of everybody": ("setting", "of every role", None, "jit=off", "ALTER ROLE ALL RESET jit;"),
    "a role that was added": ("role", 'mine"', None, "login limit -1", 'DROP ROLE "mine""";'),
    "a membership": ("role", "r", "nologin limit -1", "nologin limit -1 member of o", "REVOKE o FROM r;"),
    "a privilege": ("privileges", "d: t", "o=r/o", "o=r/o, a=rw/o", "REVOKE SELECT, UPDATE ON TABLE t FROM a CASCADE;"),
    "a privilege that is gone": (
        "privileges",
        "database d",
        "=Tc/o, a=C*/o",
        "a=C*/o",
        "GRANT CONNECT, TEMPORARY ON DATABASE d TO PUBLIC;",
    ),
    "an extension": ("extension", "d: pg_trgm", None, "1.6", "DROP EXTENSION pg_trgm;"),
    "a file that was added": ("file", "/etc/a b", None, "root 0644 abc", "on db1: sudo rm '/etc/a b'"),
    "a file that was changed": ("file", "/etc/a", "root 0644 abc", "root 0644 def", APPLY),
    "ALTER SYSTEM over a role's file": (
        "overridden setting",
        "work_mem",
        "4MB by /etc/x.conf",
        "8MB by /var/lib/postgresql/15/main/postgresql.auto.conf",
        "ALTER SYSTEM RESET work_mem; SELECT pg_reload_conf();",
    ),
}


@pytest.mark.parametrize(("kind", "name", "before", "now", "undo"), WAYS.values(), ids=WAYS)
def test_what_was_changed_comes_with_what_undoes_it(
    kind: str, name: str, before: str | None, now: str | None, undo: str
) -> None:
    found = ways_out.way_out({"kind": kind, "name": name, "accepted": before, "found": now}, WHERE)
    assert found.undo == undo
    assert (found.database != "") is (ways_out.SQL.match(undo) is not None)


@pytest.mark.parametrize("kind", [*ways_out.IN_A_DATABASE, *ways_out.ELSEWHERE])
@pytest.mark.parametrize(("before", "now"), [(None, "b"), ("a", None), ("a", "b")])
def test_no_index_is_dropped_but_one_that_stands_for_itself(kind: str, before: str | None, now: str | None) -> None:
    found = ways_out.way_out({"kind": kind, "name": "d: t: k", "accepted": before, "found": now}, WHERE)
    assert ("DROP INDEX" in found.undo) is (kind == "index" and now is not None)


LINE = "/etc/cron.d/x: 5 5 * * * root /usr/bin/find /a -name '*.b' | wc -l (every day) $HOME"


def test_a_line_of_cron_is_taken_out_and_put_back_by_what_is_said(tmp_path: Path) -> None:
    file = tmp_path / "x"
    kept = "5 5 * * * root /usr/bin/find /a -name 'c.b'\n"
    file.write_text(kept + LINE.partition(": ")[2].replace("root ", "root\t ") + "\n")
    for before, now in ((None, "there"), ("there", None)):
        name = LINE.replace("/etc/cron.d/x", str(file))
        found = ways_out.way_out({"kind": "cron line", "name": name, "accepted": before, "found": now}, WHERE)
        command = found.undo.removeprefix("on db1: ").replace("sudo ", "")
        subprocess.run(["sh", "-c", command], check=True, capture_output=True)
        assert file.read_text() == kept + ("" if now else LINE.partition(": ")[2] + "\n")


def test_a_file_of_rules_that_no_role_writes_any_more_is_shown() -> None:
    answers = {
        "db1": {"known": True, "differences": [], "rule_fragments": ["/e/pg_hba.d/00-a.conf", "/e/pg_hba.d/50-b.conf"]}
    }
    [found] = drifts.left_fragments(answers, {"db1": {"/e/pg_hba.d/00-a.conf"}}, "mine")
    assert found["name"] == "/e/pg_hba.d/50-b.conf"
    assert list(drifts.left_fragments(answers, {}, "mine")) == []


def test_a_file_that_a_check_found_right_is_no_change_by_hand() -> None:
    found = [{"kind": "file", "host": "db1", "name": name} for name in ("/etc/a", "/etc/b")]
    assert [one["name"] for one in drifts.as_declared(found, {"db1": {"/etc/a"}, "db2": {"/etc/b"}})] == ["/etc/b"]
