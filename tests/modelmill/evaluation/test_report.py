import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from modelmill.errors import ModelmillError
from modelmill.evaluation.document import Report
from modelmill.evaluation.report import render
from modelmill.evaluation.verdict import verdict
from tests.modelmill.evaluation import made
from tests.modelmill.evaluation.made_probes import probes

HOSTILE = "<script>alert('a')</script><img src=x onerror=alert(1)> </style> {{ 7*7 }} & \"quoted\""


class Page(HTMLParser):
    """The tags of a page, its attributes, and its text with blanks run together."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self._open: list[str] = []
        self._text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in {"meta", "link", "img"}:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in {"style", "title"}:
            self._text.append(data)

    @property
    def text(self) -> str:
        assert not self._open
        return re.sub(r"\s+", " ", " ".join(self._text))


def full_report() -> Report:
    report = made.report()
    return report.adding(
        verdict=verdict(report.checks, None),
        registered={"name": "movie-review-sentiment", "version": "7", "aliases": ["champion", "challenger"]},
        comparisons={"from_scratch": {**report.metrics["test"], "accuracy": 0.7}},
        training={"finetune": {"epochs": 2, "lr": 8e-5, "resumed": False}},
        lineage={"git_commit": "c0ffee", "base": {"digest": "f00d"}},
        data={
            "splits": {"train": {"rows": 12345}, "test": {"rows": 200}},
            "sources": [
                {"name": "a.csv", "read": 13000, "kept": 12545, "dropped": {"label_conflict": 455}, "licence": "MIT"}
            ],
        },
    )


def test_a_mistake_that_is_a_picture_is_drawn_and_nothing_else_is() -> None:
    report = full_report()
    picture = "data:image/png;base64,iVBORw0KGgo="
    shown = [{**one.model_dump(), "picture": picture, "text": HOSTILE, "label": HOSTILE} for one in report.examples[:2]]
    html = render(report.adding(examples=shown))
    page = Page(html)
    assert page.tags.count("img") == 2
    assert [value for name, value in page.attributes if name == "src"] == [picture] * 2
    assert [value for name, value in page.attributes if name == "alt"] == [f"{HOSTILE}, {HOSTILE}"] * 2
    assert "onerror" not in {name for name, _ in page.attributes}
    assert "img" not in Page(render(report)).tags
    for wrong in ("https://elsewhere/a.png", "data:text/html;base64,PGI+", f'{picture}" onload="x', f"{picture}\n"):
        with pytest.raises(ModelmillError, match=r"examples\.0\.picture"):
            report.adding(examples=[{**shown[0], "picture": wrong}])


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    html = render(full_report())
    page = Page(html)
    assert "script" not in page.tags
    sources = [value for name, value in page.attributes if name in {"src", "href", "srcset", "action", "data"}]
    assert sources == ["data:,"]
    assert not re.search(r"https?://|@import|url\(|\bon\w+=", html)
    assert "default-src 'none'" in html


@pytest.mark.parametrize("place", ["text", "label", "name", "source", "lineage", "reason"])
def test_hostile_text_stays_text(place: str) -> None:
    report = made.report(text=HOSTILE if place == "text" else "a film")
    if place == "label":
        report = made.report(labels=(HOSTILE, "b", "c"))
    elif place == "name":
        report = report.adding(registered={"name": HOSTILE, "version": "1"})
    elif place == "source":
        source = {"name": HOSTILE, "read": 1, "kept": 0, "dropped": {HOSTILE: 1}}
        report = report.adding(data={"splits": {"train": {"rows": 1}}, "sources": [source]})
    elif place == "lineage":
        report = report.adding(lineage={HOSTILE: HOSTILE}, training={HOSTILE: {HOSTILE: [HOSTILE]}})
    elif place == "reason":
        report = report.adding(verdict={"decision": "hold", "reasons": [HOSTILE]})
    html = render(report)
    page = Page(html)
    assert HOSTILE in page.text
    assert not {"script", "img"} & set(page.tags)
    assert "<script" not in html


def test_the_page_says_all_that_is_known() -> None:
    report = full_report()
    text = Page(render(report)).text
    for said in (
        "movie-review-sentiment",
        "version 7",
        "champion",
        "Promote",
        "No other version is champion.",
        f"{report.metrics['test']['accuracy']:.3f}",
        "{:.3f} to {:.3f}".format(*report.intervals["f1_macro"]),
        "Pretraining helps",
        "13,000 rows read, 12,545 kept, 455 dropped (label conflict). Licence: MIT.",
        "12,345",
        report.examples[0].text,
        "8e-05",
        "c0ffee",
        "base › digest f00d",
        report.model,
    ):
        assert said in text, said


def test_every_plot_is_drawn_and_speaks() -> None:
    labels = [value for name, value in Page(render(full_report())).attributes if name == "aria-label"]
    for name in ("ROC curve. ", "Precision-recall curve. ", "Reliability diagram. ", "Histogram of confidence. "):
        assert [label for label in labels if label and label.startswith(name)], name


@pytest.mark.parametrize(
    ("decision", "word"), [("promote", "Promote"), ("hold", "Hold"), ("undecided", "Undecided"), (None, "Evaluated")]
)
def test_the_verdict_leads_the_page(decision: str | None, word: str) -> None:
    report = made.report()
    if decision:
        report = report.adding(verdict={"decision": decision, "reasons": ["because"]})
    html = render(report)
    assert re.search(rf"<title>{word}: ", html)
    assert html.index(f'<h2 id="verdict">{word}</h2>') < html.index("Compared on the same rows")
    if decision:
        assert f'class="verdict {decision}"' in html


SLICE = {
    "column": "length",
    "value": "short",
    "rows": 40,
    "few": False,
    "main": "accuracy",
    "interval": [0.6, 0.8],
    "metrics": {"accuracy": 0.7},
}


def test_the_page_is_read_from_the_verdict_to_the_lineage() -> None:
    report = full_report().adding(comparison=made.beside(), slices=[SLICE], probes=probes("text"))
    headings = re.findall(r'<h2 id="([a-z]+)"', render(report))
    assert headings == [
        *("verdict", "champion", "beside", "labels", "sure", "slices", "mistakes"),
        *("robustness", "explained", "cost", "data", "training", "lineage"),
    ]


def test_the_page_of_numbers_is_read_in_the_same_order() -> None:
    report = made.numbers_report().adding(slices=[{**SLICE, "main": "r2", "metrics": {"r2": 0.7}}])
    headings = re.findall(r'<h2 id="([a-z]+)"', render(report))
    assert headings == ["verdict", "beside", "errors", "slices", "worst", "data", "lineage"]


def test_cells_of_many_labels_are_small_and_say_their_share_when_pointed_at() -> None:
    page = render(made.report(labels=[f"label {number}" for number in range(10)]))
    assert 'class="confusion dense"' in page
    assert page.count('title="label ') >= 100
    assert page.count("average precision") >= 1


@pytest.mark.parametrize(
    ("tfidf_accuracy", "said"),
    [
        (0.99, "The tf-idf baseline is better: accuracy 0.990 against"),
        (None, "The tf-idf baseline is as good: accuracy"),
    ],
)
def test_a_baseline_that_wins_or_ties_is_said_loudly(tfidf_accuracy: float | None, said: str) -> None:
    report = made.report()
    ours = report.metrics["test"]["accuracy"]
    tfidf = {**report.metrics["tfidf"], "accuracy": tfidf_accuracy or ours}
    html = render(report.adding(metrics={**report.metrics, "tfidf": tfidf}))
    alert = html[html.index('role="alert"') :]
    assert said in alert[: alert.index("</section>")]


def test_a_model_that_wins_raises_no_alarm() -> None:
    assert 'role="alert"' not in render(made.report(skill=3))


@pytest.mark.parametrize(
    ("accuracy", "said"),
    [(0.7, "Pretraining helps"), (0.999, "Pretraining hurts"), (None, "Pretraining makes no difference")],
)
def test_what_pretraining_is_worth_is_one_sentence(accuracy: float | None, said: str) -> None:
    report = made.report()
    ours = report.metrics["test"]
    scratch = {**ours, "accuracy": accuracy or ours["accuracy"]}
    assert said in Page(render(report.adding(comparisons={"from_scratch": scratch}))).text


def test_a_small_difference_is_not_sold_as_a_help() -> None:
    report = made.report()
    ours = report.metrics["test"]
    for by, said in ((-0.01, "seems to help"), (0.01, "seems to hurt")):
        scratch = {**ours, "accuracy": ours["accuracy"] + by}
        text = Page(render(report.adding(comparisons={"from_scratch": scratch}))).text
        assert f"Pretraining {said}" in text
        assert "may be luck" in text


def test_contenders_and_splits_keep_their_order_whatever_the_json_says() -> None:
    sorted_keys = json.loads(json.dumps(json.loads(full_report().to_json()), sort_keys=True))
    text = Page(render(sorted_keys)).text
    names = ["This model", "From random weights", "tf-idf + logistic regression", "Majority class"]
    assert [text.index(name) for name in names] == sorted(text.index(name) for name in names)
    assert text.index("train 12,345") < text.index("test 200")


@pytest.mark.parametrize("rows", [2, 3, 7])
def test_a_handful_of_rows_makes_a_page_too(rows: int) -> None:
    Page(render(made.report(rows=rows, skill=9)))
    Page(render(made.report(rows=rows, skill=-9, labels=("a", "b", "c"))))
    Page(render(made.report(rows=rows, tfidf_skill=None, at_least=None)))


def test_what_is_no_report_is_refused() -> None:
    with pytest.raises(ModelmillError, match=r"report\.json: "):
        render({"version": 1})


def test_the_page_is_drawn_without_heavy_libraries() -> None:
    program = (
        "import sys\n"
        "from modelmill.evaluation.document import Report\n"
        "from modelmill.evaluation.report import render\n"
        "report = Report.read(sys.stdin.read())\n"
        "render(report)\n"
        "heavy = {'torch', 'sklearn', 'matplotlib', 'mlflow', 'numpy', 'pyarrow'} & set(sys.modules)\n"
        "print(*sorted(heavy))\n"
    )
    text = full_report().to_json()
    done = subprocess.run([sys.executable, "-c", program], input=text, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
