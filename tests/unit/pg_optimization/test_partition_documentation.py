"""The documentation of postgresql_partition says what the module takes and returns, and its examples are sound."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.pg_optimization.run import Report
from ansible.modules import postgresql_partition as module
from test_documentation import facts

EXAMPLES = [task["postgresql_partition"] for task in yaml.safe_load(module.EXAMPLES)]


def test_the_documentation_has_the_options_that_the_module_takes() -> None:
    documented = facts(yaml.safe_load(module.DOCUMENTATION)["options"], "suboptions")
    assert documented == facts(module.argument_spec(), "options")


def test_the_result_is_documented() -> None:
    assert set(yaml.safe_load(module.RETURN)) == set(module.Result(Report()).result()) - {"changed", "warnings"}


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_is_a_sound_wish(example: dict[str, Any]) -> None:
    validated = ArgumentSpecValidator(module.argument_spec()).validate(example)
    assert validated.error_messages == []
    assert module.wanted(validated.validated_parameters).column == "time"


def test_a_cut_that_is_no_day_is_refused() -> None:
    params = ArgumentSpecValidator(module.argument_spec()).validate({**EXAMPLES[1], "cut": "soon"}).validated_parameters
    with pytest.raises(module.RefusedError, match="cut is to be a day as 2026-01-01, and is 'soon'"):
        module.wanted(params)
