"""Writes the alert rules of the health checks, and the page that says what to do about every alert.

A check is judged on its host, by levels that are said once. Its alert asks for that state; a second rule, named
`...Absent`, fires where nobody gives it. Rules written by hand stand beside, in `hosts.yml`.
"""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parents[2]
ENGINE = Path("roles/postgresql_health/files/checks.yml")
TRADING = Path("roles/mltrading/defaults/main/health.yml")
RULES = Path("roles/monitoring/files/alerts")
TRADING_RULES = Path("roles/mltrading/files/alerts/mltrading.yml")
PAGE = Path("docs/operations/alerts.md")
HEADER = "# Made from {source} by `make docs`.\n"
WIDTH = 140
# What a value is followed by.
SHOWN = {
    "%": "{{ $value | humanize }} %",
    "bytes": "{{ $value | humanize1024 }}B",
    "seconds": "{{ $value | humanizeDuration }}",
    "ms": "{{ $value | humanize }} ms",
    "days": "{{ $value | humanize }} days",
    "count": "{{ $value }}",
}
# The environment's name, where a command has it.
ENVIRONMENT = "{{ $externalLabels.environment }}"
ABSENT = """\
No host, or not every host that should, says how it is: the same as a check that cannot run. See HealthSilent and
HostDown first; then `health --check NAME` on the host that the alert names. For `BackupAge`, `DumpAge` and `DrillAge`
it also means that no host has the job."""
PREAMBLE = """\
# Alerts

What fires, what it means, what to do. `make docs` makes this page from the checks and `roles/monitoring/files/alerts/`.
How alerts come about, how to see and to silence them: [monitoring.md](monitoring.md). The levels, and how to change
them: [health.md](health.md). On the host that an alert names, `health --check NAME` shows all that the check saw.
"""


def camel(name: str) -> str:
    """The name of a check's alert: `archive_age` is ArchiveAge."""
    return "".join(part.capitalize() for part in name.split("_"))


def anchor(alert: str) -> str:
    """Where the page says what to do about an alert."""
    return f"docs/operations/alerts.md#{'absent' if alert.endswith('Absent') else alert.lower()}"


def state_rule(check: dict[str, Any], severity: str, state: int) -> dict[str, Any]:
    """The alert of one state of a check; its value is the one that decided."""
    name = check["name"]
    which = f'{{check="{name}"}}'
    return {
        "alert": camel(name),
        "expr": f"mltrading_health_worst{which} and on (instance, check) mltrading_health_state{which} == {state}",
        "for": "2m",
        "labels": {"severity": severity},
        "annotations": {
            "summary": f"{{{{ $labels.instance }}}}: {check['title']}: {SHOWN[check['unit']]}",
            "description": re.sub(r"\bENV\b", lambda _: ENVIRONMENT, " ".join(check["do"].split())),
            "runbook": anchor(camel(name)),
        },
    }


def absent_rule(check: dict[str, Any]) -> dict[str, Any]:
    """The alert of a check that a host does not answer; those of jobs, backups and disks are asked of every host."""
    which = f'mltrading_health_state{{check="{check["name"]}"}}'
    hosts = 'up{job="node", checks="yes"}' if check.get("probe") else 'up{job="node", server="yes"}'
    nowhere = f" or on () (max by (check) ({which}) == -2)" if check.get("probe") == "job_age" else ""
    return {
        "alert": f"{camel(check['name'])}Absent",
        "expr": f"({hosts} == 1 unless on (instance) {which}) or on () absent({which}){nowhere}",
        "for": "10m",
        "labels": {"severity": "warning", "check": check["name"]},
        "annotations": {
            "summary": f"{{{{ $labels.instance }}}}: nobody knows: {check['title']}",
            "description": " ".join(ABSENT.split()),
            "runbook": anchor("Absent"),
        },
    }


def rules_of(check: dict[str, Any]) -> list[dict[str, Any]]:
    """The rules of a check. Where both levels are the same, there is no warning."""
    states = [("critical", 2)] if check["warning"] == check["critical"] else [("warning", 1), ("critical", 2)]
    return [state_rule(check, severity, state) for severity, state in states] + [absent_rule(check)]


class Indented(yaml.SafeDumper):
    """Lists are indented, as yamllint wants them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        """Never without."""
        super().increase_indent(flow, indentless=False)


def rule_file(name: str, checks: list[dict[str, Any]], source: Path) -> str:
    """A file of alert rules, for the checks that have levels."""
    rules = [rule for check in checks if "critical" in check for rule in rules_of(check)]
    groups = {"groups": [{"name": name, "rules": rules}]}
    return HEADER.format(source=source) + "---\n" + yaml.dump(groups, Dumper=Indented, sort_keys=False, width=80)


def section(rules: list[dict[str, Any]]) -> str:
    """What the page says of the rules of one name."""
    first = rules[0]
    _, _, meaning = first["annotations"]["summary"].partition(": ")
    title = meaning.partition(": {{")[0]
    states = " and ".join(f"{rule['labels']['severity']} after {rule.get('for', '0s')}" for rule in rules)
    said = first["annotations"]["description"].replace(ENVIRONMENT, "ENV")
    text = textwrap.fill(said, WIDTH, break_on_hyphens=False, break_long_words=False)
    return f"\n## {first['alert']}\n\n{title}: {states}.\n\n{text}\n"


def page(documents: list[dict[str, Any]]) -> str:
    """The page, with a section for every alert; what `...Absent` means is said once."""
    by_name: dict[str, list[dict[str, Any]]] = {}
    for rule in (rule for document in documents for group in document["groups"] for rule in group["rules"]):
        by_name.setdefault(rule["alert"], []).append(rule)
    absent = sorted(name for name in by_name if name.endswith("Absent"))
    said = [section(rules) for name, rules in by_name.items() if name not in absent]
    names = textwrap.fill(", ".join(f"`{name}`" for name in absent) + ".", WIDTH)
    return PREAMBLE + "".join(said) + f"\n## Absent\n\n{ABSENT}\n\n{names}\n"


def wanted(project: Path) -> dict[Path, str]:
    """Every file that is made, with its text."""
    engine = yaml.safe_load((project / ENGINE).read_text())
    trading = yaml.safe_load((project / TRADING).read_text())["mltrading_health_checks"]
    files = {
        RULES / "health.yml": rule_file("health", engine, ENGINE),
        TRADING_RULES: rule_file("mltrading", trading, TRADING),
    }
    by_hand = (project / RULES / "hosts.yml").read_text()
    return files | {PAGE: page([yaml.safe_load(text) for text in [by_hand, *files.values()]])}


def main(project: Path) -> int:
    """Writes every file that differs from what it should be, and says which."""
    for path, text in wanted(project).items():
        file = project / path
        if not file.exists() or file.read_text() != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            sys.stdout.write(f"wrote {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(PROJECT))
