"""The page and the table say what the hosts answered, and the page needs nothing beside it."""

from __future__ import annotations

import html
import json
import re
import shutil
import struct
import subprocess
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from example import answers

from mltrading_db.health import __main__ as program
from mltrading_db.health.answers import Environment, read
from mltrading_db.health.page import glance, rendered, with_code

PROJECT = Path(__file__).resolve().parents[3]
CHROMIUM = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
EMPTY: dict[str, Any] = {
    "host": "db1", "time": 1, "version": "15.20", "role": "primary", "state": "ok", "exit_code": 0, "checks": [],
    "history": [],
}  # fmt: skip


@pytest.fixture(scope="module")
def environment() -> Environment:
    """Three hosts with a few problems."""
    return read(answers())


@pytest.fixture(scope="module")
def page(environment: Environment) -> str:
    """Their page."""
    return rendered(environment)


def words(page: str) -> str:
    """The text of a page on one line."""
    return " ".join(html.unescape(re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL)).split())


class References(HTMLParser):
    """Collects what a page would fetch, and its elements."""

    def __init__(self) -> None:
        """Nothing yet."""
        super().__init__()
        self.fetched: list[str] = []
        self.elements: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element refers to outside of the page; a link is followed by a person."""
        self.elements.add(tag)
        if tag == "a":
            return
        self.fetched += [
            str(value) for name, value in attrs
            if name in ("src", "href", "xlink:href", "action", "data") and not str(value).startswith("#")
        ]  # fmt: skip


def test_the_page_fetches_nothing(page: str) -> None:
    found = References()
    found.feed(page)
    assert found.fetched == []
    assert found.elements & {"script", "link", "iframe", "img", "object"} == set()
    assert re.findall(r"url\((?!#)[^)]*\)|@import", page) == []


def test_the_page_leads_to_what_was_made_of_the_logs() -> None:
    said = answers()
    assert "queries.html" not in rendered(read(said))
    said["hosts"]["db1"]["query_report"] = "/var/lib/mltrading-db/query_reports/queries-2026-11-23.html"
    page = rendered(read(said))
    assert '<a href="example-db1-queries.html">' in page
    assert "the log of db1, until 2026-11-23:" in words(page)


def test_what_needs_a_person_comes_first_with_why_and_what_to_do(page: str, environment: Environment) -> None:
    said = words(page)
    assert environment.problems()
    for problem in environment.problems():
        for text in (problem.title, problem.text):
            assert said.index(" ".join(text.split())) < said.index("Servers")
    assert said.index("Mend what keeps the check from running") < said.index("Servers")


def test_one_problem_of_two_hosts_is_told_once(environment: Environment) -> None:
    assert [problem.host for problem in environment.problems() if problem.name == "query_time"] == ["db1, db2"]


def test_the_values_of_the_page_are_those_of_the_answers(page: str, environment: Environment) -> None:
    said = words(page)
    for host in environment.hosts:
        shown = [check for check in host.checks if check["state"] not in ("info", "not_configured", "no_data")]
        assert shown
        for check in shown:
            assert " ".join(check["text"].split()) in said


def test_at_a_glance_is_the_worst_that_a_host_says(environment: Environment) -> None:
    tiles = {tile["title"]: (tile["shown"], tile["state"]) for tile in glance(environment)}
    connections = {host.name: host.check("connections") for host in environment.hosts if host.check("connections")}
    assert len(connections) > 1
    most = max(connections.values(), key=lambda check: check["value"] if check else 0)
    assert most
    assert tiles["Connections"] == (most["shown"], "ok")
    assert tiles["WAL not archived"] == ("6.87 min", "warning")


def test_at_a_glance_a_check_that_cannot_run_is_no_number() -> None:
    given = answers()
    check = next(check for check in given["hosts"]["db2"]["checks"] if check["name"] == "connections")
    check |= {"state": "unknown", "value": None, "shown": "no data"}
    tiles = {tile["title"]: (tile["shown"], tile["state"]) for tile in glance(read(given))}
    assert tiles["Connections"] == ("?", "unknown")


def test_every_job_is_shown(page: str) -> None:
    said = words(page)
    for name in ("backup_full", "drill_restore", "retention", "health_history"):
        assert name in said


def test_backups_are_shown_with_their_size_and_duration_and_the_drill_with_what_it_measured(page: str) -> None:
    said = words(page)
    assert "20261122-013000F full 2026-11-22 01:30 UTC 5.2 min 5.6 GB 1.3 GB backup1" in said
    assert "back after 96 s (recovery time), with all but the last 27 s (recovery point)." in said


def test_a_drill_that_failed_is_not_praised() -> None:
    given = answers()
    drill = next(check for check in given["hosts"]["backup1"]["checks"] if check["name"] == "drills")
    drill["rows"] = [drill["rows"][0] | {"ok": False, "recovery_point_seconds": None}]
    assert "did not find all well" in words(rendered(read(given)))


def test_pictures_take_the_pages_colours_and_say_what_they_show(page: str) -> None:
    pictures = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(pictures) == 12
    for picture in pictures:
        assert re.search(r'role="img" aria-label="[^"]+"', picture)
        assert "var(--muted)" in picture
        assert set(re.findall(r"#[0-9a-f]{6}\b", picture)) <= {"#ffffff", "#000000"}


@pytest.mark.parametrize("text", ['<script>alert("x")</script>', "a & b < c"])
def test_what_a_host_says_is_text_and_no_markup(text: str) -> None:
    given = answers()
    given["hosts"]["db1"]["checks"][1] |= {"text": text, "state": "critical", "do": text}
    given["hosts"]["db1"]["history"][-1]["values"]["database_size"][text] = 5
    given["hosts"]["db2"] = {"problem": text}
    page = rendered(read(given))
    assert "<script>" not in page
    assert text in html.unescape(page)


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        pytest.param({"db1": EMPTY}, "Nothing. Every check that runs is within its levels.", id="nothing is known"),
        pytest.param({"db1": {"problem": "Connection refused"}}, "Connection refused", id="no host answers"),
    ],
)
def test_a_page_of_little_says_so(hosts: dict[str, Any], said: str) -> None:
    assert said in words(rendered(read({"environment": "lab", "hosts": hosts})))


def test_commands_and_paths_are_set_as_code() -> None:
    assert str(with_code("Run health --check plans, see <x> and /var/log/mltrading-db/a.log.")) == (
        "Run <code>health --check plans</code>, see &lt;x&gt; and <code>/var/log/mltrading-db/a.log</code>."
    )


GONE = {"problem": "no route", "server": False}


@pytest.mark.parametrize(
    ("hosts", "code", "first"),
    [
        pytest.param({"db1": EMPTY}, 0, "OK - lab, 1 hosts, 0 critical, 0 unknown, 0 warning", id="well"),
        pytest.param({"db1": EMPTY, "b1": GONE}, 3, "UNKNOWN - lab, 2 hosts, ", id="a silent host"),
        pytest.param({"db1": EMPTY | {"state": "critical"}, "db2": {"problem": "x"}}, 2, "CRITICAL - ", id="critical"),
    ],
)
def test_the_table_ends_with_the_state(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], hosts: dict[str, Any], code: int, first: str
) -> None:
    file = tmp_path / "answers.json"
    file.write_text(json.dumps({"environment": "lab", "hosts": hosts}))
    assert program.main(["table", str(file)]) == code
    assert capsys.readouterr().out.startswith(first)


def test_a_page_is_for_its_owner_alone_also_where_another_one_was(tmp_path: Path) -> None:
    file, page = tmp_path / "answers.json", tmp_path / "page.html"
    file.write_text(json.dumps({"environment": "lab", "hosts": {"db1": EMPTY}}))
    page.write_text("old")
    page.chmod(0o644)
    assert program.main(["page", str(file), str(page)]) == 0
    assert page.stat().st_mode & 0o777 == 0o600
    assert "PostgreSQL of lab" in page.read_text()


def pixels(path: Path) -> tuple[int, int, list[bytes]]:
    """Width, height and the rows of a PNG of 8 bits a channel, as Chromium writes it."""
    data, at, packed = path.read_bytes(), 8, b""
    width = height = channels = 0
    while at < len(data):
        (length,), kind = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, height, _, colour = struct.unpack(">IIBB", body[:10])
            channels = {2: 3, 6: 4}[colour]
        packed += body if kind == b"IDAT" else b""
        at += 12 + length
    raw, size = zlib.decompress(packed), width * channels
    return width, height, [raw[row * (size + 1) : (row + 1) * (size + 1)] for row in range(height)]


def browse(page: Path, picture: Path, size: str, *options: str) -> str:
    """Have Chromium draw a page, and return the title that the page's script has given it."""
    browser = shutil.which("chromium")
    assert browser, "chromium is missing: lab/setup installs it"
    common = [browser, *CHROMIUM, *options, f"--user-data-dir={page.parent / 'profile'}", f"--window-size={size}"]
    subprocess.run([*common, f"--screenshot={picture}", page.as_uri()], check=True, capture_output=True, timeout=120)
    dumped = [*common, "--virtual-time-budget=2000", "--dump-dom", page.as_uri()]
    found = subprocess.run(dumped, check=True, capture_output=True, timeout=120, text=True)
    title = re.search(r"<title>(.*?)</title>", found.stdout)
    assert title
    return title[1]


LIGHT, DARK = (0xF5, 0xF6, 0xF8), (0x10, 0x14, 0x1A)


@pytest.mark.parametrize(
    ("options", "background"),
    [
        pytest.param([], LIGHT, id="light"),
        pytest.param(["--blink-settings=preferredColorScheme=0"], DARK, id="dark", marks=pytest.mark.faults),
    ],
)
def test_a_browser_shows_the_page(page: str, tmp_path: Path, options: list[str], background: tuple[int, ...]) -> None:
    file, picture = tmp_path / "page.html", tmp_path / "page.png"
    # What is wider than the window would be cut off: the page says so in its title.
    script = f"<script>document.title = {FITS}</script>"
    file.write_text(page.replace("</body>", f"{script}</body>"))
    assert browse(file, picture, "1240,1400", *options) == "fits"
    width, height, rows = pixels(picture)
    assert (width, height) == (1240, 1400)
    assert len(set(rows)) > height / 4
    # The first row has no filter but "sub" or none at its first pixel, which is the page's own colour.
    assert tuple(rows[0][1:4]) == background


FITS = "document.documentElement.scrollWidth <= innerWidth ? 'fits' : 'too wide'"


@pytest.mark.faults
@pytest.mark.parametrize(("wider", "said"), [(False, "390 fits"), (True, "390 too wide")])
def test_the_page_fits_on_a_phone(page: str, tmp_path: Path, wider: bool, said: str) -> None:
    # A window of the browser is 500 pixels wide at least, a frame is as narrow as a phone.
    inner, outer = tmp_path / "page.html", tmp_path / "frame.html"
    script = f"<script>parent.document.title = innerWidth + ' ' + ({FITS})</script>"
    if wider:
        page = page.replace("</main>", '<div style="width: 420px">x</div></main>')
    inner.write_text(page.replace("</body>", f"{script}</body>"))
    outer.write_text(
        f'<title></title><iframe src="{inner.name}" style="width: 390px; height: 844px; border: 0"></iframe>'
    )
    assert browse(outer, tmp_path / "page.png", "700,900", "--allow-file-access-from-files") == said


@pytest.mark.faults
def test_the_picture_of_the_readme_is_drawn_by_the_script(tmp_path: Path) -> None:
    drawn = tmp_path / "health.png"
    subprocess.run([PROJECT / "lab/screenshot", drawn], check=True, capture_output=True, timeout=300)
    width, height, rows = pixels(drawn)
    assert (width, height) == pixels(PROJECT / "docs/images/health.png")[:2]
    assert len(set(rows)) > height / 4
