"""The report in a real browser: it never scrolls sideways, complains of nothing and asks for nothing."""

import html
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.ingest.report.facts import Facts
from components.ingest.report.page import render
from tests.components.ingest.report import made
from tests.modelmill.evaluation.test_report_in_browser import FLAGS

# All that can be opened is opened first: what is folded away may be too wide as well.
FRAME = """<!doctype html><iframe id="page" style="border:0;width:{width}px;height:900px" srcdoc="{page}"></iframe>
<script>document.getElementById("page").onload = event => {{
  const page = event.target.contentDocument;
  page.querySelectorAll("details").forEach(each => each.open = true);
  const asked = event.target.contentWindow.performance.getEntriesByType("resource");
  const broken = [...page.images].filter(each => !each.naturalWidth);
  document.title = ["wide", page.documentElement.scrollWidth, "high", page.documentElement.scrollHeight,
    "asked", asked.filter(each => !each.name.startsWith("data:")).length, "broken", broken.length].join(" ");
}}</script>"""


@dataclass(frozen=True)
class Seen:
    """What the browser made of a page."""

    wide: int
    high: int
    asked: int
    broken: int
    complaints: list[str]


def see(folder: Path, page: str, width: int) -> Seen:
    chromium = shutil.which("chromium")
    assert chromium, "tools/install-debian installs it"
    (folder / "frame.html").write_text(FRAME.format(width=width, page=html.escape(page, quote=True)))
    command = [chromium, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--window-size=1400,1000", "--dump-dom"]
    command += ["--enable-logging=stderr", (folder / "frame.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    found = re.search(r"<title>wide (\d+) high (\d+) asked (\d+) broken (\d+)</title>", done.stdout)
    assert found is not None, done.stdout[:2000]
    wide, high, asked, broken = map(int, found.groups())
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Seen(wide=wide, high=high, asked=asked, broken=broken, complaints=complaints)


PAGES = {
    "full": made.full(),
    "leak": made.full(proof=made.proof(straddling=3)),
    "long words": made.extreme(),
    "right to left": made.extreme(made.RIGHT_TO_LEFT),
    "nothing": Facts(),
}


@pytest.mark.system
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_as_wide_as_its_window_and_keeps_to_itself(tmp_path: Path, name: str, width: int) -> None:
    seen = see(tmp_path, render(PAGES[name]), width)
    assert seen.wide <= width
    assert seen.complaints == []
    assert seen.asked == 0
    assert seen.broken == 0


@pytest.mark.system
def test_a_page_that_is_too_wide_or_asks_for_something_would_be_seen(tmp_path: Path) -> None:
    spoiled = render(Facts()).replace(
        "<footer>", '<img src="https://example.invalid/a.png"><div style="width:2000px;height:9px"></div><footer>'
    )
    seen = see(tmp_path, spoiled, 360)
    assert seen.wide > 360
    assert seen.complaints
    assert seen.broken == 1
