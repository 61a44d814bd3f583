"""Whether the pooler of this host lets clients in: as the job pgbouncer_metrics, who may ask, has last written it."""

from __future__ import annotations

import re
import time
from typing import Any

from health_checks import ROOT, STATE, Check, Rows, row
from health_server import Server

SCHEDULE = ROOT / "etc/cron.d/mltrading-db-pgbouncer_metrics"
METRICS = STATE / "metrics_pgbouncer" / "pgbouncer.prom"
# It is asked each minute. What is older says nothing of now.
OLDEST = 180
DATABASE = re.compile(r'pgbouncer_database_up\{database="((?:[^"\\]|\\.)*)"\} (\d)')
REASON = re.compile(r"# reason (\S+): (.*)")


def pooler(_check: Check, _server: Server, _settings: dict[str, Any]) -> Rows:
    """The pooler, and each database that it offers: 0 where a client gets in, 1 where not."""
    if not SCHEDULE.exists():
        return []
    now = time.time()
    if not METRICS.exists():
        if now - SCHEDULE.stat().st_mtime < OLDEST:
            return [row("pgbouncer", None, "not asked yet")]
        raise RuntimeError("the pooler was never asked: see /var/log/mltrading-db/pgbouncer_metrics.log")
    if now - METRICS.stat().st_mtime > OLDEST:
        minutes = round((now - METRICS.stat().st_mtime) / 60)
        raise RuntimeError(
            f"the pooler was last asked {minutes} min ago: see /var/log/mltrading-db/pgbouncer_metrics.log"
        )
    text = METRICS.read_text(encoding="utf-8")
    reasons = dict(REASON.findall(text))
    up = "\npgbouncer_up 1\n" in text
    found = [row("pgbouncer", int(not up), "it answers" if up else reasons.get("pgbouncer", "it does not answer"))]
    for name, answers in DATABASE.findall(text):
        detail = "a client gets in" if answers == "1" else reasons.get(name, "no client gets in")
        found.append(row(f"database {name}", int(answers == "0"), detail))
    return found
