"""The documentation says what the module takes and returns, and its examples are declarations."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.pg_optimization.declaration import parse
from ansible.module_utils.pg_optimization.run import Report

ROOT = Path(__file__).resolve().parents[3]


def _module() -> ModuleType:
    path = ROOT / "plugins" / "modules" / "postgresql_optimization.py"
    spec = importlib.util.spec_from_file_location("postgresql_optimization", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MODULE = _module()
DOCUMENTATION = yaml.safe_load(MODULE.DOCUMENTATION)
RETURN = yaml.safe_load(MODULE.RETURN)
EXAMPLES = [task["postgresql_optimization"] for task in yaml.safe_load(MODULE.EXAMPLES)]
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
    taken = facts(MODULE.argument_spec(), "options")
    assert facts(DOCUMENTATION["options"], "suboptions") == taken


@pytest.mark.parametrize("name", LISTS)
def test_the_role_takes_what_the_module_takes(name: str) -> None:
    options = ROLE["argument_specs"]["main"]["options"][f"postgresql_optimization_{name}"]["options"]
    options.pop("query_file", None)
    taken = MODULE.argument_spec()[name]["options"]
    assert facts(options, "options") == facts(taken, "options")


def test_the_result_is_documented() -> None:
    assert set(RETURN) == (set(Report().result()) - {"changed", "warnings"})


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_is_a_sound_declaration(example: dict[str, Any]) -> None:
    filled = {key: [] if str(value).startswith("{{ trading") else value for key, value in example.items()}
    validated = ArgumentSpecValidator(MODULE.argument_spec()).validate(filled)
    assert validated.error_messages == []
    assert parse(validated.validated_parameters)[1] == []
