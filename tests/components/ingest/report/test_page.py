import re
import subprocess
import sys

import pytest

from components.ingest.report.facts import Balance, DatasetFacts, Facts, FileFacts, Histogram, Proof
from components.ingest.report.page import render
from tests.components.ingest.report import made
from tests.modelmill.evaluation.test_report import HOSTILE
from tests.modelmill.evaluation.test_report import Page as EvaluationPage

HEADINGS = {
    "proof": "The split's proof",
    "funnels": "What is left of the rows",
    "datasets": "Datasets and files",
    "histograms": "Distributions",
    "samples": "Samples",
    "pictures": "Contact sheet",
    "columns": "Columns",
    "clusters": "Near-duplicates",
}


class Page(EvaluationPage):
    """The tags and the text of a page, which may hold pictures."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.handle_startendtag(tag, attrs)
        else:
            super().handle_starttag(tag, attrs)

    def all(self, name: str) -> list[str]:
        return [value or "" for key, value in self.attributes if key == name]

    @property
    def said(self) -> str:
        """The text with plain blanks."""
        return self.text.replace("\u00a0", " ")


def headings(html: str) -> list[str]:
    return re.findall(r"<h2 id=\"\w+\">(.*?)</h2>", html.replace("&#39;", "'"))


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    html = render(made.full())
    page = Page(html)
    assert "script" not in page.tags
    sources = [value for name in ("src", "href", "srcset", "action", "data") for value in page.all(name)]
    assert all(value == "data:," or value.startswith(("data:image/png;base64,", "#")) for value in sources)
    assert not re.search(r"https?://|@import|url\(|\bon\w+=", html)
    assert "default-src 'none'" in html


def test_hostile_text_stays_text_wherever_it_stands() -> None:
    harmless = render(made.extreme("harmless"))
    html = render(made.extreme(HOSTILE))
    page = Page(html)
    assert page.text.count("alert('a')") > 20
    assert "<script" not in html
    # The same elements as with a harmless text, but for the marks of what was changed in a sample.
    marks = {"ins", "del"}
    assert [tag for tag in page.tags if tag not in marks] == [tag for tag in Page(harmless).tags if tag not in marks]
    assert {name for name, _ in page.attributes} == {name for name, _ in Page(harmless).attributes}


def test_the_page_says_all_that_is_known() -> None:
    said = Page(render(made.full())).said
    for words in (
        "movie-review-sentiment",
        "2 warnings",
        "the label 'neutral' has 12 rows",
        "64,350 rows read, 63,640 kept, 710 dropped: 580 duplicate, 96 held out, 34 contaminated",
        "of 10,605 rows kept (85.0 %)",
        "datasets/3f9a3f9a",
        "movieReviewSnippets_GroundTruth.csv.gz",
        "−402 (3.8 %) 9,240 87.1 %",
        "Length share of each split's rows",
        "validation: 888 rows",
        "negative 3,599 49.9 % 445 49.2 % 442 49.2 %",
        "row 3: 3 words, 8 are the least",
        "two ⟨200B⟩ three",
        "70,000 pictures, 36 shown. dark: 112 (0.16 %)",
        "ankle boot",
        "horsepower number 1.5 % missing (6) · 93 distinct",
        "median 93.5, quartiles 75 and 126",
        "usa 62.5 %",
        "ford pinto 1.5 %, toyota corolla 1.3 %, others 97.2 %",
        "every row says 4",
        "population stability index 0.311",
        "713 rows in 311 clusters",
        "100 to 999 rows 1",
        "✗ dropped: near duplicate",
        "✓ kept in train",
        "and 114 more rows",
        "A group is a cluster of near-duplicates (MinHash of 14 bands of 8)",
        "train 7,212 80.0 % 7,010",
    ):
        assert words in said, words


@pytest.mark.parametrize("part", HEADINGS)
def test_a_part_that_is_not_there_is_not_spoken_of(part: str) -> None:
    empty = None if part in {"proof", "pictures", "clusters"} else ()
    also = {"histograms": {"balances": ()}, "columns": {"drift": ()}}.get(part, {})
    assert headings(render(made.full())) == list(HEADINGS.values())
    html = render(made.full(**{part: empty}, **also))
    assert headings(html) == [heading for each, heading in HEADINGS.items() if each != part]


def test_a_page_of_no_facts_says_so() -> None:
    page = Page(render(Facts()))
    assert "Nothing was written down" in page.text
    assert "nav" not in page.tags


def test_every_link_of_the_navigation_leads_to_a_section() -> None:
    page = Page(render(made.full(proof=made.proof(straddling=1))))
    links = [value for value in page.all("href") if value.startswith("#")]
    assert len(links) == len(HEADINGS) + 1
    assert {link[1:] for link in links} <= set(page.all("id"))


def test_a_leak_is_said_loudly_and_in_words() -> None:
    html = render(made.full(proof=made.proof(straddling=3)))
    said = Page(html).said
    assert html.index("The splits leak into each other") < html.index('class="warnings"') < html.index("<nav")
    assert "groups with rows in two splits 3 0 ✗ no" in said
    assert '<tr class="failed">' in html
    assert "✗ leak" in said


def test_splits_that_share_nothing_raise_no_alarm() -> None:
    html = render(made.full())
    said = Page(html).said
    assert "✓ apart" in said
    assert "groups with rows in two splits 0 0 ✓ yes" in said
    assert 'class="alert"' not in html
    assert 'class="failed"' not in html


def test_what_was_not_checked_is_not_called_right() -> None:
    said = Page(render(Facts(proof=Proof(groups={"train": 1})))).said
    assert "Whether the splits share anything was not checked" in said
    assert "✓" not in said


def test_of_many_files_those_that_lost_the_most_are_shown() -> None:
    files = tuple(
        FileFacts(uri=f"file-{n:04}.csv", read=2_000, kept=2_000 - n, dropped={"empty": n}) for n in range(1_000)
    )
    facts = DatasetFacts(name="corpus", address="a", read=2_000_000, kept=1, dropped={}, files=files)
    said = Page(render(Facts(datasets=(facts,)))).said
    assert said.index("file-0999.csv") < said.index("file-0950.csv")
    assert "file-0949.csv" not in said
    assert "and 950 more files" in said


def test_of_many_labels_the_most_frequent_are_shown() -> None:
    counts = {f"label-{n}": n for n in range(1, 10_001)}
    said = Page(render(Facts(balances=(Balance(name="labels", counts={"train": counts}),)))).said
    assert said.index("label-10000") < said.index("label-9999")
    assert "label-9970 " not in said
    rows = sum(range(1, 9_971))
    assert f"and 9,970 more values in {rows:,} rows" in said


def test_few_labels_keep_their_order() -> None:
    said = Page(render(Facts(balances=(Balance(name="stars", counts={"train": {"1 star": 1, "2 stars": 9}}),)))).said
    assert said.index("1 star") < said.index("2 stars")


def test_a_page_of_very_much_is_small_enough_to_open() -> None:
    counts = {f"a rather long name of a label, number {n}": n for n in range(10_000)}
    files = made.datasets()[0].files * 17
    facts = made.full(
        balances=(Balance(name="labels", counts={"train": counts, "test": counts}),),
        datasets=(DatasetFacts(name="corpus", address="a", read=10**6, kept=10**6, files=files),),
        histograms=(Histogram(name="n", unit="n", edges=tuple(range(10_001)), counts={"train": (3,) * 10_000}),),
        samples=made.samples() * 300,
        columns=made.columns() * 1_000,
        drift=("moved",) * 10_000,
        warnings=("odd",) * 10_000,
    )
    html = render(facts)
    assert len(html.encode()) < 1_500_000
    assert "and 4,800 more columns" in html
    assert "10,000 warnings" in html


@pytest.mark.parametrize(
    "text", [made.LONG, made.RIGHT_TO_LEFT, "\x00\x1b[31m\udcff", " ", "{{ 7*7 }}{% raw %}", "&amp;"]
)
def test_odd_text_makes_a_page_that_utf8_can_hold(text: str) -> None:
    html = render(made.extreme(text))
    Page(html)
    html.encode()
    assert "\x00" not in html
    assert len(html) < 200_000


def test_empty_names_and_no_rows_make_a_page() -> None:
    nothing = DatasetFacts(name="", address="", read=0, kept=0, files=(FileFacts(uri="", read=0, kept=0),))
    facts = Facts(
        title="",
        datasets=(nothing,),
        histograms=(Histogram(name="", unit="", edges=(), counts={}),),
        balances=(Balance(name="", counts={}), Balance(name="", counts={"train": {"": 0}})),
        proof=Proof(rows={"train": 0}),
    )
    assert "0 rows read, 0 kept, 0 dropped." in Page(render(facts)).said


def test_a_small_page_is_drawn_without_heavy_libraries() -> None:
    code = (
        "import sys\nfrom components.ingest.report.page import render\n"
        "from components.ingest.report.facts import Facts\nrender(Facts(title='a'))\n"
        "print(*sorted({'torch', 'matplotlib', 'pandas', 'numpy', 'pyarrow', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
