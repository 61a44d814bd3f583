"""What Prometheus and Alertmanager say on the host that watches, and when they began and ended to say it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from harness import Node

Alert = tuple[str, str]  # its name, and the host that it names
ASK_PROMETHEUS = "promtool query instant --format=json http://127.0.0.1:9090 'ALERTS{alertstate=\"firing\"}'"
ASK_ALERTMANAGER = "amtool --alertmanager.url=http://127.0.0.1:9093 --output=json alert query"
ALWAYS = "Watchdog"
# Seconds between two looks.
PAUSE = 3


def named(labels: dict[str, str]) -> Alert:
    """An alert by its labels."""
    return labels["alertname"], labels.get("instance", "")


@dataclass
class Seen:
    """One alert: how grave it was at last, and when it was first and last there, in seconds of time.monotonic()."""

    severity: str
    first: float
    last: float


@dataclass
class Watch:
    """Looks again and again. An alert begins when Prometheus fires it and Alertmanager has it, and ends with both."""

    node: Node
    seen: dict[Alert, Seen] = field(default_factory=dict)
    there: set[Alert] = field(default_factory=set)

    def told(self, command: str) -> list[dict[str, Any]]:
        """What a program on the host answers, as JSON."""
        found: list[dict[str, Any]] = json.loads(self.node.do(command) or "[]")
        return found

    def look(self) -> None:
        """Take down what is there now."""
        fires = {named(sample["metric"]): sample["metric"]["severity"] for sample in self.told(ASK_PROMETHEUS)}
        sent = {named(alert["labels"]) for alert in self.told(ASK_ALERTMANAGER)}
        now = time.monotonic()
        self.there = {alert for alert in fires.keys() | sent if alert[0] != ALWAYS}
        for alert in self.there:
            if alert in self.seen:
                self.seen[alert].last = now
            elif alert in fires and alert in sent:
                self.seen[alert] = Seen(fires[alert], now, now)
            if alert in self.seen and alert in fires:
                self.seen[alert].severity = fires[alert]

    def until(self, reached: Callable[[], bool], seconds: float) -> bool:
        """Look until it comes about; whether it does in time."""
        end = time.monotonic() + seconds
        while True:
            self.look()
            if reached():
                return True
            if time.monotonic() > end:
                return False
            time.sleep(PAUSE)

    def has_all(self, alerts: Collection[Alert]) -> bool:
        """Whether each has begun."""
        return set(alerts) <= self.seen.keys()

    def has_none(self) -> bool:
        """Whether all is quiet."""
        return not self.there
