"""A plan as a page that a person reads: totals, what is risky, what becomes of new hosts, the rest by object. Pure.

`Seen` holds what hosts said of themselves (playbooks/check_state.yml) and what the inventory makes of the new ones.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mltrading_db.cli.making import Making
from mltrading_db.cli.plans import Step, title

LINES_OF_A_CHANGE = 20
MEMBER = re.compile(r"\ba member of (\S+?)(?=,|\Z)")
STRONG = "ACCESS EXCLUSIVE"


@dataclass(frozen=True)
class Seen:
    """What is known beside the steps: states and makings by host, the servers, their primary, and who owns what."""

    states: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    makings: Mapping[str, Making] = field(default_factory=dict)
    servers: Collection[str] = ()
    primary: str = ""
    # Whether this run has a part in standbys at all.
    copies: bool = True
    # Whether it is a run of all roles, which alone makes all of a new host.
    whole: bool = True

    def new(self, host: str) -> bool:
        """Whether a host was never provisioned."""
        return self.states.get(host, {}).get("provisioned") is False

    def owned(self, role: str) -> list[str]:
        """The databases that a role owns as they are declared."""
        return sorted(
            {name for made in self.makings.values() for name, owner in made.databases.items() if owner == role}
        )


def size(number: float) -> str:
    """Bytes as a person says them."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:  # noqa: PLR2004
            return f"{number:.0f} {unit}" if unit in ("bytes", "kB") or number >= 100 else f"{number:.1f} {unit}"  # noqa: PLR2004
        number /= 1000
    return f"{number:,.1f} TB"


def totals(steps: list[Step], seen: Seen) -> Iterator[str]:
    """How much there is: steps by what they are about, then by host."""
    kinds, hosts = Counter(str(step["kind"]) for step in steps), Counter(str(step["host"]) for step in steps)
    number = f"{len(steps)} step{'s' if len(steps) != 1 else ''} on {len(hosts)} host{'s' if len(hosts) != 1 else ''}"
    yield f"{number}: {', '.join(f'{kind} {count}' for kind, count in kinds.most_common())}"
    for host, count in sorted(hosts.items()):
        yield f"  {host}  {count}{', a new host' if seen.new(host) else ''}"


def copies(seen: Seen) -> Iterator[str]:
    """The standbys that are made by a copy of the primary's data, with its size where it is known."""
    of_primary = seen.states.get(seen.primary)
    server = (of_primary or {}).get("server")
    for host in sorted(set(seen.servers) & set(seen.states) - {seen.primary}) if seen.copies else []:
        cluster = str(seen.states[host].get("cluster", ""))
        if "recovery" in cluster:
            continue
        if server:
            much = size(float(server["bytes"] or 0))
        else:
            much = "which is new and small" if of_primary and not of_primary.get("cluster") else "of a size not known"
        aside = "; the data that is there is moved aside, on the same disk" if cluster else ""
        yield f"{host}: all data of {seen.primary} is copied, {much}{aside}"


def rights(step: Step, seen: Seen) -> Iterator[str]:
    """What a step gives to whom: memberships, with what the group owns, and new roles."""
    name, _, becomes = str(step.get("what", "")).partition(": ")
    if step["action"] == "postgresql_user" and "a new role" in becomes:
        yield f"{step['host']}: {name} is {becomes}"
    elif step["action"] == "postgresql_user":
        yield f"{step['host']}: {name}: {becomes}"
    if step["action"] == "postgresql_membership" and not MEMBER.search(becomes):
        yield f"{step['host']}: {name} is no longer a member of any role"
    for group in MEMBER.findall(becomes):
        owned = seen.owned(group)
        more = f", which owns database {', '.join(owned)}: it may do there all that the owner may" if owned else ""
        yield f"{step['host']}: {name} becomes a member of {group}{more}"
    if step["action"] in ("postgresql_privs", "postgresql_owner"):
        yield title(step)


def objects(step: Step) -> Iterator[tuple[str, str]]:
    """What a step takes away, and what nobody can use meanwhile."""
    for action in step.get("details", []):
        name = f"{step['host']}: {action.get('action')} {action.get('kind')} {action.get('name')}"
        if "drop" in str(action.get("action")):
            yield "removal", name
        strong = [str(lock) for lock in action.get("locks") or [] if STRONG in str(lock)]
        if strong:
            yield "lock", f"{name}: {', '.join(strong)}"


def risks(steps: list[Step], takes: list[str], seen: Seen) -> list[tuple[str, str]]:
    """What to look at first, by what it is: restarts, copies, removals, locks, rights, login rules, certificates."""
    old = [step for step in steps if not seen.new(step["host"])]
    found = [("restart", line) for line in takes if ": restart," in line]
    found += [
        ("restart", title(step))
        for step in old
        if re.search("[Rr]estart", step["task"]) and step["role"] != "postgresql"
    ]
    found += [("copy", line) for line in copies(seen)]
    found += [one for step in old for one in objects(step)]
    found += [("rights", line) for step in old for line in rights(step, seen)]
    rules = [(step, line) for step in old if step["kind"] == "login rules" for line in step.get("why", [])]
    found += [("login", f"{step['host']}: {line}") for step, line in rules if line[1:].strip() and line[1:2] != "#"]
    hosts = sorted({step["host"] for step in old if step["role"] == "tls"})
    found += [("certificate", f"{', '.join(hosts)}: another one is signed and taken up")] if hosts else []
    return list(dict.fromkeys(found))


def new_host(host: str, steps: list[Step], seen: Seen) -> Iterator[str]:
    """What becomes of a new host, in a few lines; of its files no more than how many."""
    made = seen.makings.get(host, Making()) if seen.whole else Making()
    yield f"  {host}"
    if host == seen.primary:
        yield from (f"    database {name}, of {owner}" for name, owner in made.databases.items() if name != "postgres")
        yield from (f"    role {name}: {words}" for name, words in made.roles.items())
    elif host in seen.servers and seen.copies:
        yield f"    a standby: databases and roles are those of {seen.primary}"
    if made.pooled:
        yield f"    a pooler, of {', '.join(made.pooled)}"
    yield from (f"    job {name}, {schedule}" for name, schedule in made.jobs.items())
    kinds = Counter(str(step["kind"]) for step in steps if step["host"] == host)
    yield f"    in {sum(kinds.values())} steps or more: {', '.join(f'{kind} {count}' for kind, count in kinds.items())}"


def object_lines(action: Mapping[str, Any]) -> Iterator[str]:
    """An object of the database: what is done to it and why, its locks, and its size and time where they are known."""
    yield f"{action.get('action')} {action.get('kind')} {action.get('name')}: {action.get('reason')}"
    yield from (f"    {lock}" for lock in action.get("locks") or [])
    much, seconds = action.get("estimated_bytes"), action.get("estimated_seconds")
    if much or seconds:
        yield f"    about {size(float(much or 0))}, {float(seconds or 0):,.0f} s"
    yield from (f"    {statement}" for statement in action.get("statements") or [])


def step_lines(step: Step) -> Iterator[str]:
    """A step: the task and what it is about, then why."""
    about = f" ({step['what']})" if step.get("what") else ""
    yield f"  {step['host']}: {step['task']}{about}"
    details = step.get("details", [])
    why = [line for action in details for line in object_lines(action)] if details else step.get("why", [])
    shown = why if details else why[:LINES_OF_A_CHANGE]
    yield from (f"      {line}" for line in shown)
    if len(why) > len(shown):
        yield f"      … {len(why) - len(shown)} more lines"


def page(steps: list[Step], takes: list[str], seen: Seen) -> list[str]:
    """A plan's lines; a heading has no space before it."""
    if not steps:
        return ["Nothing would change."]
    lines = list(totals(steps, seen))
    risky = risks(steps, takes, seen)
    lines += [
        "look at these first"
        if risky
        else "nothing risky: no restart, copy, removal, strong lock, right or certificate"
    ]
    width = max((len(kind) for kind, _ in risky), default=0)
    lines += [f"  {kind:<{width}}  {line}" for kind, line in risky]
    new = sorted({str(step["host"]) for step in steps if seen.new(step["host"])})
    if new:
        lines += ["new hosts, which get", *(line for host in new for line in new_host(host, steps, seen))]
    old = [step for step in steps if not seen.new(step["host"])]
    for kind in dict.fromkeys(str(step["kind"]) for step in old):
        lines += [kind, *(line for step in old if step["kind"] == kind for line in step_lines(step))]
    return [*lines, *(["then the servers, in this order", *(f"  {line}" for line in takes)] if takes else [])]
