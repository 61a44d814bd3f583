"""Whether the server's clock may be believed: compared with clocks that are not its own.

A clock that is ahead makes everything look old. Fresh rows say nothing of it, as they are dated by the same clock.
"""

from __future__ import annotations

from collections.abc import Mapping

from dbjob_session import Session

# Seconds by which clocks may differ; a replica's last word may be as old as wal_sender_timeout.
MOST = 3600.0

# The clock of each replica, as it last said.
REPLICAS = """
SELECT
    coalesce(nullif(application_name, ''), client_addr::text, 'a replica') AS name,
    extract(EPOCH FROM clock_timestamp() - reply_time)::float8 AS ahead
FROM pg_stat_replication WHERE reply_time IS NOT NULL ORDER BY abs(extract(EPOCH FROM now() - reply_time)) DESC
"""


def disagreement(session: Session, environment: Mapping[str, str]) -> str:
    """Return why the server's clock is not to be believed, or nothing.

    `environment` is the job's: in DBJOB_CLOCK_STEP dbjob says by how many seconds the clock was set since the job last
    did well.
    """
    for replica in session.run(REPLICAS):
        if abs(replica["ahead"]) > MOST:
            return f"the server's clock is {told(replica['ahead'])} that of {replica['name']}: correct the wrong one"
    step = float(environment.get("DBJOB_CLOCK_STEP", "0"))
    if abs(step) > MOST:
        way = "forward" if step > 0 else "back"
        return (
            f"the host's clock was set {way} by {length(step)} since this job last did well: correct it, or, where it "
            f"is right now, run the job once with --clock-is-right"
        )
    return ""


def told(seconds: float) -> str:
    """Return a difference in words."""
    return f"{length(seconds)} {'ahead of' if seconds > 0 else 'behind'}"


def length(seconds: float) -> str:
    """Return a time in hours."""
    return f"{abs(seconds) / MOST:.1f} hours"
