"""What a run costs that finds nothing to do: the module's one task beside postgresql_idx doing the nine as nine tasks.

postgresql_idx looks whether an index of the name exists. It does not compare definitions, cannot say INCLUDE, and knows
no views and statistics; the module's task is the whole declaration.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from bench_server import ROOT, database_of, say
from trading_database import DEFAULTS, Database

ROUNDS = 5
TOOLS = ("postgresql_optimization", "postgresql_idx")
STATISTICS = """
SELECT coalesce(sum(calls), 0)::integer, coalesce(sum(total_plan_time + total_exec_time), 0)::float8,
    (SELECT sessions FROM pg_stat_database WHERE datname = %(name)s)::integer
FROM pg_stat_statements AS s JOIN pg_database AS d ON d.oid = s.dbid WHERE d.datname = %(name)s
"""


def column(given: Any) -> str:
    """A column of the declaration as postgresql_idx takes it."""
    return f"{given['name']} {given['order']}" if isinstance(given, dict) else str(given)


def tasks(database: Database) -> dict[str, list[dict[str, Any]]]:
    """The tasks of each tool."""
    login = {
        "login_db": database.name,
        "login_user": "postgres",
        "login_unix_socket": str(database.server.home),
        "login_port": database.server.port,
    }
    nine = [
        {
            "name": f"Create {index['name']}",
            "community.postgresql.postgresql_idx": login
            | {
                "session_role": "mltrading_owner",
                "idxname": index["name"],
                "table": index["table"],
                "columns": [column(given) for given in index["columns"]],
            }
            | ({"cond": index["where"]} if "where" in index else {}),
        }
        for index in DEFAULTS["mltrading_index_sets"]["guide"]
    ]
    whole = {"name": "Apply the declaration", "postgresql_optimization": database.declaration("guide")}
    return {TOOLS[0]: [whole], TOOLS[1]: nine}


def play(playbook: Path) -> dict[str, Any]:
    """Run a playbook on this machine: seconds of the whole, seconds of its tasks, changed tasks."""
    command = ["ansible-playbook", "--inventory", "localhost,", "--connection", "local", str(playbook)]
    environment = os.environ | {"ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json"}
    began = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - began
    stamp = datetime.fromisoformat
    if done.returncode:
        raise RuntimeError(f"{playbook}: {done.stdout[-4000:]}{done.stderr[-2000:]}")
    said = json.loads(done.stdout[done.stdout.index("{") :])
    taken = [task["task"]["duration"] for one in said["plays"] for task in one["tasks"]]
    return {
        "playbook_seconds": seconds,
        "task_seconds": sum((stamp(one["end"]) - stamp(one["start"])).total_seconds() for one in taken),
        "changed": said["stats"]["localhost"]["changed"],
        "tasks": len(taken),
    }


def measure(server: Any) -> dict[str, Any]:
    """Run both tools on the database that has the guide's declaration, by turns; return the medians of each."""
    database = database_of(server, "guide")
    playbooks = {}
    for tool, listed in tasks(database).items():
        playbooks[tool] = server.home / f"{tool}.yml"
        content = [{"hosts": "localhost", "gather_facts": False, "tasks": listed}]
        playbooks[tool].write_text(yaml.safe_dump(content, sort_keys=False))
    results: dict[str, list[dict[str, Any]]] = {tool: [] for tool in TOOLS}
    with contextlib.closing(server.connect("postgres")) as connection, connection.cursor() as cursor:
        for number in range(ROUNDS + 1):
            say(f"a run with nothing to do: {number + 1} of {ROUNDS + 1}")
            for tool in TOOLS:
                cursor.execute("SELECT pg_stat_statements_reset()")
                cursor.execute(STATISTICS, {"name": database.name})
                before = cursor.fetchone()
                run = play(playbooks[tool])
                # A connection is counted a moment after it has ended.
                time.sleep(0.5)
                cursor.execute(STATISTICS, {"name": database.name})
                calls, server_ms, sessions = cursor.fetchone()
                run |= {"statements": calls, "server_ms": server_ms, "connections": sessions - before[2]}
                results[tool].append(run)
    return {
        tool: {key: round(statistics.median(run[key] for run in runs[1:]), 3) for key in runs[0]}
        for tool, runs in results.items()
    }
