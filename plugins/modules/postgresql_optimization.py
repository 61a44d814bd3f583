#!/usr/bin/python
# SPDX-License-Identifier: MIT
"""Ansible module: bring the indexes, views and statistics of a PostgreSQL database to what is declared."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: postgresql_optimization
short_description: Bring the indexes, materialized views and statistics of a PostgreSQL database to what is declared
description:
  - Takes the whole declaration of one database in one task. Creates what is missing, replaces what differs, rebuilds
    what is C(INVALID), and leaves alone what is as declared, however the same thing is spelled.
  - Definitions are compared, not names. The server is asked what a declaration means. Each object is made on an empty
    temporary twin of its table in a transaction that is rolled back, read back, and compared with what is there.
  - Where both texts differ, each is read a second time. The server's text of a C(BETWEEN) or of a list of C(varchar)
    becomes another in each restore of a dump, and what C(psql) shows may be declared. A call in the words of SQL, such
    as C(AT TIME ZONE) or C(TRIM), is the call of the function. Parameters of operator classes are compared as values.
  - Indexes are built and dropped C(CONCURRENTLY). An index that differs is built under another name, takes over the
    name in one short transaction, and only then is the old one dropped, so there is no moment in which neither
    serves.
  - A materialized view that differs is built beside the present one and swapped in one short transaction that
    carries over the views that stand on it, grants, owner, comments, storage parameters, indexes and statistics that
    nobody declared.
  - A declaration that is wrong is refused before the first change, with all its problems, each naming its object.
  - A run that is interrupted at any moment is finished by the next one.
version_added: "0.1.0"
options:
  login_db:
    description: Database to connect to, which the declaration describes.
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
      - Role to become after the login, with C(SET ROLE). It must own the tables, or be a member of the role that
        does. What is created belongs to it. No superuser is needed.
    type: str
  search_path:
    description:
      - Schemas in which unqualified names of tables, functions, operator classes and collations in the declaration's
        SQL are looked up, after C(pg_catalog).
    type: list
    elements: str
    default: [public]
  session_settings:
    description:
      - Further settings of the session that builds, such as C(maintenance_work_mem). A C(TimeZone), C(DateStyle) or
        C(IntervalStyle) given here goes before that of the database.
    type: dict
    default: {}
  indexes:
    description: The indexes of tables. An index may also stand on a materialized view that is not declared.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the index, at most 63 bytes.
        type: str
        required: true
      schema:
        description: Schema of the table, and so of the index.
        type: str
        default: public
      table:
        description: Table that the index stands on. May be partitioned.
        type: str
        required: true
      columns:
        description:
          - The key, in order. A string is the name of a column, exactly as the catalog has it, without quotes.
          - Anything else is a dictionary. C(name) is a column or C(expression) is an SQL expression, with optional
            C(order) (V(asc), V(desc)), C(nulls) (V(first), V(last)), C(opclass), C(opclass_params) (a dictionary)
            and C(collation).
          - C(opclass) and C(collation) are a name, or a list of schema and name.
        type: list
        elements: raw
        default: []
      method:
        description: Access method.
        type: str
        default: btree
      include:
        description: Names of columns that are kept in the index without being a part of its key.
        type: list
        elements: str
        default: []
      where:
        description:
          - Predicate of a partial index, in SQL. Functions in it must be immutable, so the current time is refused.
        type: str
      unique:
        description: Whether the key must be unique.
        type: bool
        default: false
      nulls_not_distinct:
        description: Whether two nulls are equal for O(indexes[].unique).
        type: bool
        default: false
      storage_parameters:
        description:
          - Storage parameters such as C(fillfactor). Those that are not named have their defaults.
          - One that shapes the pages of the index, such as C(fillfactor), has it built again. One that does not is
            altered.
          - The index of a constraint is altered and built again in place. Until that is over its comment ends with
            C([to be rebuilt by postgresql_optimization]), so that the next run finishes what one is cut off in.
        type: dict
        default: {}
      tablespace:
        description: Tablespace of the index. Not managed where it is left out.
        type: str
      comment:
        description:
          - Comment on the index. Not managed where it is left out, taken away where it is empty.
          - Behind it the module writes its mark, C([managed by postgresql_optimization]), on what it made.
        type: str
      state:
        description: Whether the index is there. One that backs a constraint cannot be V(absent).
        type: str
        choices: [present, absent]
        default: present
  materialized_views:
    description: The materialized views, each with its own indexes.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the materialized view, at most 63 bytes.
        type: str
        required: true
      schema:
        description: Its schema.
        type: str
        default: public
      query:
        description: The query in SQL, one statement, with or without a semicolon at its end. Required unless it is
          absent.
        type: str
      indexes:
        description: Its indexes, as O(indexes) without O(indexes[].schema) and O(indexes[].table).
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: Name of the index.
            type: str
            required: true
          columns:
            description: As O(indexes[].columns).
            type: list
            elements: raw
            default: []
          method:
            description: As O(indexes[].method).
            type: str
            default: btree
          include:
            description: As O(indexes[].include).
            type: list
            elements: str
            default: []
          where:
            description: As O(indexes[].where).
            type: str
          unique:
            description: As O(indexes[].unique).
            type: bool
            default: false
          nulls_not_distinct:
            description: As O(indexes[].nulls_not_distinct).
            type: bool
            default: false
          storage_parameters:
            description: As O(indexes[].storage_parameters).
            type: dict
            default: {}
          tablespace:
            description: As O(indexes[].tablespace).
            type: str
          comment:
            description: As O(indexes[].comment).
            type: str
          state:
            description: As O(indexes[].state).
            type: str
            choices: [present, absent]
            default: present
      refresh:
        description: How the view is going to be refreshed, by a job or by the application. The module only fills it.
        type: dict
        default: {}
        suboptions:
          policy:
            description:
              - V(concurrently) demands a unique index on plain columns without a predicate, which
                C(REFRESH MATERIALIZED VIEW CONCURRENTLY) needs.
            type: str
            choices: [plain, concurrently]
            default: plain
      populate:
        description: Whether the view is filled when it is made, and when it is found without rows having ever been
          put in.
        type: bool
        default: true
      storage_parameters:
        description: Storage parameters. Those that are not named are not managed, one that is null is reset.
        type: dict
        default: {}
      tablespace:
        description: Tablespace of the view. Not managed where it is left out.
        type: str
      comment:
        description: Comment on the view, as O(indexes[].comment).
        type: str
      state:
        description: Whether the view is there. It is not dropped while something stands on it.
        type: str
        choices: [present, absent]
        default: present
  statistics:
    description: The extended statistics, made and filled by C(ANALYZE) in one transaction.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the statistics object, at most 63 bytes.
        type: str
        required: true
      schema:
        description: Schema of the table, and so of the statistics object.
        type: str
        default: public
      table:
        description: Table or materialized view.
        type: str
        required: true
      columns:
        description: Names of columns.
        type: list
        elements: str
        default: []
      expressions:
        description: Expressions in SQL.
        type: list
        elements: str
        default: []
      kinds:
        description: Kinds of statistics. All of them where it is left out.
        type: list
        elements: str
        choices: [ndistinct, dependencies, mcv]
        default: []
      target:
        description: Statistics target, V(-1) for that of the columns. Not managed where it is left out.
        type: int
      comment:
        description: Comment on the statistics object, as O(indexes[].comment).
        type: str
      state:
        description: Whether it is there.
        type: str
        choices: [present, absent]
        default: present
  column_statistics:
    description: Statistics targets of columns. A column that is not named is not managed.
    type: list
    elements: dict
    default: []
    suboptions:
      schema:
        description: Schema of the table.
        type: str
        default: public
      table:
        description: Table or materialized view.
        type: str
        required: true
      column:
        description: Name of the column.
        type: str
        required: true
      target:
        description: Statistics target, V(-1) for the server's default.
        type: int
        required: true
  table_parameters:
    description: Storage parameters of tables. One that is not named is not managed.
    type: list
    elements: dict
    default: []
    suboptions:
      schema:
        description: Schema of the table.
        type: str
        default: public
      table:
        description: Table or materialized view.
        type: str
        required: true
      parameters:
        description: Storage parameters by name, those of the TOAST table with the prefix C(toast.). A null resets
          one.
        type: dict
        required: true
  prune:
    description:
      - Whether to remove what carries the module's mark and is not declared any more. What the module did not make
        is never removed, unless it is declared V(absent).
    type: bool
    default: false
  concurrently:
    description: Whether indexes are built without blocking writes. Turn it off only for a database that
      nobody uses.
    type: bool
    default: true
  lock_timeout:
    description:
      - Seconds that a step which others feel waits for a lock at most, in one attempt. Attempts begin at a tenth of
        a second.
    type: float
    default: 1.0
  lock_budget:
    description: Seconds that all attempts of one such step may take, after which the task fails and names who is in
      the way.
    type: float
    default: 60.0
  build_wait:
    description:
      - Seconds that a concurrent build may do nothing but wait for other sessions, after which it is cancelled and
        the task fails and names them. The next run goes on.
    type: float
    default: 600.0
  run_wait:
    description: Seconds to wait for another run, or a maintenance job that takes the same lock, to end.
    type: float
    default: 60.0
  space_check:
    description:
      - Whether builds must fit into the free space of their file systems. V(when_known) checks where the server is
        on this host and its data directory may be asked for, or where O(free_space) says it. V(required) refuses
          where it is not known.
    type: str
    choices: [when_known, required, 'off']
    default: when_known
  space_reserve:
    description: Bytes that must stay free.
    type: int
    default: 0
  free_space:
    description:
      - Free bytes of tablespaces by their names, such as V(pg_default), where they cannot be measured from here. Goes
        before a measurement.
    type: dict
    default: {}
requirements:
  - psycopg2 >= 2.8 on the host that executes the module
notes:
  - Serves PostgreSQL 15, 16, 17 and 18.
  - The role must own the tables, may make temporary tables, and may create in the schemas.
  - Refuses a standby and a connection through a pooler in transaction mode.
  - A run that changes something holds the session-level advisory lock (1885826928, 1) of the database. Maintenance
    jobs take the same one with C(pg_try_advisory_lock), never waiting inside a statement, which a concurrent build
    would wait for.
  - Values are read as C(psql) reads them. An instant without a zone, a date or an interval in a predicate or a query
    means what the C(TimeZone), C(DateStyle) and C(IntervalStyle) of the server, the database or the role make of it.
    Materialized views are filled with those settings too. A literal with its zone means the same everywhere.
  - The index of a constraint with another definition is exchanged with its constraint in one statement. It is refused
    while a foreign key, a view that is grouped by a primary key, or a function, a rule or a policy stands on it.
  - The index of an exclusion constraint is built again only where O(concurrently) is off, as the server does it in no
    other way.
  - Expressions that use a table's whole row as a value cannot be compared and are refused.
  - Refused are also what no twin shows. That is a partition that belongs to another role, a function that the owner of
    the table may not execute, a materialized view with the name of a type, statistics of a virtual generated column.
  - A function in an expression or a query is best written with schemas in its body, or has a search path of its own.
    From PostgreSQL 17 on indexes are built and views are filled with C(pg_catalog) and C(pg_temp) alone, whatever
    O(search_path) says. A run that fails at it names the function.
  - Names are measured in the database's encoding, and a text that it does not have is refused. In a database in
    C(SQL_ASCII) what is declared is meant in UTF-8, and bytes that are none are shown as numbers.
  - Event triggers see the temporary twins by which definitions are compared. Where one refuses a twin, as by a rule
    that each table has a primary key, it is made in another way. Where each way is refused, so is the declaration,
    with the name of the trigger, whose function has to let pass what is in the schema C(pg_temp).
  - A column whose type the role may not use can be indexed, as by the server itself. One of a base type or a
    multirange of an extension that it may not use cannot be compared, and an index on it is refused with the grant
    that helps. Newer releases want USAGE on the types of constants in expressions too.
  - A name without schema in a query means the first relation of O(search_path) that has it, among those that are there
    and the views that are declared. A view whose query reads the view itself is refused.
seealso:
  - module: community.postgresql.postgresql_idx
    description: Creates and drops one index, and looks at its name alone.
  - name: Building indexes concurrently
    description: What PostgreSQL does, and what it leaves when it is interrupted.
    link: https://www.postgresql.org/docs/current/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY
  - name: Refreshing materialized views
    description: What a refresh that does not block readers needs.
    link: https://www.postgresql.org/docs/current/sql-refreshmaterializedview.html
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    details: The same code as a run, without its last part. What it predicts is what a run does.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in
      diff mode.
    details: Shows each object before and after, in the server's spelling.
    support: full
  platform:
    description: Target OS/families that can be operated against.
    platforms: posix
    support: full
author:
  - The mltrading-db contributors
"""

EXAMPLES = r"""
- name: Index the newest rows of a symbol
  postgresql_optimization:
    login_db: trading
    session_role: trading_owner
    indexes:
      - name: bars_symbol_time
        table: bars
        columns: [symbol, {name: time, order: desc}]
        include: [open, high, low, close]

- name: Index open orders by the lower case of their reference, and words in notes
  postgresql_optimization:
    login_db: trading
    indexes:
      - name: orders_open_reference
        table: orders
        columns:
          - expression: lower(reference)
            collation: C
        where: status IN ('new', 'open')
        unique: true
        comment: A reference is used once among the open orders
      - name: orders_notes
        table: orders
        columns: [notes]
        method: gin
        storage_parameters: {fastupdate: false}
      - name: orders_old
        table: orders
        state: absent

- name: Keep a summary that a job refreshes concurrently
  postgresql_optimization:
    login_db: trading
    materialized_views:
      - name: daily_volume
        query: SELECT symbol, date_trunc('day', time) AS day, sum(volume) AS volume FROM bars GROUP BY 1, 2
        indexes:
          - name: daily_volume_key
            columns: [symbol, day]
            unique: true
        refresh:
          policy: concurrently

- name: Tell the planner what it cannot see by itself
  postgresql_optimization:
    login_db: trading
    statistics:
      - name: orders_symbol_status
        table: orders
        columns: [symbol, status]
        kinds: [dependencies, mcv]
    column_statistics:
      - table: bars
        column: symbol
        target: 1000
    table_parameters:
      - table: bars
        parameters:
          autovacuum_vacuum_insert_scale_factor: 0.01
          fillfactor: 90

- name: See what a run would do, as a user on the network
  postgresql_optimization:
    login_db: trading
    login_host: db1.example.com
    login_user: deploy
    login_password: "{{ deploy_password }}"
    ssl_mode: verify-full
    ca_cert: /etc/ssl/certs/internal-ca.pem
    indexes: "{{ trading_indexes }}"
    prune: true
  check_mode: true
  diff: true
"""

RETURN = r"""
actions:
  description: What was done or, in check mode, would be done, in order. The same in both but for RV(actions[].state)
    and RV(actions[].seconds).
  returned: always
  type: list
  elements: dict
  contains:
    kind:
      description: Kind of the object.
      type: str
      sample: index
    name:
      description: Its qualified name.
      type: str
      sample: public.bars_symbol_time
    action:
      description: One of V(create), V(replace), V(rebuild), V(complete), V(alter), V(refresh), V(drop), V(prune) and
        V(clean).
      type: str
      sample: create
    reason:
      description: Why.
      type: str
      sample: does not exist
    statements:
      description: The statements, with the bounds of their transactions.
      type: list
      elements: str
    locks:
      description: The locks they take on what others use.
      type: list
      elements: str
      sample: [SHARE UPDATE EXCLUSIVE on public.bars]
    before:
      description: The object as it was, in the server's spelling; empty where it was not.
      type: str
    after:
      description: The object as declared, in the server's spelling; empty where it goes.
      type: str
    estimated_bytes:
      description: Estimated bytes of what is built, with the indexes of a materialized view.
      type: int
    estimated_seconds:
      description: Estimated time of the build.
      type: float
    state:
      description: One of V(planned), V(done) and V(failed). What comes after a failed one stays V(planned).
      type: str
    seconds:
      description: Seconds that it took, null unless it is done.
      type: float
problems:
  description: Why the declaration was refused. Empty where it was not.
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
undeclared:
  description: Indexes on declared tables that are not declared and back no constraint. What else is outside of the
    declaration is warned of.
  returned: always
  type: list
  elements: str
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

from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.pg_optimization import entry
from ansible.module_utils.pg_optimization.connection import MISSING
from ansible.module_utils.pg_optimization.errors import OptimizationError
from ansible.module_utils.pg_optimization.run import Report, Request, run


def _index_spec(**more: Any) -> dict[str, Any]:
    return {
        "name": {"type": "str", "required": True},
        "columns": {"type": "list", "elements": "raw", "default": []},
        "method": {"type": "str", "default": "btree"},
        "include": {"type": "list", "elements": "str", "default": []},
        "where": {"type": "str"},
        "unique": {"type": "bool", "default": False},
        "nulls_not_distinct": {"type": "bool", "default": False},
        "storage_parameters": {"type": "dict", "default": {}},
        "tablespace": {"type": "str"},
        "comment": {"type": "str"},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        **more,
    }


def argument_spec() -> dict[str, Any]:
    """Return the module's parameters, as DOCUMENTATION has them."""
    objects: dict[str, Any] = {"type": "list", "elements": "dict", "default": []}
    schema = {"type": "str", "default": "public"}
    table = {"type": "str", "required": True}
    state = {"type": "str", "choices": ["present", "absent"], "default": "present"}
    return {
        **entry.common_spec(lock_timeout=1.0, lock_budget=60.0),
        "search_path": {"type": "list", "elements": "str", "default": ["public"]},
        "session_settings": {"type": "dict", "default": {}},
        "indexes": {**objects, "options": _index_spec(schema=schema, table=table)},
        "materialized_views": {
            **objects,
            "options": {
                "name": {"type": "str", "required": True},
                "schema": schema,
                "query": {"type": "str"},
                "indexes": {**objects, "options": _index_spec()},
                "refresh": {
                    "type": "dict",
                    "default": {},
                    "options": {"policy": {"type": "str", "choices": ["plain", "concurrently"], "default": "plain"}},
                },
                "populate": {"type": "bool", "default": True},
                "storage_parameters": {"type": "dict", "default": {}},
                "tablespace": {"type": "str"},
                "comment": {"type": "str"},
                "state": state,
            },
        },
        "statistics": {
            **objects,
            "options": {
                "name": {"type": "str", "required": True},
                "schema": schema,
                "table": table,
                "columns": {"type": "list", "elements": "str", "default": []},
                "expressions": {"type": "list", "elements": "str", "default": []},
                "kinds": {
                    "type": "list",
                    "elements": "str",
                    "choices": ["ndistinct", "dependencies", "mcv"],
                    "default": [],
                },
                "target": {"type": "int"},
                "comment": {"type": "str"},
                "state": state,
            },
        },
        "column_statistics": {
            **objects,
            "options": {
                "schema": schema,
                "table": table,
                "column": {"type": "str", "required": True},
                "target": {"type": "int", "required": True},
            },
        },
        "table_parameters": {
            **objects,
            "options": {"schema": schema, "table": table, "parameters": {"type": "dict", "required": True}},
        },
        "prune": {"type": "bool", "default": False},
        "concurrently": {"type": "bool", "default": True},
    }


def request(params: dict[str, Any], *, check: bool) -> Request:
    """Return what a run is given, from the module's parameters."""
    path, settings = tuple(params["search_path"]), params["session_settings"]
    return entry.request(params, check=check, search_path=path, session_settings=settings)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    report = Report()
    if MISSING is not None:
        module.fail_json(msg=missing_required_lib("psycopg2"), exception=str(MISSING), **report.result())
    error: OptimizationError | None = None
    try:
        run(request(module.params, check=module.check_mode), report)
    except OptimizationError as failure:
        error = failure
    entry.end(module, report.result(error), error)


if __name__ == "__main__":
    main()
