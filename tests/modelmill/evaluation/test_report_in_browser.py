"""The report in a real browser: the page itself never scrolls sideways, on a phone or on a desk."""

import html
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from modelmill.evaluation.document import Report
from modelmill.evaluation.report import render
from tests.modelmill.evaluation import made
from tests.modelmill.evaluation.made_probes import probes
from tests.modelmill.evaluation.test_measure_answers import report as questions

FRAME = """<!doctype html><iframe id="page" style="border:0;width:{width}px;height:900px" srcdoc="{page}"></iframe>
<script>document.getElementById("page").onload = event => {{
  document.title = "wide " + event.target.contentDocument.documentElement.scrollWidth;
}}</script>"""
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--virtual-time-budget=5000"]


LABELS = ("a label of quite some length", "another one", "and_a_third_without_any_space_in_it")
TEXT = "column_of_quite_a_long_name=value_without_any_space_in_it, " * 4
PART = {
    "value": TEXT,
    "rows": 40,
    "few": False,
    "main": "accuracy",
    "metrics": {"accuracy": 0.7},
    "interval": [0.6, 0.8],
}
REPORTS: dict[str, Callable[[], Report]] = {
    "beside a champion": lambda: made.report().adding(
        comparison=made.beside(TEXT), slices=[{"column": "street", **PART, "interval": [0.6, 0.8]}]
    ),
    "classes": lambda: made.report(labels=LABELS),
    "ten classes": lambda: made.report(rows=4000, labels=[f"a label {number}" for number in range(10)]),
    "numbers": lambda: made.numbers_report(text=TEXT, size=1e5).adding(cross_validation=made.folds()),
    "words": made.words_report,
    "questions": questions,
    "targets": lambda: made.targets_report(text=TEXT),
    "probed texts": lambda: made.report().adding(probes=probes("text", TEXT)),
    "probed pictures": lambda: made.report().adding(probes=probes("picture")),
    "probed tables": lambda: made.numbers_report().adding(probes=probes("table", TEXT)),
}


@pytest.mark.system
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("kind", list(REPORTS))
def test_the_page_is_as_wide_as_its_window(tmp_path: Path, width: int, kind: str) -> None:
    chromium = shutil.which("chromium")
    assert chromium, "tools/install-debian installs it"
    page = html.escape(render(REPORTS[kind]()), quote=True)
    (tmp_path / "frame.html").write_text(FRAME.format(width=width, page=page))
    command = [chromium, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,1000", "--dump-dom"]
    shown = subprocess.run(
        [*command, (tmp_path / "frame.html").as_uri()], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    found = re.search(r"<title>wide (\d+)</title>", shown)
    assert found is not None, shown[:2000]
    assert int(found[1]) <= width
