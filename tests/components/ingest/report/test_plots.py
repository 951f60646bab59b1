from xml.etree import ElementTree

import pytest

from components.ingest.report import plots
from components.ingest.report.facts import Histogram


def texts(svg: str) -> list[str]:
    return [each.text or "" for each in ElementTree.fromstring(svg).iter("text")]


def heights(svg: str) -> list[float]:
    """Return the heights of the first outline's bars, in the plot's units."""
    (line, *_) = ElementTree.fromstring(svg).iter("polyline")
    points = [tuple(map(float, point.split(","))) for point in (line.get("points") or "").split()]
    return [points[0][1] - y for _, y in points[1:-1:2]]


def test_a_funnels_bar_is_what_is_left_of_all() -> None:
    widths = [each.get("width") for each in ElementTree.fromstring(plots.funnel_bar(50, 75, 200))]
    assert widths == ["100%", "37.50%", "25.00%"]


def test_a_funnel_of_no_rows_is_empty_not_an_error() -> None:
    assert [each.get("width") for each in ElementTree.fromstring(plots.funnel_bar(0, 0, 0))][1:] == ["0.00%", "0.00%"]


def test_a_box_stands_where_the_quartiles_are() -> None:
    svg = ElementTree.fromstring(plots.box((0.0, 25.0, 50.0, 75.0, 100.0)))
    (middle,) = [each for each in svg if each.get("class") == "middle"]
    assert (middle.get("x"), middle.get("width")) == ("25.00%", "50.00%")


@pytest.mark.parametrize("figures", [(4, 4, 4, 4, 4), (-1.7e308, -1e308, 0, 1e308, 1.7e308)])
def test_a_box_of_odd_figures_is_drawn(figures: tuple[float, ...]) -> None:
    assert "nan" not in plots.box(figures)
    assert "inf" not in plots.box(figures)


def test_one_split_is_shown_in_rows_and_several_in_shares() -> None:
    one = Histogram(name="length", unit="words", edges=(0, 10, 20), counts={"train": (400, 100)})
    assert "400" in texts(plots.histogram(one))
    two = Histogram(name="length", unit="words", edges=(0, 10, 20), counts={"train": (400, 100), "test": (4, 1)})
    svg = plots.histogram(two)
    assert "80 %" in texts(svg)
    lines = [each.get("points") for each in ElementTree.fromstring(svg).iter("polyline")]
    assert lines[0] == lines[1]
    most, least = heights(svg)
    assert most == pytest.approx(218, abs=0.2)
    assert least == pytest.approx(54.5, abs=0.2)


def test_a_bar_is_as_high_as_its_count() -> None:
    svg = plots.histogram(Histogram(name="length", unit="words", edges=(0, 1, 2, 3), counts={"train": (40, 10, 0)}))
    high, low, none = heights(svg)
    assert high / low == pytest.approx(4, rel=0.02)
    assert none == 0


def test_a_bin_says_its_counts_under_the_pointer() -> None:
    svg = plots.histogram(Histogram(name="length", unit="words", edges=(0, 10, 1000), counts={"train": (3, 1)}))
    said = [each.text for each in ElementTree.fromstring(svg).iter("title")]
    assert said == ["0 to 10: train 3 (75.0\u00a0%)", "10 to 1,000: train 1 (25.0\u00a0%)"]


def test_many_bins_are_put_together_without_losing_a_row() -> None:
    shown = Histogram(name="length", unit="words", edges=tuple(range(1001)), counts={"train": (1,) * 1000})
    svg = plots.histogram(shown)
    said = [each.text or "" for each in ElementTree.fromstring(svg).iter("title")]
    assert len(said) <= 60
    assert sum(int(each.split("train ")[1].split()[0]) for each in said) == 1000
    assert said[-1].split(":")[0].endswith("to 1,000")


@pytest.mark.parametrize(
    ("edges", "counts"), [((), {}), ((0.0, 1.0), {"train": (0,)}), ((0.0, 1.0), {"a": (0,), "b": (0,)})]
)
def test_a_histogram_of_no_rows_is_drawn(edges: tuple[float, ...], counts: dict[str, tuple[int, ...]]) -> None:
    ElementTree.fromstring(plots.histogram(Histogram(name="length", unit="words", edges=edges, counts=counts)))
