"""The SQL that asks who is in the way. A prepared transaction has no process: its pid is null."""

from __future__ import annotations

# `a` is pg_stat_activity, `p` pg_prepared_xacts, either of them or none.
_WHO = """
       a.pid, coalesce(a.usename, p.owner) AS user,
       -- A worker belongs to no role; what it is, is hidden from those who may not read all statistics.
       CASE WHEN p.gid IS NOT NULL THEN 'prepared transaction ' || p.gid
            WHEN a.pid IS NOT NULL AND a.usesysid IS NULL THEN coalesce(a.backend_type, 'autovacuum or another worker')
            ELSE a.application_name END AS application,
       CASE WHEN p.gid IS NOT NULL THEN 'prepared' ELSE a.state END AS state,
       extract(epoch FROM now() - coalesce(a.xact_start, p.prepared))::float8 AS transaction_seconds,
       left(a.query, 200) AS query
"""

# What blocks or would block: relations, modes that conflict
HOLDERS = f"""
SELECT DISTINCT {_WHO}, format('%%s on %%s', l.mode, l.relation::regclass) AS holds,
       a.pid IS NOT NULL AND a.usesysid IS NULL AND coalesce(a.backend_type = 'autovacuum worker', true) AS autovacuum
FROM pg_locks l
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
LEFT JOIN pg_locks x ON l.pid IS NULL AND x.pid IS NULL AND x.locktype = 'transactionid'
     AND x.virtualtransaction = l.virtualtransaction
LEFT JOIN pg_prepared_xacts p ON p.transaction = x.transactionid
WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.relation = ANY (%s::oid[]) AND l.mode = ANY (%s::text[])
ORDER BY a.pid
"""  # noqa: S608 - parts of this file

# Relations, with their indexes and partitions and the indexes of those: what observing them opens
AROUND = """
WITH RECURSIVE tree (oid) AS (
    SELECT unnest(%s::oid[])
    UNION
    SELECT h.inhrelid FROM tree JOIN pg_inherits h ON h.inhparent = tree.oid
)
SELECT oid::bigint AS oid FROM tree
UNION
SELECT i.indexrelid::bigint FROM tree JOIN pg_index i ON i.indrelid = tree.oid
"""

# Sessions for which a build on these relations will wait: writers of them, old snapshots, prepared transactions
BLOCKERS_OF_BUILD = f"""
SELECT DISTINCT {_WHO},
       CASE WHEN p.gid IS NOT NULL THEN 'a prepared transaction'
            WHEN l.pid IS NOT NULL THEN format('%%s on %%s', l.mode, l.relation::regclass)
            ELSE 'a snapshot' END AS holds
FROM pg_stat_activity a
FULL JOIN pg_prepared_xacts p ON false
LEFT JOIN pg_locks l ON l.pid = a.pid AND l.locktype = 'relation' AND l.granted AND l.relation = ANY (%s::oid[])
     AND l.mode NOT IN ('AccessShareLock', 'RowShareLock')
WHERE p.database = current_database()
   OR (a.datname = current_database() AND a.pid <> pg_backend_pid()
       AND (l.pid IS NOT NULL
            OR (a.backend_xmin IS NOT NULL AND a.backend_type = 'client backend'
                AND a.xact_start < now() - interval '1 second')))
"""  # noqa: S608 - parts of this file

# By whom a session of ours is blocked right now, and how far its build is: the process number, twice. An autovacuum
# worker is named too: the one that prevents a wraparound does not yield.
WATCH = f"""
SELECT {_WHO},
       coalesce((SELECT phase FROM pg_stat_progress_create_index WHERE pid = %s), 'waiting for a lock') AS holds
FROM unnest(pg_blocking_pids(%s)) b(pid)
LEFT JOIN pg_stat_activity a ON a.pid = b.pid
LEFT JOIN pg_prepared_xacts p ON b.pid = 0 AND p.database = current_database()
"""  # noqa: S608 - parts of this file
