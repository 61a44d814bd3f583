"""The module host_files: what is as declared stays alone, the rest is made so, and what cannot be is refused first."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path
from typing import Any

import pytest
from ansible.modules import host_files

OWNER = pwd.getpwuid(os.getuid()).pw_name
GROUP = grp.getgrgid(os.getgid()).gr_name


def entry(path: Path, content: str | None = None, **changed: Any) -> dict[str, Any]:
    mode = "0755" if content is None else "0640"
    return {"path": str(path), "owner": OWNER, "group": GROUP, "mode": mode, "content": content} | changed


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_a_folder_and_a_file_in_it_are_made_and_then_left_alone(tmp_path: Path) -> None:
    entries = [entry(tmp_path / "folder"), entry(tmp_path / "folder" / "file", "größe\n")]
    for one in entries:
        assert host_files.difference(one)
        host_files.bring(one)
        assert host_files.difference(one) is None
    assert (tmp_path / "folder" / "file").read_text(encoding="utf-8") == "größe\n"
    assert (mode_of(tmp_path / "folder"), mode_of(tmp_path / "folder" / "file")) == (0o755, 0o640)
    assert os.listdir(tmp_path / "folder") == ["file"]


def test_the_difference_shows_the_content_or_else_the_owner_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old\n")
    shown = host_files.difference(entry(path, "new\n"))
    assert shown
    assert (shown["before"], shown["after"]) == ("old\n", "new\n")
    path.chmod(0o600)
    shown = host_files.difference(entry(path, "old\n"))
    assert shown
    assert (shown["before"], shown["after"]) == (f"{OWNER}:{GROUP} 0600\n", f"{OWNER}:{GROUP} 0640\n")


def test_an_empty_file_that_is_missing_is_a_difference(tmp_path: Path) -> None:
    assert host_files.difference(entry(tmp_path / "file", ""))


def test_a_link_is_replaced_and_what_it_led_to_is_kept(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("the same\n")
    (tmp_path / "file").symlink_to(tmp_path / "other")
    one = entry(tmp_path / "file", "the same\n")
    assert host_files.difference(one)
    host_files.bring(one)
    assert not (tmp_path / "file").is_symlink()
    assert (tmp_path / "other").read_text() == "the same\n"


def test_a_reader_never_sees_a_file_that_is_readable_to_more_than_declared(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old\n")
    path.chmod(0o644)
    before = path.stat().st_ino
    host_files.bring(entry(path, "secret\n", mode="0600"))
    assert path.stat().st_ino != before
    assert mode_of(path) == 0o600


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"mode": "rw-r-----"}, "octal digits"),
        ({"mode": "0689"}, "octal digits"),
        ({"owner": "nobody_of_this_name"}, "no user nobody_of_this_name"),
        ({"group": "nobody_of_this_name"}, "no group nobody_of_this_name"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, changed: dict[str, str], why: str) -> None:
    assert why in (host_files.problem(entry(tmp_path / "file", "", **changed), set(), check_mode=False) or "")


def test_a_folder_that_is_a_file_and_a_file_that_is_a_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "is a file" in (host_files.problem(entry(tmp_path / "file"), set(), check_mode=False) or "")
    assert "is a folder" in (host_files.problem(entry(tmp_path, ""), set(), check_mode=False) or "")


def test_a_folder_that_nobody_makes_is_refused_but_not_by_a_check_of_a_blank_host(tmp_path: Path) -> None:
    one = entry(tmp_path / "folder" / "file", "", owner="made_by_a_package_later")
    assert "does not exist" in (host_files.problem(one, set(), check_mode=False) or "")
    assert host_files.problem(one, set(), check_mode=True) is None
    assert host_files.problem(entry(tmp_path / "folder" / "file", ""), {str(tmp_path / "folder")}, False) is None
