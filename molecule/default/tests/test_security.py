"""The security controls that concern every server, each asked of the running system.

The numbers are those of docs/security.md, which names the benchmark that each comes from.
"""

from collections.abc import Callable

import pytest
from conftest import Query
from testinfra.host import Host

# A standby is held to all of it as much as its primary.
testinfra_hosts = ["postgresql"]

ASKED_OF_THE_SERVER = [
    pytest.param("SHOW data_checksums", "on", id="3-data-checksums"),
    pytest.param(
        "SELECT count(*) FROM pg_authid WHERE rolpassword NOT LIKE 'SCRAM-SHA-256$%'", "0", id="10-scram-passwords-only"
    ),
    pytest.param("SHOW password_encryption", "scram-sha-256", id="10-scram-is-what-a-new-password-becomes"),
    pytest.param(
        "SELECT string_agg(rolname, ',') FROM pg_authid"
        " WHERE rolcanlogin AND rolpassword IS NULL AND rolname <> 'postgres'",
        "",
        id="11-every-role-that-logs-in-has-a-secret",
    ),
    pytest.param(
        "SELECT string_agg(rolname, ',') FROM pg_roles WHERE rolsuper OR rolcreaterole OR rolcreatedb",
        "postgres",
        id="12-one-role-with-power",
    ),
    pytest.param(
        "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method IN ('trust', 'md5', 'password', 'ident')"
        " OR (type IN ('host', 'hostnossl') AND auth_method <> 'reject') OR error IS NOT NULL",
        "0",
        id="14-network-logins-are-tls-and-scram",
    ),
    pytest.param(
        "SELECT string_agg(DISTINCT auth_method, ',') FROM pg_hba_file_rules WHERE type = 'local'",
        "peer,reject",
        id="14-socket-logins-are-peer",
    ),
    pytest.param(
        "SELECT count(*) FROM (SELECT auth_method FROM pg_hba_file_rules ORDER BY line_number DESC LIMIT 3) AS last"
        " WHERE auth_method = 'reject'",
        "3",
        id="14-the-rules-end-in-reject",
    ),
    pytest.param(
        "SELECT count(*) FROM pg_hba_file_rules WHERE type = 'hostssl' AND ('all' = ANY(user_name)"
        " OR 'postgres' = ANY(user_name) OR netmask IN ('0.0.0.0', '::'))",
        "0",
        id="15-rules-name-roles-and-networks",
    ),
    pytest.param("SHOW ssl", "on", id="16-tls"),
    pytest.param("SHOW ssl_min_protocol_version", "TLSv1.2", id="16-tls-version"),
    pytest.param(
        "SELECT rolcanlogin, rolsuper, rolinherit FROM pg_roles WHERE rolname = 'mltrading_owner'",
        "f|f|t",
        id="20-the-owner-cannot-log-in",
    ),
    pytest.param(
        "SELECT rolcanlogin, rolreplication, rolsuper FROM pg_roles WHERE rolname = 'replicator'",
        "t|t|f",
        id="20-the-replicator-replicates-only",
    ),
    pytest.param(
        "SELECT string_agg(r.rolname, ',') FROM pg_auth_members AS m JOIN pg_roles AS r ON r.oid = m.roleid"
        " JOIN pg_roles AS u ON u.oid = m.member WHERE u.rolname = 'monitor'",
        "pg_monitor",
        id="20-monitor-reads-statistics-only",
    ),
    pytest.param(
        "SELECT string_agg(datname, ',') FROM pg_database"
        " WHERE datallowconn AND datname <> 'template1' AND has_database_privilege('public', oid, 'CONNECT')",
        "",
        id="21-nobody-connects-unnamed",
    ),
    pytest.param("SELECT has_schema_privilege('public', 'public', 'CREATE')", "f", id="21-nobody-creates-in-public"),
    pytest.param(
        "SELECT string_agg(rolname, ',') FROM pg_roles"
        " WHERE rolcanlogin AND rolname <> 'postgres' AND rolconnlimit = -1",
        "",
        id="22-every-role-has-a-connection-limit",
    ),
    pytest.param(
        "SELECT count(*) FROM pg_db_role_setting AS s JOIN pg_roles AS r ON r.oid = s.setrole, unnest(s.setconfig) AS c"
        " WHERE r.rolname IN ('mltrading_rw', 'mltrading_ro') AND (c LIKE 'statement_timeout=%'"
        " OR c LIKE 'lock_timeout=%' OR c LIKE 'idle_in_transaction_session_timeout=%' OR c = 'TimeZone=UTC')",
        "8",
        id="22-clients-have-timeouts-and-utc",
    ),
    pytest.param(
        "SELECT string_agg(setting, ',' ORDER BY name) FROM pg_settings WHERE name IN ('log_connections',"
        " 'log_disconnections', 'log_replication_commands', 'log_statement', 'log_file_mode')",
        "on,on,0600,on,ddl",
        id="23-logging",
    ),
    pytest.param("SHOW log_line_prefix", "%m [%p]: user=%u,db=%d,app=%a,client=%r", id="23-log-line-prefix"),
    pytest.param(
        "SELECT count(*) FROM pg_settings WHERE name LIKE 'debug_print_%' AND setting = 'on'",
        "0",
        id="23-no-debug-output",
    ),
    pytest.param("SHOW shared_preload_libraries", "pg_stat_statements, pgaudit", id="24-pgaudit-is-loaded"),
    pytest.param("SHOW pgaudit.log", "ddl, role, write", id="24-pgaudit-classes"),
    pytest.param(
        "SELECT string_agg(lanname, ',') FROM pg_language WHERE NOT lanpltrusted AND lanname NOT IN ('internal', 'c')",
        "",
        id="25-no-untrusted-language",
    ),
]


@pytest.mark.parametrize(("statement", "expected"), ASKED_OF_THE_SERVER)
def test_the_server_answers_as_the_control_says(query: Query, statement: str, expected: str) -> None:
    assert query(statement).strip() == expected


ASKED_OF_THE_POOLED_DATABASE = [
    # Beside pg_partman 4's own, which check a word and have a fixed search_path.
    pytest.param(
        "SELECT string_agg(n.nspname || '.' || p.proname, ',') FROM pg_proc AS p"
        " JOIN pg_namespace AS n ON n.oid = p.pronamespace WHERE p.prosecdef AND n.nspname <> 'pg_catalog'"
        " AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')",
        "pgbouncer.get_auth",
        id="18-one-security-definer-function",
    ),
    pytest.param(
        "SELECT has_function_privilege('public', 'pgbouncer.get_auth(text)', 'EXECUTE')",
        "f",
        id="18-not-everybody-calls-it",
    ),
    pytest.param(
        "SELECT has_function_privilege('mltrading_rw', 'pgbouncer.get_auth(text)', 'EXECUTE')",
        "f",
        id="18-nor-the-application",
    ),
    pytest.param(
        "SELECT count(*) FROM unnest(ARRAY['postgres', 'replicator', 'pgbouncer_auth', 'mltrading_owner', 'nobody'])"
        " AS n, pgbouncer.get_auth(n)",
        "0",
        id="18-it-answers-for-no-superuser-no-replicator-not-itself",
    ),
    pytest.param(
        "SELECT count(*) FROM pgbouncer.get_auth('mltrading_rw')", "1", id="18-it-answers-for-the-application"
    ),
    # pg_partman comes with the first table that is partitioned.
    pytest.param(
        "SELECT string_agg(extname, ',' ORDER BY extname) FROM pg_extension WHERE extname <> 'pg_partman'",
        "pg_stat_statements,pgstattuple,plpgsql",
        id="25-extensions",
    ),
    pytest.param(
        "SELECT string_agg(DISTINCT tableowner, ',') FROM pg_tables WHERE schemaname = 'public'",
        "mltrading_owner",
        id="20-the-owner-owns-the-tables",
    ),
    pytest.param(
        "SELECT bool_or(has_table_privilege('mltrading_ro', oid, 'INSERT, UPDATE, DELETE, TRUNCATE')) FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'm')",
        "f",
        id="20-read-only-does-not-write",
    ),
    pytest.param(
        "SELECT bool_and(has_table_privilege('mltrading_ro', oid, 'SELECT')) FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'm')",
        "t",
        id="20-read-only-reads",
    ),
    pytest.param(
        "SELECT bool_or(has_table_privilege('mltrading_rw', oid, 'TRUNCATE, TRIGGER, REFERENCES')) FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'",
        "f",
        id="20-read-write-changes-rows-and-nothing-else",
    ),
]


@pytest.mark.parametrize(("statement", "expected"), ASKED_OF_THE_POOLED_DATABASE)
def test_the_trading_database_answers_as_the_control_says(query: Query, statement: str, expected: str) -> None:
    assert query(statement, "mltrading").strip() == expected


ASKED_OF_THE_HOST = [
    pytest.param("pg_lsclusters --no-header | wc -l", "1", id="2-one-instance"),
    pytest.param("stat -c '%U %a' /var/lib/postgresql/*/main", "postgres 700", id="4-data-directory"),
    pytest.param("stat -c '%U %a' /var/log/postgresql/*-main", "postgres 700", id="4-log-directory"),
    pytest.param("stat -c '%U %a' /etc/postgresql/*/main", "postgres 700", id="5-configuration-directory"),
    pytest.param("stat -c '%U %a' /etc/postgresql/*/main/pg_hba.conf", "postgres 600", id="5-pg-hba"),
    pytest.param("su - postgres -c umask", "0077", id="7-umask-of-postgres"),
    pytest.param(
        "grep -ls PGPASSWORD /etc/profile /etc/profile.d/* /var/tmp/.* ~postgres/.* | wc -l",
        "0",
        id="8-no-password-in-profiles",
    ),
    pytest.param("grep -lsa PGPASSWORD= /proc/[0-9]*/environ | wc -l", "0", id="8-no-password-in-processes"),
    pytest.param("readlink ~postgres/.psql_history", "/dev/null", id="9-no-history"),
    pytest.param("stat -c '%U %a' /var/lib/postgresql/tls/server.key", "postgres 600", id="16-server-key"),
    pytest.param(
        "systemd-analyze security --no-pager $(systemctl list-units --plain --no-legend 'postgresql@*' | cut -d' ' -f1)"
        " | grep -oE '[A-Z]+ :-[)(]$'",
        "OK :-)",
        id="27-the-server-s-unit",
    ),
    pytest.param(
        "grep -E '^(NoNewPrivs|Seccomp):' /proc/$(head -1 /var/lib/postgresql/*/main/postmaster.pid)/status"
        " | tr -d '\\n\\t'",
        "NoNewPrivs:1Seccomp:2",
        id="27-the-server-itself",
    ),
]


@pytest.mark.parametrize(("command", "expected"), ASKED_OF_THE_HOST)
def test_the_host_answers_as_the_control_says(host: Host, command: str, expected: str) -> None:
    assert host.check_output(command) == expected


SECRETS = (
    "mltrading_rw_password",
    "mltrading_ro_password",
    "monitor_password",
    "pgbouncer_auth_password",
    "replicator_password",
)


@pytest.mark.parametrize("name", SECRETS)
def test_28_no_log_on_the_host_holds_a_password(host: Host, secret: Callable[[str], str], name: str) -> None:
    assert host.run("grep -rlF -- %s /var/log /tmp", secret(name)).stdout == ""


def test_1_the_server_comes_from_debian(host: Host, query: Query) -> None:
    major = int(query("SHOW server_version_num")) // 10000
    policy = host.check_output("apt-cache policy postgresql-%s", str(major))
    assert f"/main {host.check_output('dpkg --print-architecture')} Packages" in policy
    assert host.package(f"postgresql-{major}").is_installed
