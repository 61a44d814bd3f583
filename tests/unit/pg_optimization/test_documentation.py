"""The documentation says what the module takes and returns, and its examples are declarations."""

from __future__ import annotations

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


@pytest.mark.parametrize("name", LISTS)
def test_the_role_takes_what_the_module_takes(name: str) -> None:
    options = ROLE["argument_specs"]["main"]["options"][f"postgresql_optimization_{name}"]["options"]
    options.pop("query_file", None)
    taken = postgresql_optimization.argument_spec()[name]["options"]
    assert facts(options, "options") == facts(taken, "options")


def test_the_result_is_documented() -> None:
    assert set(RETURN) == (set(Report().result()) - {"changed", "warnings"})


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_is_a_sound_declaration(example: dict[str, Any]) -> None:
    filled = {key: [] if str(value).startswith("{{ trading") else value for key, value in example.items()}
    validated = ArgumentSpecValidator(postgresql_optimization.argument_spec()).validate(filled)
    assert validated.error_messages == []
    assert parse(validated.validated_parameters)[1] == []
