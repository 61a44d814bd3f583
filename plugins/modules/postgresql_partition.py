#!/usr/bin/python
# SPDX-License-Identifier: MIT
"""Ansible module: partition a live PostgreSQL table by month, without a failing statement."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: postgresql_partition
short_description: Partition a live PostgreSQL table by month
description:
  - Converts a plain table that is being read and written into one that is partitioned by range of a time column, a
    month a partition. No row is copied. All rows until now become one partition, the history, and each month to come
    gets its own.
  - Builds the key that a partitioned table needs concurrently, has the server verify beforehand that every row is of
    before the cut, and then exchanges the table for its partitioned twin in one short transaction. While somebody holds
    the table it lets go, waits a little and tries again, and at the end says who was in the way.
  - Carries over constraints, indexes, extended statistics, statistics targets, storage parameters, defaults and their
    sequences, triggers, grants, owner, comments, publications and views. Materialized views are built beside the
    present ones and exchanged.
  - What cannot be carried over, or could not work, is refused before the first change, with all its reasons. Among it
    are views that are grouped by the primary key, which is not unique by itself afterwards, and views that read
    C(FROM ONLY) the table, of which a partitioned one has no rows.
  - Every step can be cut off. The next run goes on from there, and a run on a table that is as wanted changes nothing.
  - There is no C(DEFAULT) partition, as it would be read at each attaching and forbid detaching concurrently.
version_added: "0.2.0"
options:
  login_db:
    description: Database of the table.
    type: str
    required: true
    aliases: [db, database]
  login_user:
    description: Role to log in as. Over a socket with C(peer) authentication it is the operating system user's name.
    type: str
    default: postgres
  login_password:
    description: Password of O(login_user). Not needed over a socket with C(peer) authentication.
    type: str
  login_host:
    description: Host of the server. Empty connects over a Unix-domain socket.
    type: str
    default: ''
    aliases: [host]
  login_port:
    description: Port of the server, which is also a part of its socket's name.
    type: int
    default: 5432
    aliases: [port]
  login_unix_socket:
    description: Directory of the server's Unix-domain socket. Empty takes the client library's default.
    type: path
    default: ''
  ssl_mode:
    description: Whether and how a network connection is encrypted and the server is verified, as C(sslmode) of libpq.
    type: str
    choices: [allow, disable, prefer, require, verify-ca, verify-full]
    default: prefer
  ca_cert:
    description: File with the certificate authorities that the server's certificate is verified against.
    type: path
    aliases: [ssl_rootcert]
  session_role:
    description:
      - Role to become after the login, with C(SET ROLE). It must own the table, or be a member of the role that does.
        No superuser is needed.
    type: str
  table:
    description: Name of the table, exactly as the catalog has it, without quotes.
    type: str
    required: true
  schema:
    description: Schema of the table.
    type: str
    default: public
  column:
    description: Column that says which month a row belongs to, a timestamp with or without time zone, or a date.
      Months are those of UTC.
    type: str
    required: true
  premake:
    description: Months that are to be there ahead of time. Those that are missing are made on every run.
    type: int
    default: 3
  cut:
    description:
      - First day of the first month that gets a partition of its own, as C(2026-01-01). Rows of before are the history.
      - By default the first month that begins in more than three days and after the newest row. Between the first
        step and the last one, rows from that day on are refused.
    type: str
  lock_timeout:
    description: Longest time, in seconds, for which one attempt waits for a lock. Others wait behind it.
    type: float
    default: 0.2
  lock_budget:
    description: Longest time, in seconds, for all attempts of one step together.
    type: float
    default: 120.0
  build_wait:
    description: Longest time, in seconds, for which a concurrent build does nothing but wait for other sessions.
    type: float
    default: 600.0
  run_wait:
    description: Longest time, in seconds, to wait for another run or a maintenance job to end.
    type: float
    default: 60.0
  space_check:
    description:
      - Whether what is built must fit into the free space. With V(when_known) only where that can be known, which is on
        the server's host or by O(free_space). With V(required) an unknown one is refused.
    type: str
    choices: [when_known, required, 'off']
    default: when_known
  space_reserve:
    description: Bytes that must stay free.
    type: int
    default: 0
  free_space:
    description: Free bytes by the name of the tablespace, where they cannot be measured.
    type: dict
    default: {}
notes:
  - Supports C(check_mode), which is the same run without its last part, and C(--diff).
  - Needs a connection of its own to a primary, PostgreSQL 15 or newer. A pooler in transaction mode is refused.
  - Takes the advisory lock that M(postgresql_optimization) and the maintenance jobs take.
  - A function whose body is a text is not looked into. One that reads C(FROM ONLY) the table, or says
    C(ON CONFLICT) with its primary key's columns, is to be changed by hand.
  - Afterwards the columns of the primary key are not unique by themselves any more, only together with O(column).
requirements:
  - psycopg2 2.8 or newer on the host that runs the module
seealso:
  - module: postgresql_optimization
author:
  - The mltrading-db contributors
"""

EXAMPLES = r"""
- name: See what would be done, which locks it takes and how long it takes
  postgresql_partition:
    login_db: trading
    session_role: trading_owner
    table: bars
    column: time
  check_mode: true
  diff: true

- name: Partition the bars by month, half a year ahead
  postgresql_partition:
    login_db: trading
    session_role: trading_owner
    table: bars
    column: time
    premake: 6

- name: Begin with the year, and give up after a minute where the table is never free
  postgresql_partition:
    login_db: trading
    table: bars
    column: time
    cut: '2027-01-01'
    lock_budget: 60
"""

RETURN = r"""
actions:
  description: What was done or, in check mode, would be done, in order. The same in both but for C(state), C(seconds)
    and C(stall_seconds).
  returned: always
  type: list
  elements: dict
  contains:
    kind:
      description: Kind of the object.
      type: str
      sample: table
    name:
      description: Its qualified name.
      type: str
      sample: public.bars
    action:
      description: One of create, replace, validate, alter, partition, analyze, drop and clean.
      type: str
      sample: partition
    reason:
      description: Why.
      type: str
    statements:
      description: The statements, with the bounds of their transactions.
      type: list
      elements: str
    locks:
      description: The locks they take on what others use.
      type: list
      elements: str
      sample: [ACCESS EXCLUSIVE on public.bars]
    before:
      description: The object as it was.
      type: str
    after:
      description: The object as it will be.
      type: str
    estimated_bytes:
      description: Estimated size of what is built.
      type: int
    estimated_seconds:
      description: Estimated time.
      type: float
    state:
      description: One of planned, done and failed. What comes after a failed one stays planned.
      type: str
    seconds:
      description: Seconds that it took, null unless it is done.
      type: float
    stall_seconds:
      description: Longest time, in seconds, for which one attempt kept others from the table. Null where none did.
      type: float
write_stall_seconds:
  description: The longest of these, which no client waited longer than. Null where the table was not locked.
  returned: always
  type: float
  sample: 0.031
partitioned:
  description: Whether the table is partitioned.
  returned: always
  type: bool
cut:
  description: Where its history ends.
  returned: always
  type: str
  sample: '2026-01-01'
history:
  description: The partition that holds the rows of before.
  returned: always
  type: str
  sample: public.bars_history
problems:
  description: Why it was refused. Empty where it was not.
  returned: always
  type: list
  elements: dict
  contains:
    object:
      description: The object.
      type: str
    problem:
      description: What is wrong with it.
      type: str
blockers:
  description: The sessions that were in the way when a lock could not be had.
  returned: always
  type: list
  elements: dict
sqlstate:
  description: The server's code of the error, null where there was none.
  returned: always
  type: str
  sample: '55P03'
statement:
  description: The statement that failed, null where none did.
  returned: always
  type: str
server_version:
  description: Version of the server.
  returned: always
  type: str
  sample: '15.18'
database:
  description: The database.
  returned: always
  type: str
role:
  description: The role that did the work.
  returned: always
  type: str
query_count:
  description: Round trips to the server.
  returned: always
  type: int
"""

from datetime import date
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.pg_optimization import entry
from ansible.module_utils.pg_optimization.connection import MISSING
from ansible.module_utils.pg_optimization.errors import OptimizationError, RefusedError
from ansible.module_utils.pg_optimization.model import Name
from ansible.module_utils.pg_optimization.partitioning.model import Wanted
from ansible.module_utils.pg_optimization.partitioning.run import Result, run
from ansible.module_utils.pg_optimization.run import Report, Request


def argument_spec() -> dict[str, Any]:
    """Return the module's parameters, as DOCUMENTATION has them."""
    return {
        **entry.common_spec(lock_timeout=0.2, lock_budget=120.0),
        "table": {"type": "str", "required": True},
        "schema": {"type": "str", "default": "public"},
        "column": {"type": "str", "required": True},
        "premake": {"type": "int", "default": 3},
        "cut": {"type": "str"},
    }


def wanted(params: dict[str, Any]) -> Wanted:
    """Return what is asked for, from the module's parameters.

    Raises:
        RefusedError: the cut is not a day.
    """
    cut = params["cut"] or None
    try:
        day = None if cut is None else date.fromisoformat(cut)
    except ValueError as error:
        raise RefusedError(f"cut is to be a day as 2026-01-01, and is {cut!r}") from error
    return Wanted(Name(params["schema"], params["table"]), params["column"], params["premake"], day)


def request(params: dict[str, Any], *, check: bool) -> Request:
    """Return how the run is to work, from the module's parameters."""
    # What the server writes of views and triggers then has every name with its schema, for any table.
    return entry.request(params, check=check, search_path=())


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    result = Result(Report())
    if MISSING is not None:
        module.fail_json(msg=missing_required_lib("psycopg2"), exception=str(MISSING), **result.result())
    error: OptimizationError | None = None
    try:
        run(request(module.params, check=module.check_mode), wanted(module.params), result)
    except OptimizationError as failure:
        error = failure
    entry.end(module, result.result(error), error)


if __name__ == "__main__":
    main()
