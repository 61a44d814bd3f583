"""The documentation says what the module takes and returns, and its examples are declarations."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.pg_optimization.declaration import parse
from ansible.module_utils.pg_optimization.run import Report
from ansible.modules import postgresql_optimization

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTATION = yaml.safe_load(postgresql_optimization.DOCUMENTATION)
RETURN = yaml.safe_load(postgresql_optimization.RETURN)
EXAMPLES = [task["postgresql_optimization"] for task in yaml.safe_load(postgresql_optimization.EXAMPLES)]
ROLE = yaml.safe_load((ROOT / "roles" / "postgresql_optimization" / "meta" / "argument_specs.yml").read_text())
LISTS = ("indexes", "materialized_views", "statistics", "column_statistics", "table_parameters")


def facts(options: dict[str, Any], inner: str) -> dict[str, Any]:
    """Return what a user sees of options, without their descriptions."""
    kept = ("type", "elements", "required", "default", "choices", "aliases")
    return {
        name: {key: option[key] for key in kept if option.get(key) not in (None, [], {}, False)}
        | ({"options": facts(option[inner], inner)} if inner in option else {})
        for name, option in options.items()
    }


def test_the_documentation_has_the_options_that_the_module_takes() -> None:
    taken = facts(postgresql_optimization.argument_spec(), "options")
    assert facts(DOCUMENTATION["options"], "suboptions") == taken


def test_the_role_offers_all_that_the_module_offers() -> None:
    login = {name for name in DOCUMENTATION["options"] if name.startswith(("login_", "ssl_", "ca_"))}
    tasks = yaml.safe_load((ROOT / "roles" / "postgresql_optimization" / "tasks" / "apply.yml").read_text())
    given = set(tasks[0]["postgresql_optimization"])
    assert set(DOCUMENTATION["options"]) - login - given == set()


@pytest.mark.parametrize("name", LISTS)
def test_the_role_takes_what_the_module_takes(name: str) -> None:
    options = ROLE["argument_specs"]["main"]["options"][f"postgresql_optimization_{name}"]["options"]
    options.pop("query_file", None)
    taken = postgresql_optimization.argument_spec()[name]["options"]
    assert facts(options, "options") == facts(taken, "options")


def test_the_result_is_documented() -> None:
    assert set(RETURN) == (set(Report().result()) - {"changed", "warnings"})


@pytest.fixture(scope="module", params=["postgresql_optimization"])
def page(request: pytest.FixtureRequest) -> str:
    """Return the page that ansible-doc prints, on one line."""
    command = [str(Path(sys.executable).with_name("ansible-doc")), "-t", "module", request.param]
    environment = os.environ | {"COLUMNS": "160", "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    return " ".join(done.stdout.split())


HEADINGS = ["OPTIONS", "ATTRIBUTES", "NOTES", "REQUIREMENTS", "SEE ALSO", "AUTHOR", "EXAMPLES", "RETURN VALUES"]


def test_ansible_doc_prints_the_whole_page(page: str) -> None:
    assert [heading for heading in HEADINGS if f"{heading}:" not in page and f"{heading} (" not in page] == []
    assert [name for name in {*DOCUMENTATION["options"], *RETURN} if name not in page] == []
    assert {"check_mode", "diff_mode", "platform"} == set(DOCUMENTATION["attributes"])


def test_ansible_doc_has_no_markup_left(page: str) -> None:
    assert re.findall(r"\b(?:C|V|O|RV|M|E)\([^)]*\)", page) == []


def texts(part: Any) -> list[str]:
    """Return every text of the documentation."""
    if isinstance(part, dict):
        return [text for value in part.values() for text in texts(value)]
    if isinstance(part, list):
        return [text for value in part for text in texts(value)]
    return [part] if isinstance(part, str) else []


def options(known: dict[str, Any], inner: str, prefix: str = "") -> set[str]:
    """Return the names of options or of what is returned as markup refers to them."""
    named = set()
    for name, option in known.items():
        many = "[]" if option.get("elements") == "dict" else ""
        named |= {prefix + name, *options(option.get(inner, {}), inner, f"{prefix}{name}{many}.")}
    return named


def test_markup_ends_where_it_should_and_names_what_there_is() -> None:
    found = texts(DOCUMENTATION) + texts(RETURN)
    assert [text for text in found if re.search(r"\b(?:C|V|O|RV)\([^)]*\(", text)] == []
    named = {name for text in found for name in re.findall(r"\bO\(([^)]*)\)", text)}
    assert named - options(DOCUMENTATION["options"], "suboptions") == set()
    returned = {name for text in found for name in re.findall(r"\bRV\(([^)]*)\)", text)}
    assert returned - options(RETURN, "contains") == set()
    known = options(DOCUMENTATION["options"], "suboptions")
    code = {name for text in found for name in re.findall(r"\bC\(([a-z_]+)\)", text)}
    assert code & {name for name in known if "." not in name} == set()


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_is_a_sound_declaration(example: dict[str, Any]) -> None:
    filled = {key: [] if str(value).startswith("{{ trading") else value for key, value in example.items()}
    validated = ArgumentSpecValidator(postgresql_optimization.argument_spec()).validate(filled)
    assert validated.error_messages == []
    assert parse(validated.validated_parameters)[1] == []
