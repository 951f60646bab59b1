import json
from typing import Any

import pytest

from modelmill.errors import ModelmillError
from modelmill.evaluation.document import Report
from modelmill.evaluation.verdict import Verdict
from modelmill.ledger import FileLedger, Ledger, Rejected
from tests.modelmill.evaluation import made


def test_a_report_survives_its_json() -> None:
    report = made.report()
    assert Report.read(report.to_json()) == report
    assert Report.read(json.loads(report.to_json())) == report
    assert Report.read(report.to_json().encode()).to_json() == report.to_json()


def test_every_key_of_a_report_stands_in_its_schema() -> None:
    schema = Report.model_json_schema()
    assert set(json.loads(made.report().to_json())) == set(schema["properties"])
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"test_rows": "many"}, "test_rows: Input should be a valid integer"),
        ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
        ({"version": 2}, "version: Input should be 1"),
        ({"metrics": {"test": {"accuracy": "high"}}}, "metrics.test.accuracy: Input should be a valid number"),
    ],
)
def test_what_is_no_report_is_refused_by_its_key(change: dict[str, Any], said: str) -> None:
    value = {**json.loads(made.report().to_json()), **change}
    with pytest.raises(ModelmillError, match=r"report\.json: ") as caught:
        Report.read(value)
    assert said in str(caught.value)


def test_facts_that_come_later_are_added_to_a_copy() -> None:
    report = made.report()
    verdict = Verdict(decision="hold", reasons=("not yet",))
    added = report.adding(verdict=verdict, registered={"name": "film", "version": "3", "aliases": ["challenger"]})
    assert added.verdict == verdict
    assert added.registered is not None
    assert added.registered.aliases == ("challenger",)
    assert report.verdict is None
    with pytest.raises(ModelmillError, match=r"registered\.name"):
        report.adding(registered={"version": "3"})


def test_data_tell_of_the_sources_in_ledgers() -> None:
    ledger = Ledger({"a.csv": FileLedger(read=3, kept=2)})
    ledger.file("a.csv").drop([Rejected(row=2, reason="empty", text="")])
    data = made.report().data
    assert data is not None
    (source,) = data.with_ledgers(labelled=ledger.to_dict()).sources
    assert (source.name, source.read, source.kept, source.dropped) == ("a.csv", 3, 2, {"empty": 1})
