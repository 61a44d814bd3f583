"""The declaration says what the operations guide says, and hangs together."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLE = Path(__file__).parents[3] / "roles" / "mltrading"
SQL = ROLE / "files" / "sql"
DEFAULTS = {
    name: value
    for path in sorted((ROLE / "defaults" / "main").glob("*.yml"))
    for name, value in yaml.safe_load(path.read_text()).items()
}
GUIDE = {index["name"]: index for index in DEFAULTS["mltrading_index_sets"]["guide"]}
LEAN = {index["name"]: index for index in DEFAULTS["mltrading_index_sets"]["lean"]}
CATALOGUE = yaml.safe_load((SQL / "queries" / "catalogue.yml").read_text())
TABLES = {path.stem: path.read_text() for path in (SQL / "tables").glob("*.sql")}

# The guide's indexes: key, included columns, predicate.
NINE = [
    pytest.param("idx_features_symbol_version_timestamp", "symbol, feature_version, timestamp desc", "", ""),
    pytest.param(
        "idx_features_symbol_version_covering",
        "symbol, feature_version, timestamp desc",
        "open, high, low, close, volume, returns, rsi_1d, price_ma_short",
        "",
    ),
    pytest.param(
        "idx_features_availability",
        "symbol, feature_version, timestamp, rsi_1d, price_ma_short, bb_upper",
        "",
        "rsi_1d IS NOT NULL OR price_ma_short IS NOT NULL OR bb_upper IS NOT NULL",
    ),
    pytest.param("idx_features_recent_data", "timestamp desc, symbol", "", ""),
    pytest.param("idx_features_symbol_recent", "symbol, timestamp desc", "", ""),
    pytest.param("idx_features_market_hours_optimized", "symbol, timestamp", "", "is_market_open = 1"),
    pytest.param(
        "idx_features_completeness",
        "symbol, timestamp",
        "",
        "rsi_1d IS NOT NULL AND price_ma_short IS NOT NULL AND bb_upper IS NOT NULL AND macd IS NOT NULL"
        " AND atr IS NOT NULL",
    ),
    pytest.param("idx_features_timeseries", "timestamp, symbol", "returns, realized_vol_short, volume_ratio", ""),
    pytest.param("idx_features_cleanup", "created_at, symbol, timestamp", "", ""),
]

# The groups of feature_engineered_data, as they are counted.
GROUPS = {
    "key": 3,
    "bar": 5,
    "price": 7,
    "volatility": 5,
    "moving averages": 8,
    "volume": 7,
    "relative strength": 5,
    "time": 12,
    "intraday": 8,
    "lags": 15,
    "rolling": 15,
    "indicators": 11,
    "metadata": 4,
}


def key_of(index: dict[str, Any]) -> str:
    """An index's key in one line."""
    columns = [{"name": column} if isinstance(column, str) else column for column in index["columns"]]
    return ", ".join(" ".join([column["name"], column.get("order", "")]).strip() for column in columns)


def columns_by_group() -> dict[str, list[str]]:
    """The columns of feature_engineered_data in its SQL file, by the comment that they stand below."""
    groups: dict[str, list[str]] = {}
    for line in TABLES["feature_engineered_data"].splitlines():
        if heading := re.fullmatch(r"    -- (.*)", line):
            groups[heading[1]] = []
        elif column := re.match(r"    ([a-z_0-9]+) (serial|varchar|timestamp|float8|integer)", line):
            groups[list(groups)[-1]].append(column[1])
    return groups


def inserted_columns() -> list[str]:
    """The columns that the sample data fills."""
    text = (SQL / "sample" / "features.sql").read_text()
    found = re.search(r"INSERT INTO public\.feature_engineered_data \((.*?)\)", text, re.DOTALL)
    assert found
    return re.findall(r"\w+", found[1])


def test_the_feature_table_has_the_105_columns_of_the_guide() -> None:
    assert {group: len(columns) for group, columns in columns_by_group().items()} == GROUPS
    names = [name for columns in columns_by_group().values() for name in columns]
    assert len(names) == len(set(names)) == 105


def test_the_sample_data_fills_every_column_but_the_id_in_the_tables_order() -> None:
    names = [name for columns in columns_by_group().values() for name in columns]
    assert inserted_columns() == [name for name in names if name != "id"]


def defined_columns() -> list[re.Pattern[str]]:
    """The columns that the README defines, a star for the number of bars."""
    rows = [line for line in (SQL / "sample" / "README.md").read_text().splitlines() if line.startswith("| ")]
    names = [name.strip() for row in rows for name in row.split("|")[1].split(",")]
    return [re.compile(name.replace("*", r"(short|med|long|\d+h?)") + "$") for name in names]


def test_every_computed_column_is_defined_in_the_readme() -> None:
    patterns = defined_columns()
    given = {"symbol", "timestamp", *columns_by_group()["bar"]}
    computed = [name for name in inserted_columns() if name not in given]
    assert len(computed) == 97
    assert [name for name in computed if not any(pattern.match(name) for pattern in patterns)] == []


@pytest.mark.parametrize(("name", "key", "included", "predicate"), NINE)
def test_the_declaration_has_the_guides_index(name: str, key: str, included: str, predicate: str) -> None:
    index = GUIDE[name]
    assert (key_of(index), ", ".join(index.get("include", [])), index.get("where", "")) == (key, included, predicate)
    assert index["table"] == "feature_engineered_data"


def test_the_default_is_the_guides_nine() -> None:
    assert len(GUIDE) == len(NINE)
    assert DEFAULTS["mltrading_declaration"] == "guide"


def applied(declaration: str) -> dict[str, dict[str, Any]]:
    """The indexes that are applied where a declaration is chosen, by name."""
    variables = DEFAULTS | {"mltrading_declaration": declaration}
    template = trust_as_template(DEFAULTS["mltrading_indexes"])
    indexes = Templar(loader=DataLoader(), variables=variables).template(template)
    assert len({index["name"] for index in indexes}) == len(indexes)
    return {index["name"]: index for index in indexes}


def test_one_variable_switches_between_the_declarations_and_back() -> None:
    guide, lean = applied("guide"), applied("lean")
    assert set(guide) == set(lean)
    absent = {name for name, index in lean.items() if index.get("state") == "absent"}
    carried = {index["name"] for index in DEFAULTS["mltrading_carried_indexes"]}
    assert absent == (set(GUIDE) | carried) - {"unique_symbol_timestamp_features"}
    assert {name for name, index in guide.items() if index.get("state") == "absent"} == {"idx_features_timestamp_brin"}
    assert "include" not in guide["unique_symbol_timestamp_features"]


def test_what_the_table_carries_is_declared_as_its_file_has_it() -> None:
    text = TABLES["feature_engineered_data"]
    written = dict(re.findall(r"^CREATE INDEX (\w+) ON \S+ \((.*)\)?;$", text, re.MULTILINE))
    written |= dict(re.findall(r"CONSTRAINT (\w+) UNIQUE \((.*)\)", text))
    declared = {
        index["name"]: key_of(index) + (f") where {index['where']}" if "where" in index else "")
        for index in DEFAULTS["mltrading_carried_indexes"]
    }
    assert {name: rest.removesuffix(")").lower() for name, rest in written.items()} == declared


def test_the_lean_declaration_is_one_covering_key_and_one_brin() -> None:
    present = {name: index for name, index in LEAN.items() if index.get("state", "present") == "present"}
    assert {name: index.get("method", "btree") for name, index in present.items()} == {
        "unique_symbol_timestamp_features": "btree",
        "idx_features_timestamp_brin": "brin",
    }
    assert present["unique_symbol_timestamp_features"]["unique"] is True


def test_the_lean_declaration_takes_away_every_plain_index_that_the_table_came_with() -> None:
    carried = re.findall(r"CREATE INDEX (\w+)", TABLES["feature_engineered_data"])
    assert sorted(name for name, index in LEAN.items() if index.get("state") == "absent") == sorted(carried)
    assert len(carried) == 6


def test_the_summary_is_refreshed_concurrently_and_has_the_unique_index_for_it() -> None:
    (view,) = DEFAULTS["mltrading_materialized_views"]
    assert view["name"] == "mv_features_dashboard_summary"
    assert view["refresh"] == {"policy": "concurrently"}
    assert view["indexes"] == [{"name": "idx_mv_dashboard_symbol", "columns": ["symbol"], "unique": True}]
    assert (SQL / "materialized_views" / f"{view['name']}.sql").is_file()


def test_every_table_has_its_file_and_every_file_its_table() -> None:
    assert sorted(DEFAULTS["mltrading_tables"]) == sorted(TABLES)


def test_a_table_is_created_after_those_that_it_refers_to() -> None:
    order = DEFAULTS["mltrading_tables"]
    referred = [
        (name, other) for name, text in TABLES.items() for other in re.findall(r"REFERENCES public\.(\w+)", text)
    ]
    assert referred
    assert [pair for pair in referred if order.index(pair[1]) > order.index(pair[0])] == []


def test_every_query_of_the_catalogue_has_its_file_and_every_file_its_query() -> None:
    names = {query["name"] for query in CATALOGUE} | {
        name for query in CATALOGUE for name in query.get("instead", {}).values()
    }
    assert names == {path.stem for path in (SQL / "queries").glob("*.sql")}


def test_the_catalogue_names_only_indexes_that_are_declared_or_come_with_a_table() -> None:
    carried = {name for text in TABLES.values() for name in re.findall(r"(?:CREATE INDEX|CONSTRAINT) (\w+)", text)}
    named = {index for query in CATALOGUE for index in query["indexes"]}
    assert named - set(GUIDE) - carried == set()
    lean = {index for query in CATALOGUE for index in query.get("lean", {}).get("indexes", [])}
    assert lean
    assert lean - {index["name"] for index in DEFAULTS["mltrading_index_sets"]["lean"]} == set()


def test_nothing_is_loaded_unless_somebody_asks_for_it() -> None:
    assert DEFAULTS["mltrading_sample_data_enabled"] is False


def test_the_role_asks_for_the_version_of_the_data_that_the_script_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROLE / "files")
    script = importlib.import_module("load_sample_data")
    wanted = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())["__mltrading_sample_data_wanted"]
    assert f"'version': {script.VERSION}," in wanted
    assert sorted(script.TABLES) == sorted(TABLES)
