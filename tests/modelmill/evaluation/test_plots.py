from xml.etree import ElementTree

import pytest

from modelmill.evaluation import plots
from modelmill.evaluation.document import ConfidenceBin, PrecisionRecall, RocCurve

BIN = ConfidenceBin(low=0.95, high=1.0, rows=10, correct=7, confidence=0.97)


def heights(svg: str, kind: str) -> list[float]:
    return [
        float(each.get("height", 0)) for each in ElementTree.fromstring(svg).iter("rect") if each.get("class") == kind
    ]


def test_a_bar_is_as_long_as_its_figure() -> None:
    (fill,) = [
        each for each in ElementTree.fromstring(plots.bar(0.858, 0.835, 0.878, "test")) if each.get("class") == "fill"
    ]
    assert fill.get("width") == "85.80%"


def test_the_parts_of_a_bar_fill_it() -> None:
    parts = ElementTree.fromstring(plots.share_bar([("kept", 6), ("empty", 3), ("too <short>", 1)]))
    assert [each.get("width") for each in parts] == ["60.000%", "30.000%", "10.000%"]
    assert [each.get("x") for each in parts] == ["0.000%", "60.000%", "90.000%"]


def test_a_bar_of_no_rows_is_empty_not_an_error() -> None:
    assert ElementTree.fromstring(plots.share_bar([("kept", 0)]))[0].get("width") == "0.000%"


def test_wrong_and_right_rows_share_the_histograms_bar() -> None:
    empty = ConfidenceBin(low=0.9, high=0.95, rows=0, correct=0, confidence=0.0)
    svg = plots.histogram([empty, BIN])
    (wrong,), (right,) = heights(svg, "wrong"), heights(svg, "right")
    assert right / wrong == pytest.approx(7 / 3, rel=0.01)


def test_a_plot_says_what_it_shows_to_those_who_cannot_see_it() -> None:
    curve = RocCurve(label='<b>"yes"</b>', auc=0.9123, points=((0.0, 0.0), (0.2, 0.8), (1.0, 1.0)))
    svg = ElementTree.fromstring(plots.roc([curve]))
    assert svg.get("role") == "img"
    assert svg.get("aria-label") == 'ROC curve. Area under the curve: <b>"yes"</b> 0.912.'
    assert ElementTree.fromstring(plots.reliability([BIN], 0.27)).get("aria-label") == (
        "Reliability diagram. Expected calibration error 0.270."
    )


def test_at_most_six_curves_are_drawn() -> None:
    curves = [RocCurve(label=str(index), auc=0.5, points=((0.0, 0.0), (1.0, 1.0))) for index in range(9)]
    svg = ElementTree.fromstring(plots.roc(curves))
    assert len(list(svg.iter("polyline"))) == 6


@pytest.mark.parametrize("rows", [1, 2, 3, 9, 10, 11, 99, 101, 217, 999, 1001, 54_321, 10**6])
def test_an_axis_ends_at_a_round_number_not_far_above_the_most_rows(rows: int) -> None:
    one = ConfidenceBin(low=0.95, high=1.0, rows=rows, correct=rows, confidence=0.97)
    (right,) = heights(plots.histogram([one]), "right")
    plot_height = 218
    assert 0.5 * plot_height <= right <= plot_height + 0.1


def test_a_precision_recall_curve_is_drawn_in_steps() -> None:
    curve = PrecisionRecall(
        label="yes", average_precision=0.75, interval=(0.5, 0.9), guess=0.2, points=((0.5, 1.0), (1.0, 0.5))
    )
    svg = ElementTree.fromstring(plots.precision_recall([curve]))
    assert svg.get("aria-label") == "Precision-recall curve. Area under the curve: yes 0.750."
    (line,) = svg.iter("polyline")
    places = [tuple(map(float, pair.split(","))) for pair in line.get("points", "").split()]
    across, up = zip(*places, strict=True)
    assert across[1] == across[2]
    assert (up[0], up[2]) == (up[1], up[3])
    assert up[0] < up[2]


def test_errors_lie_around_the_line_of_none() -> None:
    svg = ElementTree.fromstring(plots.errors([(1.0, 2.0), (5.0, 3.0), (4.0, 4.0)], "price"))
    (guide,) = [each for each in svg.iter("line") if each.get("class") == "guide"]
    none = float(guide.get("y1", ""))
    above, below, on = (float(each.get("cy", "")) for each in svg.iter("circle"))
    assert below - none == pytest.approx(2 * (none - above), abs=0.11)
    assert on == pytest.approx(none, abs=0.06)
    assert svg.get("aria-label") == "Errors of 3 rows against their predictions, at most 2."
