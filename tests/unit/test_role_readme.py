"""A role that does not say its variables is named, with what is missing; the READMEs of the others are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from mltrading_db import role_readme
from mltrading_db.cli.declared import options
from mltrading_db.cli.environment import RefusedError

GOOD = "argument_specs: {main: {short_description: Do it, options: {one_port: {type: int, description: A port.}}}}\n"


def role(folder: Path, name: str, specs: str | None) -> Path:
    """A role with a README."""
    made = folder / "roles" / name
    (made / "tasks").mkdir(parents=True)
    (made / "meta").mkdir()
    (made / "README.md").write_text(f"# {name}\n\n{role_readme.MARKER}\n")
    if specs is not None:
        (made / "meta/argument_specs.yml").write_text(specs)
    return made


@pytest.mark.parametrize(
    ("specs", "says"),
    [
        pytest.param(None, "argument_specs.yml is missing", id="no file"),
        pytest.param("", "does not say argument_specs:", id="an empty file"),
        pytest.param("argument_specs: [main]\n", "does not say argument_specs:", id="a list"),
        pytest.param("argument_specs: {main: }\n", "does not say argument_specs:", id="an empty entry point"),
        pytest.param("a: [\n", "is no YAML", id="no YAML"),
        pytest.param(GOOD.replace("type: int, ", ""), "main lacks one_port.type", id="an option without a type"),
        pytest.param(GOOD.replace(", description: A port.", ""), "lacks one_port.description", id="or a description"),
        pytest.param(GOOD.replace("short_description: Do it, ", ""), "lacks short_description", id="nor what it does"),
    ],
)
def test_a_role_that_does_not_say_its_variables_is_named_and_keeps_no_other_from_its_readme(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], specs: str | None, says: str
) -> None:
    role(tmp_path, "bad", specs)
    good = role(tmp_path, "good", GOOD)
    assert role_readme.main(tmp_path / "roles") == 1
    said = capsys.readouterr()
    assert f"{tmp_path}/roles/bad/meta/argument_specs.yml" in said.err
    assert says in said.err
    assert "wrote good/README.md" in said.out
    assert "`one_port`" in (good / "README.md").read_text()
    with pytest.raises(RefusedError) as refused:
        options(tmp_path, "bad")
    assert says in str(refused.value)


def test_a_readme_that_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (role(tmp_path, "bad", GOOD) / "README.md").unlink()
    assert role_readme.main(tmp_path / "roles") == 1
    assert "bad/README.md lacks the line" in capsys.readouterr().err
