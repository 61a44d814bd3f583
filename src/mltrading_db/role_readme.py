"""Writes the variable tables of the roles' READMEs from their meta/argument_specs.yml.

What stands above the marker in a README is written by hand and kept; what stands below it is made here. Defaults are
taken from the role's defaults/, since that is where a run takes them from.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml

MARKER = "<!-- Below: made from meta/argument_specs.yml by `make docs`. -->"
LONGEST_DEFAULT = 60


def text_of(description: str | list[str]) -> str:
    """A description as Markdown: C(x) becomes `x`, paragraphs become sentences."""
    joined = " ".join([description] if isinstance(description, str) else description)
    return re.sub(r"[CVO]\(([^)]*)\)", r"`\1`", joined).replace("|", "\\|").strip()


def default_of(name: str, option: dict[str, Any], defaults: dict[str, Any]) -> str:
    """What a run takes when the variable is not set, as it is shown in the table."""
    if name not in defaults:
        return "**required**" if option.get("required") else ""
    value = defaults[name]
    if option.get("required"):
        return "**required**"
    if value in ("", [], {}):
        return "none"
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    computed = "{{" in shown or "\n" in shown or isinstance(value, dict) or len(shown) > LONGEST_DEFAULT
    if computed or (isinstance(value, list) and any(isinstance(item, dict) for item in value)):
        return "see `defaults/`"
    return f"`{', '.join(map(str, value)) if isinstance(value, list) else shown}`"


def table(options: dict[str, Any], defaults: dict[str, Any], prefix: str = "") -> list[str]:
    """The rows of one entry point, the keys of a list's items below the list that they belong to."""
    rows = []
    for name, option in options.items():
        kind = option["type"] + (f" of {option['elements']}" if "elements" in option else "")
        shown = f"{prefix}`{name}`" if prefix else f"`{name}`"
        default = "" if prefix and not option.get("required") else default_of(name, option, defaults)
        if prefix and "default" in option:
            default = f"`{str(option['default']).lower()}`"
        choices = f" One of {', '.join(f'`{choice}`' for choice in option['choices'])}." if "choices" in option else ""
        rows.append(f"| {shown} | {kind} | {default} | {text_of(option['description'])}{choices} |")
        rows += table(option.get("options", {}), {}, prefix + "&nbsp;&nbsp;")
    return rows


def specs_of(role: Path) -> dict[str, Any]:
    """The entry points of a role with their options.

    Raises:
        ValueError: the file is missing or says something else, with what it should say.
    """
    path = role / "meta/argument_specs.yml"
    wanted = "argument_specs: {main: {short_description: ..., options: {NAME: {type: ..., description: ...}}}}"
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        msg = f"{path} is missing: it says which variables the role takes, as {wanted}"
        raise ValueError(msg) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        msg = f"{path} is no YAML: {' '.join(str(error).split())}"
        raise ValueError(msg) from None
    specs = found.get("argument_specs") if isinstance(found, dict) else None
    if not isinstance(specs, dict) or not all(isinstance(spec, dict) for spec in specs.values()):
        msg = f"{path} does not say {wanted}"
        raise ValueError(msg)
    for name, spec in specs.items():
        lacks = ["short_description"] if "short_description" not in spec else []
        options = spec.get("options") or {}
        lacks += [f"{one}.{key}" for one in options for key in ("type", "description") if key not in options[one]]
        if lacks:
            msg = f"{path}: entry point {name} lacks {', '.join(lacks)}"
            raise ValueError(msg)
    return specs


def below_marker(role: Path) -> str:
    """The part of a role's README that is made."""
    specs = specs_of(role)
    files = sorted([*role.glob("defaults/main.yml"), *role.glob("defaults/main/*.yml")])
    defaults = {key: value for file in files for key, value in (yaml.safe_load(file.read_text()) or {}).items()}
    parts = []
    for name, spec in specs.items():
        heading = "Variables" if name == "main" else f"Entry point `{name}`"
        parts += [
            "",
            f"## {heading}",
            "",
            f"{spec['short_description']}. {text_of(spec.get('description', ''))}".strip(),
        ]
        rows = table(spec.get("options", {}), defaults)
        parts += ["", "| variable | type | default | what it is |", "|---|---|---|---|", *rows] if rows else []
    return "\n".join(parts) + "\n"


def rendered(role: Path) -> str:
    """The whole README of a role as it should be.

    Raises:
        ValueError: the README has no marker, so nobody knows which part of it is written by hand; or as `specs_of`.
    """
    readme = (role / "README.md").read_text() if (role / "README.md").exists() else ""
    if MARKER not in readme:
        msg = f"{role.name}/README.md lacks the line that divides what is written from what is made: {MARKER}"
        raise ValueError(msg)
    return readme.partition(MARKER)[0] + MARKER + "\n" + below_marker(role)


def main(roles: Path) -> int:
    """Writes every README that differs from what it should be, and says which; 1 where one cannot be made."""
    wrong = 0
    for role in sorted(path for path in roles.iterdir() if (path / "tasks").is_dir()):
        try:
            wanted = rendered(role)
        except ValueError as error:
            sys.stderr.write(f"{error}\n")
            wrong += 1
            continue
        if (role / "README.md").read_text() != wanted:
            (role / "README.md").write_text(wanted)
            sys.stdout.write(f"wrote {role.name}/README.md\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "roles")))
