"""Every command that is printed as a remedy can be pasted: its playbook, tags, variables and options are there."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from mltrading_db import remedies
from mltrading_db.cli.app import app
from mltrading_db.cli.declared import all_options, defaults, tags_of

PROJECT = Path(__file__).parents[2]
ENVIRONMENT = "{{ $externalLabels.environment }}"
# Typer brings its own click along.
UsageError: Any = typer.BadParameter.__bases__[0]
# What a playbook refuses to run without.
NEEDS = {
    "promote_replica": {"promote_confirm"},
    "rebuild_host": {"rebuild_host", "rebuild_confirm"},
    "restore_backup": {"restore_confirm"},
    "partition_table": {"partition_table_name"},
    "run_maintenance": {"maintenance_job"},
    "rotate_secrets": {"rotate_confirm"},
    "restore_dump": {"restore_dump_database"},
    "rotate_authority": {"rotate_authority_step"},
}
# What `mldb --help` says is documentation: it has ENV and FILE.
HELP = {"src/mltrading_db/cli/app.py", "src/mltrading_db/cli/options.py"}
# Texts that a program shows and that a person may follow.
YAML_FILES = [
    *PROJECT.glob("playbooks/*.yml"),
    *PROJECT.glob("roles/*/tasks/*.yml"),
    *PROJECT.glob("roles/*/vars/*.yml"),
    *PROJECT.glob("roles/*/defaults/**/*.yml"),
    *PROJECT.glob("roles/*/files/**/*.yml"),
]
PYTHON_FILES = [*PROJECT.glob("roles/*/files/**/*.py"), *PROJECT.glob("plugins/**/*.py"), *PROJECT.glob("src/**/*.py")]
# Jobs and commands have no ending.
PYTHON_FILES += [
    path
    for path in PROJECT.glob("roles/*/files/**/*")
    if path.is_file() and not path.suffix and path.read_bytes().startswith(b"#!/usr/bin/python3")
]
MLDB = re.compile(r"(?<![\w/.$-])mldb (?P<rest>(?!ENV)[a-z]+(?:[ \t]+(?:\{\{.*?\}\}|'[^']*'|[\w.:!=@{}-]+))*)")
DBJOB = re.compile(r"(?P<path>\S*)\bdbjob (?P<job>[a-z]+_[a-z_]+|dump|retention|heartbeat|value)\b")
MAKE = re.compile(r"(?<![\w-])make (?P<target>(?:lab|test|docs|lint)[a-z-]*)\b")


def strings_of(value: Any) -> Iterator[str]:
    """Every text of a YAML document but what is run; its comments are for whoever reads the file."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from strings_of(one) if key not in ("cmd", "argv", "command") else ()
    elif isinstance(value, list):
        for one in value:
            yield from strings_of(one)
    elif isinstance(value, str):
        yield value


def constants_of(source: str) -> Iterator[str]:
    """Every text of a Python file but the docstrings; an expression within one is written as {name}."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    within = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = ""
            for one in node.values:
                # What stands right behind an option or a value brings the space before it along, or nothing.
                glued = re.search(r"(--\w+|value)\Z", text)
                text += str(one.value) if isinstance(one, ast.Constant) else "" if glued else "value"
            yield text
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings | within:
            yield node.value


def texts() -> Iterator[tuple[str, str]]:
    """Every text that may hold a remedy, with its file."""
    for path in sorted(YAML_FILES):
        for document in yaml.safe_load_all(path.read_text()):
            yield from ((str(path.relative_to(PROJECT)), text) for text in strings_of(document))
    for path in sorted(PYTHON_FILES):
        file = str(path.relative_to(PROJECT))
        yield from ((file, text) for text in constants_of(path.read_text()) if file not in HELP)


def filled(text: str) -> str:
    """A text with a word in the place of each expression."""
    return re.sub(r"\{\{.*?\}\}", "value", text.replace(ENVIRONMENT, "ENV"), flags=re.DOTALL)


# What a run is called while it holds an environment.
OF_A_RUN = ("src/mltrading_db/cli/environment.py", "value")
TEXTS = [(file, filled(text)) for file, text in texts()]
PLAYBOOKS = sorted(
    {(file, found[0]) for file, text in TEXTS for found in remedies.commands(text) if found["name"] != "value"}
)
MLDB_COMMANDS = sorted(
    {(file, found["rest"].rstrip(".")) for file, text in TEXTS for found in MLDB.finditer(text)} - {OF_A_RUN}
)
JOBS = sorted({(file, found["path"], found["job"]) for file, text in TEXTS for found in DBJOB.finditer(text)})


def known_variables(playbook: str) -> set[str]:
    """The variables that `-e` may set for a playbook: what it names itself, and those of the roles."""
    text = (PROJECT / f"playbooks/{playbook}.yml").read_text()
    return {*re.findall(r"[a-z_]\w*", text), *all_options(PROJECT), *defaults(PROJECT)}


@pytest.mark.parametrize(("file", "command"), PLAYBOOKS, ids=[f"{file}: {command}" for file, command in PLAYBOOKS])
def test_a_playbook_that_is_named_is_there_with_its_tags_and_variables(file: str, command: str) -> None:
    [found] = remedies.commands(command)
    playbook = PROJECT / f"playbooks/{found['name']}.yml"
    assert playbook.is_file()
    words = shlex.split(found["options"])
    given = dict(zip(words[::2], words[1::2], strict=True)) if "-e" not in words else {}
    variables = {word.partition("=")[0] for flag, word in pairwise(words) if flag == "-e"}
    assert variables <= known_variables(found["name"])
    assert set(given.get("--tags", "").split(",")) - {""} <= tags_of(playbook)
    # A path that is looked up is no remedy.
    if not file.startswith("src/mltrading_db/cli/"):
        assert NEEDS.get(found["name"], set()) <= variables


@pytest.mark.parametrize("name", sorted(NEEDS))
def test_what_a_playbook_needs_is_what_it_reads(name: str) -> None:
    assert NEEDS[name] <= known_variables(name)


def parsed(words: list[str]) -> None:
    """Parse the arguments of mldb as it does; raises UsageError."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "get_command"):
        found = command.get_command(None, words[0]) if words else None
        if found is None:
            raise UsageError(f"mldb has no command {words[:1]}")
        command, words = found, words[1:]
    command.make_context(command.name, list(words))


@pytest.mark.parametrize(
    "words", [["there"], ["apply"], ["apply", "lab", "--restrt"], ["lab", "upp"], ["restore", "lab"]]
)
def test_what_mldb_would_refuse_is_no_command(words: list[str]) -> None:
    with pytest.raises(UsageError):
        parsed(words)


@pytest.mark.parametrize(("file", "command"), MLDB_COMMANDS, ids=[f"{one}: {two}" for one, two in MLDB_COMMANDS])
def test_a_command_of_mldb_is_one_with_all_that_it_asks_for(file: str, command: str) -> None:
    words = shlex.split(command)
    # A sentence may go on behind the command; what is no argument of it is a word of the sentence.
    for end in range(len(words), 0, -1):
        try:
            parsed(words[:end])
        except UsageError:
            assert not words[end - 1].startswith("-"), f"{file}: mldb {command}"
            continue
        break
    else:
        pytest.fail(f"{file}: mldb {command} is no command")


@pytest.mark.parametrize(("file", "path", "job"), JOBS, ids=[f"{one}: {three}" for one, _, three in JOBS])
def test_a_job_is_started_by_its_whole_path(file: str, path: str, job: str) -> None:
    assert path == "/usr/local/lib/mltrading-db/", file
    named = "\n".join(
        path.read_text() for path in [*PROJECT.glob("roles/*/vars/main.yml"), *PROJECT.glob("roles/*/tasks/*.yml")]
    )
    assert re.search(rf"name: {job}\b", named) or job == "value"


def test_a_target_of_make_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    named = {found["target"] for _, text in TEXTS for found in MAKE.finditer(text)}
    assert named <= targets


def test_only_checks_whose_reader_fills_it_in_say_env() -> None:
    filled_in = ("roles/postgresql_health/files/checks.yml", "roles/mltrading/defaults/main/health.yml")
    left = {file for file, text in texts() if re.search(r"\bmldb [a-z]+ ENV\b|inventories/ENV", text)}
    assert {file for file in left if file not in filled_in and not file.startswith("src/mltrading_db/cli/")} == set()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("Run playbooks/site.yml.", "Run mldb apply lab.", id="what mldb has a command for"),
        pytest.param(
            "playbooks/site.yml --tags tls --limit 'a:!b', which",
            "mldb apply lab --tags tls --limit 'a:!b', which",
            id="with hosts and roles",
        ),
        pytest.param(
            "playbooks/site.yml -e a=1.",
            "ansible-playbook --vault-password-file p -i inventories/lab playbooks/site.yml -e a=1.",
            id="with a variable",
        ),
        pytest.param(
            "(playbooks/promote_replica.yml\n -e promote_to=db2.example.net  -e promote_confirm=db2.example.net), or",
            "(ansible-playbook --vault-password-file p -i inventories/lab playbooks/promote_replica.yml"
            " -e promote_to=db2.example.net -e promote_confirm=db2.example.net), or",
            id="over two lines",
        ),
        pytest.param("mldb apply ENV --restart; ENVIRONMENT", "mldb apply lab --restart; ENVIRONMENT", id="the name"),
        pytest.param("nothing to run", "nothing to run", id="no command"),
    ],
)
def test_a_remedy_is_completed_where_it_is_shown(text: str, says: str) -> None:
    completed = remedies.completed(text, "lab", playbook="ansible-playbook --vault-password-file p")
    assert completed == says


def test_the_commands_of_mldb_for_playbooks_run_them() -> None:
    operated = (PROJECT / "src/mltrading_db/cli").glob("*.py")
    text = "\n".join(path.read_text() for path in operated)
    for playbook, command in remedies.COMMANDS.items():
        assert f"def {command}(" in text
        assert f'"{playbook}"' in text
