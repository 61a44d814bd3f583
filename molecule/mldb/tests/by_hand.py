"""What somebody may change by hand on a server or its host: how it is made, found, and seen to be there."""

from dataclasses import dataclass

from environment import BACKUP1, DATABASE, DB1, DB2, Node

REPOSITORY, NOBODY = "repository", "nobody has said"
CLUSTER = "/etc/postgresql/*/main"
TABLE = "feature_engineered_data"


@dataclass(frozen=True)
class ByHand:
    """A change: where it is made and by what; how drift calls it, and the word that it has to be named by.

    `right` is who has said otherwise; where it is the repository, drift calls the change as a plan would. `there` asks
    whether it is there.
    """

    node: Node
    sql: str
    shell: str
    kind: str
    word: str
    right: str
    there: str

    def make(self) -> None:
        """Change it."""
        if self.sql:
            self.node.sql(self.sql)
        if self.shell:
            self.node.do(self.shell)

    def is_there(self) -> bool:
        """Whether the change has stayed."""
        if self.there.startswith("SELECT"):
            return self.node.sql(self.there) == "t"
        return self.node.run(self.there).returncode == 0


def sql(statement: str, kind: str, word: str, right: str, there: str) -> ByHand:
    """A change of the server."""
    return ByHand(DB1, statement, "", kind, word, right, f"SELECT {there}")


def shell(command: str, kind: str, word: str, right: str, there: str) -> ByHand:
    """A change of the primary's host."""
    return ByHand(DB1, "", command, kind, word, right, there)


def exists(name: str) -> str:
    """Whether there is a relation of that name."""
    return f"to_regclass('{name}') IS NOT NULL"


CHANGES = {
    "a setting": sql(
        "ALTER SYSTEM SET vacuum_cost_page_miss = '3'; SELECT pg_reload_conf();",
        "setting",
        "vacuum_cost_page_miss",
        NOBODY,
        "current_setting('vacuum_cost_page_miss') = '3'",
    ),
    "a setting of a role": sql(
        "ALTER ROLE mltrading_ro SET work_mem = '21MB';",
        "users and privileges",
        "of role mltrading_ro",
        REPOSITORY,
        "EXISTS (SELECT FROM pg_db_role_setting WHERE 'work_mem=21MB' = ANY (setconfig))",
    ),
    "a drop-in of settings": shell(
        f"echo \"log_temp_files = '77kB'\" > $(echo {CLUSTER})/conf.d/95_by_hand.conf",
        "file",
        "95_by_hand.conf",
        NOBODY,
        f"test -e {CLUSTER}/conf.d/95_by_hand.conf",
    ),
    "a login rule": shell(
        f"sed -i '1i hostssl all monitor 192.0.2.77/32 scram-sha-256' {CLUSTER}/pg_hba.conf",
        "login rules",
        "192.0.2.77",
        REPOSITORY,
        f"grep 192.0.2.77 {CLUSTER}/pg_hba.conf",
    ),
    "a role": sql(
        "CREATE ROLE stranger LOGIN;",
        "role",
        "stranger",
        NOBODY,
        "EXISTS (SELECT FROM pg_roles WHERE rolname = 'stranger')",
    ),
    "a privilege on a table": sql(
        f"GRANT TRUNCATE ON {TABLE} TO mltrading_ro;",
        "privileges",
        TABLE,
        NOBODY,
        f"has_table_privilege('mltrading_ro', '{TABLE}', 'TRUNCATE')",
    ),
    "a privilege on the database": sql(
        f"GRANT CONNECT ON DATABASE {DATABASE} TO PUBLIC;",
        "users and privileges",
        f"({DATABASE})",
        REPOSITORY,
        f"has_database_privilege('public', '{DATABASE}', 'CONNECT')",
    ),
    "a declared index dropped": sql(
        "DROP INDEX idx_features_cleanup;",
        "objects of the database",
        "idx_features_cleanup",
        REPOSITORY,
        "to_regclass('idx_features_cleanup') IS NULL",
    ),
    "a declared index made otherwise": sql(
        f"DROP INDEX idx_features_timeseries; CREATE INDEX idx_features_timeseries ON {TABLE} (timestamp);",
        "objects of the database",
        "idx_features_timeseries",
        REPOSITORY,
        "pg_get_indexdef('idx_features_timeseries'::regclass) NOT LIKE '%INCLUDE%'",
    ),
    "an index added": sql(
        f"CREATE INDEX index_by_hand ON {TABLE} (volume);", "index", "index_by_hand", NOBODY, exists("index_by_hand")
    ),
    "a materialized view": sql(
        "CREATE MATERIALIZED VIEW summary_by_hand AS SELECT 1 AS n;",
        "materialized view",
        "summary_by_hand",
        NOBODY,
        exists("summary_by_hand"),
    ),
    "a view": sql("CREATE VIEW view_by_hand AS SELECT 1 AS n;", "view", "view_by_hand", NOBODY, exists("view_by_hand")),
    "an extension": sql(
        "CREATE EXTENSION btree_gist;",
        "extension",
        "btree_gist",
        NOBODY,
        "EXISTS (SELECT FROM pg_extension WHERE extname = 'btree_gist')",
    ),
    "a function with its owner's rights": sql(
        "CREATE FUNCTION function_by_hand() RETURNS int SECURITY DEFINER LANGUAGE sql AS 'SELECT 1';",
        "function with its owner's rights",
        "function_by_hand",
        NOBODY,
        "to_regproc('function_by_hand') IS NOT NULL",
    ),
    "a line of cron": ByHand(
        BACKUP1,
        "",
        "echo '5 5 * * * root /usr/bin/true by hand' > /etc/cron.d/by_hand",
        "cron line",
        "/usr/bin/true by hand",
        NOBODY,
        "test -e /etc/cron.d/by_hand",
    ),
    "a managed file edited": shell(
        "sed -i 's/^max_client_conn.*/max_client_conn = 77/' /etc/pgbouncer/pgbouncer.ini",
        "files",
        "/etc/pgbouncer/pgbouncer.ini",
        REPOSITORY,
        "grep -x 'max_client_conn = 77' /etc/pgbouncer/pgbouncer.ini",
    ),
    "a job's script edited": ByHand(
        DB2,
        "",
        "echo '# by hand' >> /usr/local/lib/mltrading-db/dbjob",
        "jobs",
        "/usr/local/lib/mltrading-db/dbjob",
        REPOSITORY,
        "grep '# by hand' /usr/local/lib/mltrading-db/dbjob",
    ),
    "a file added": ByHand(
        BACKUP1,
        "",
        "echo BY_HAND=1 > /etc/mltrading-db/by_hand.env",
        "file",
        "/etc/mltrading-db/by_hand.env",
        NOBODY,
        "test -e /etc/mltrading-db/by_hand.env",
    ),
}
