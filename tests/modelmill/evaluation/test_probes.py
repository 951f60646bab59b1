"""What a model was probed with is told on the page, and its cost is held against thresholds."""

import re

import pytest
from markupsafe import escape

from modelmill.errors import ModelmillError
from modelmill.evaluation.checks import Check, Metric, Threshold, checks, cost_checks
from modelmill.evaluation.document import Report
from modelmill.evaluation.probe_plots import levels, tip
from modelmill.evaluation.report import render
from tests.modelmill.evaluation import made
from tests.modelmill.evaluation.made_probes import Kind, cost, probes


def page(kind: Kind, text: str = "a dull, lifeless film") -> str:
    report = made.numbers_report() if kind == "table" else made.report()
    return render(report.adding(probes=probes(kind, text)))


@pytest.mark.parametrize(("kind", "counted"), [("text", 3), ("picture", 5), ("table", 3)])
def test_every_change_has_its_plot_its_table_and_its_example(kind: Kind, counted: int) -> None:
    shown = page(kind)
    assert shown.count('<div class="levels">') == counted
    told = probes(kind).robustness
    assert told is not None
    for changed in told.changes:
        assert f"{escape(changed.said)}." in shown
        assert f"under {changed.change}: none 0.800; {changed.levels[0].word} 0.600" in shown
        measured = changed.levels[0].measured
        assert f"<td>{measured.value:.3f}\n<small>{measured.low:.3f} to {measured.high:.3f}</small>" in shown
    assert shown.count('<ul class="strip"') == (5 if kind == "picture" else 0)
    assert shown.count('<ul class="steps"') == (0 if kind == "picture" else 3)


def test_tokens_are_coloured_by_how_much_they_moved_the_answer() -> None:
    found = re.findall(r'<mark class="(\w+)" style="--weight: ([\d.]+)" title="([^"]*)">([^<]*)</mark>', page("text"))
    assert found[:3] == [
        ("towards", "1.000", "1", "a "),
        ("towards", "0.500", "0.5", "dull, "),
        ("away", "0.500", "−0.5", "film "),
    ]


def test_columns_are_bars_and_pixels_a_picture() -> None:
    assert page("table").count('<svg class="tip"') == 4
    assert "a_column_of_some_length <span" in page("table")
    assert page("picture").count('alt="the pixels that moved the answer"') == 2


def test_parts_that_do_not_add_up_are_told_as_a_guess() -> None:
    assert page("text").count("which is too much: take these parts for a rough guess") == 1


def test_text_of_the_data_is_shown_as_text() -> None:
    shown = page("text", "<script>alert(1)</script> <b>bold")
    assert "<script>" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown


def test_the_page_says_on_which_machine_times_were_measured() -> None:
    shown = page("table")
    assert "Measured once,\non 2 cores of a processor, Linux, torch 2.14.1, with 2 threads: another machine" in shown
    assert "<td>6 ms</td><td>12 ms\n<small>10.8 to 15 ms</small></td>" in shown
    assert "<dd>2 MB</dd>" in shown


def test_a_report_without_probes_says_nothing_of_them() -> None:
    shown = render(made.report())
    assert all(f'id="{name}"' not in shown for name in ("robustness", "explained", "cost"))


def test_a_picture_that_is_an_address_is_refused() -> None:
    told = probes("picture").model_dump(mode="json")
    told["robustness"]["picture"] = "https://example.org/a.png"
    with pytest.raises(ModelmillError, match=r"probes\.robustness\.picture"):
        Report.read({**made.report().model_dump(mode="json"), "probes": told})


def test_a_plot_of_r2_reaches_below_zero_and_cuts_its_intervals_off() -> None:
    told = probes("table", value=-3.0).robustness
    assert told is not None
    drawn = str(levels(told.changes[0], told))
    assert ">−1<" in drawn
    assert "nan" not in drawn
    assert all(0 <= float(each) <= 230.1 for each in re.findall(r' y[12]="([-\d.]+)"', drawn))


def test_a_bar_reaches_from_the_middle_to_its_side() -> None:
    assert 'class="towards" x="50.00%" width="25.00%"' in str(tip(0.5))
    assert 'class="away" x="25.00%" width="25.00%"' in str(tip(-0.5))


def one(name: Metric, limit: float, **told: float) -> Check:
    (check,) = cost_checks(cost(**told), {name: Threshold(max=limit)})  # type: ignore[arg-type]
    return check


@pytest.mark.parametrize(
    ("name", "limit", "passed", "said"),
    [
        ("latency_p99_ms", 20, True, "99 of 100 rows are answered within 12 ms each, which meets the wanted 20 ms"),
        (
            "latency_p99_ms",
            13,
            False,
            "would meet the wanted 13 ms, but its 95 % interval over 400 calls ends at 15 ms",
        ),
        ("latency_p99_ms", 5, False, "within 12 ms each over 400 calls, above the wanted 5 ms"),
        ("size_mb", 2, True, "The model's files of 2 MB meet the wanted 2 MB"),
        ("size_mb", 1.5, False, "The model's files of 2 MB are above the wanted 1.5 MB"),
    ],
)
def test_cost_is_decided_on_the_end_of_its_interval(name: Metric, limit: float, passed: bool, said: str) -> None:
    check = one(name, limit)
    assert check.passed is passed
    assert said in check.sentence


def test_cost_is_no_figure_of_the_rows() -> None:
    figures = {"test": {"accuracy": 0.9}, "majority": {"accuracy": 0.5}}
    wanted: dict[Metric, Threshold] = {"latency_p99_ms": Threshold(max=1), "accuracy": Threshold(min=0.5)}
    found = checks(figures, {"accuracy": (0.8, 0.95)}, wanted, (), 100)
    assert [check.metric for check in found] == ["accuracy", "accuracy"]
