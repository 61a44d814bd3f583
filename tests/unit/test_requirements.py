"""requirements.yml names the collections that the locked `ansible` package carries."""

import json
import re
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
COLLECTIONS = yaml.safe_load((PROJECT / "requirements.yml").read_text())["collections"]
CARRIED = Path(str(distribution("ansible").locate_file("ansible_collections")))


def installed_version(name: str) -> str:
    """The version of a collection inside the installed `ansible` package."""
    manifest = CARRIED.joinpath(*name.split("."), "MANIFEST.json")
    return str(json.loads(manifest.read_text())["collection_info"]["version"])


def bounds(version: str) -> tuple[str, str]:
    """The lower and the upper bound of `>=a,<=b`; one version alone is both."""
    lower, _, upper = version.partition(",")
    return lower.removeprefix(">="), (upper or lower).removeprefix("<=")


@pytest.mark.parametrize("collection", [pytest.param(one, id=one["name"]) for one in COLLECTIONS])
def test_the_bound_for_this_python_is_the_version_that_ansible_carries(collection: dict[str, str]) -> None:
    lower, upper = bounds(collection["version"])
    assert installed_version(collection["name"]) == (lower if sys.version_info < (3, 12) else upper)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        pytest.param("4.2.0", ("4.2.0", "4.2.0"), id="one version"),
        pytest.param(">=2.1.0,<=2.2.2", ("2.1.0", "2.2.2"), id="two bounds"),
    ],
)
def test_a_version_has_a_lower_and_an_upper_bound(version: str, expected: tuple[str, str]) -> None:
    assert bounds(version) == expected


def test_every_collection_that_the_project_uses_is_named() -> None:
    folders = ("playbooks", "roles", "molecule", "inventories")
    paths = [path for folder in folders for suffix in ("yml", "py") for path in (PROJECT / folder).rglob(f"*.{suffix}")]
    text = "\n".join(path.read_text() for path in paths)
    carried = {f"{path.parent.name}.{path.name}" for path in CARRIED.glob("*/*") if path.is_dir()}
    # Modules and lookups alike are called by three names: namespace, collection, and their own.
    used = {".".join(names) for names in re.findall(r"\b([a-z_]+)\.([a-z_]+)\.[a-z_]+\b", text)}
    assert used & carried == {one["name"] for one in COLLECTIONS}
