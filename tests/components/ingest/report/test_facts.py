import json
import re
from typing import Any

import pytest

from components.ingest.report.facts import (
    DatasetFacts,
    Facts,
    Funnel,
    Histogram,
    Picture,
    Proof,
    Sample,
    Stage,
    data_uri,
)
from modelmill.errors import ModelmillError
from modelmill.ledger import Ledger
from tests.components.ingest.report import made


@pytest.mark.parametrize("facts", [Facts(), made.full(), made.extreme(made.RIGHT_TO_LEFT)], ids=["none", "full", "odd"])
def test_facts_come_back_from_json_as_they_were(facts: Facts) -> None:
    assert Facts.from_dict(json.loads(json.dumps(facts.to_dict()))) == facts


def test_what_is_no_text_does_not_stop_the_facts_from_being_written() -> None:
    sample = Sample(reason="not_utf8", file="caf\udce9.csv", row=1, before="a")
    back = Facts.from_dict(Facts(samples=(sample,)).to_dict())
    assert back.samples[0].file == "caf?.csv"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"colour": "red"}, "colour"),
        ({"warnings": [1]}, "warnings.0"),
        ({"proof": {"straddling": "0"}}, "proof.straddling"),
        ({"funnels": [{"read": 1, "stages": [{"reason": "empty", "left": 2}]}]}, "2 rows are left of 1"),
        ({"pictures": {"total": 1, "shown": [{"source": "https://example.org/a.png"}]}}, "no data URI"),
    ],
)
def test_what_are_no_facts_is_refused_with_its_place(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelmillError, match=re.escape(said)):
        Facts.from_dict({**made.full().to_dict(), **changed})


def test_a_funnel_is_made_of_a_ledgers_reasons() -> None:
    funnel = Funnel.of("corpus", 10, {"empty": 2, "duplicate": 3})
    assert funnel.stages == (Stage(reason="empty", left=8), Stage(reason="duplicate", left=5))


def test_a_funnel_that_drops_more_than_was_read_is_refused() -> None:
    with pytest.raises(ValueError, match="-1 rows are left of 2"):
        Funnel.of("corpus", 2, {"empty": 3})


def test_a_dataset_is_told_of_by_its_ledger() -> None:
    ledger = Ledger()
    ledger.file("a.csv").read = 5
    ledger.file("a.csv").kept = 3
    ledger.file("a.csv").drop_counted("empty", 2)
    facts = DatasetFacts.of("corpus", "datasets/1", "text", {"train": 3}, ledger.to_dict())
    assert (facts.read, facts.kept, facts.dropped) == (5, 3, {"empty": 2})
    assert [(file.uri, file.read, file.kept, file.dropped) for file in facts.files] == [("a.csv", 5, 3, {"empty": 2})]


@pytest.mark.parametrize(
    ("edges", "counts", "said"),
    [
        ((0.0, 1.0), (1, 2), "2 counts of 'train' between 2 edges"),
        ((1.0, 1.0), (1,), "do not ascend"),
        ((0.0, float("inf")), (1,), "do not ascend"),
    ],
)
def test_a_histogram_that_does_not_fit_its_edges_is_refused(
    edges: tuple[float, ...], counts: tuple[int, ...], said: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        Histogram(name="length", unit="characters", edges=edges, counts={"train": counts})


@pytest.mark.parametrize(
    "source", ["javascript:alert(1)", "data:image/svg+xml;base64,AAAA", 'data:image/png;base64,AA" onerror="x', ""]
)
def test_a_picture_is_a_png_or_a_jpeg_and_nothing_else(source: str) -> None:
    with pytest.raises(ValueError, match="no data URI"):
        Picture(source=source)


def test_bytes_of_a_picture_become_a_data_uri() -> None:
    assert Picture(source=data_uri(made.thumbnail(3))).source.startswith("data:image/png;base64,iVBOR")
    assert data_uri(b"\xff\xd8\xff\xe0").startswith("data:image/jpeg;base64,")
    with pytest.raises(ValueError, match="a PNG or a JPEG"):
        data_uri(b"GIF89a")


def test_a_proof_knows_its_leaks() -> None:
    assert Proof(straddling=0, equal=2, near=None).leaks == (2,)
    assert not Proof(held_out=7).leaks
    assert not Proof(held_out=7).checked
