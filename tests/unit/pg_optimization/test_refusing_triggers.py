"""Which event trigger does an error come from?"""

from __future__ import annotations

import pytest
from ansible.module_utils.pg_optimization.event_triggers import refusing

TRIGGERS = [("one", "public", "guard"), ("two", "Odd Schema", "Guard It"), ("three", "public", "guard_more")]
CONTEXTS = {
    "by itself": ("PL/pgSQL function guard() line 4 at RAISE", "one"),
    "with its schema": ("PL/pgSQL function public.guard() line 4 at RAISE", "one"),
    "in quotes": ('PL/pgSQL function "Odd Schema"."Guard It"() line 4 at RAISE', "two"),
    "in another language": ('PL/Perl function "guard_more"', "three"),
    "through another function": (
        "PL/pgSQL function checked(text) line 2 at RAISE\nSQL statement \"SELECT checked('x')\"\n"
        "PL/pgSQL function guard_more() line 3 at PERFORM",
        "three",
    ),
    "another function": ("PL/pgSQL function guards() line 4 at RAISE", None),
    "a function of another schema": ("PL/pgSQL function other.guard() line 4 at RAISE", None),
    "none": (None, None),
}


@pytest.mark.parametrize(("context", "trigger"), CONTEXTS.values(), ids=CONTEXTS)
def test_an_event_trigger_is_known_by_its_function(context: str | None, trigger: str | None) -> None:
    assert refusing(context, TRIGGERS) == trigger
