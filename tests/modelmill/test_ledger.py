from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelmill.errors import ModelmillError
from modelmill.ledger import SAMPLE_CHARS, SAMPLES, Ledger, Rejected

REASONS = st.sampled_from(["ragged_row", "empty", "duplicate"])
# Of each file, what became of its rows: kept (None) or dropped for a reason.
FATES = st.lists(st.tuples(st.sampled_from(["a.csv", "b.csv"]), st.none() | REASONS), max_size=60)


def ledger_of(fates: Sequence[tuple[str, str | None]]) -> Ledger:
    ledger = Ledger()
    for row, (file, reason) in enumerate(fates, start=1):
        own = ledger.file(file)
        own.read += 1
        if reason is None:
            own.kept += 1
        else:
            own.drop([Rejected(row=row, reason=reason, text=f"row {row}")])
    return ledger


@settings(deadline=None)
@given(FATES, FATES)
def test_every_row_is_accounted_for_also_after_merging_and_writing(
    first: list[tuple[str, str | None]], second: list[tuple[str, str | None]]
) -> None:
    ledger = ledger_of(first)
    ledger.merge(ledger_of(second))
    ledger.check()

    again = Ledger.from_dict(ledger.to_dict())

    again.check()
    assert again.to_dict() == ledger.to_dict()
    assert ledger.read == len(first) + len(second)
    assert ledger.kept == sum(reason is None for _, reason in first + second)
    assert ledger.dropped.total() == ledger.read - ledger.kept
    for file in ("a.csv", "b.csv"):
        assert ledger.file(file).read == sum(each == file for each, _ in first + second)


def test_a_ledger_that_is_off_names_the_file_and_the_numbers() -> None:
    ledger = ledger_of([("a.csv", None), ("a.csv", "empty"), ("b.csv", None)])
    ledger.file("b.csv").read += 1

    with pytest.raises(ModelmillError, match=r"b\.csv: ledger is off: 2 rows read, but 1 kept \+ 0 dropped = 1"):
        ledger.check()


def test_the_first_rows_of_each_reason_are_kept_to_be_looked_at() -> None:
    ledger = ledger_of([("a.csv", "empty")] * 50 + [("a.csv", "ragged_row")] + [("b.csv", "empty")] * 3)

    table = ledger.rejected()

    rows = [(row["file"], row["reason"], row["row"]) for row in table.to_pylist()]
    assert rows == [
        *(("a.csv", "empty", row) for row in range(1, SAMPLES + 1)),
        ("a.csv", "ragged_row", 51),
        *(("b.csv", "empty", row) for row in (52, 53, 54)),
    ]
    assert ledger.dropped == {"empty": 53, "ragged_row": 1}


def test_merged_ledgers_keep_no_more_samples_than_one() -> None:
    ledger = ledger_of([("a.csv", "empty")] * 15)
    ledger.merge(ledger_of([("a.csv", "empty")] * 15))

    assert ledger.rejected().num_rows == SAMPLES
    assert ledger.dropped["empty"] == 30


def test_rows_counted_together_are_sampled_apart() -> None:
    ledger = Ledger()
    own = ledger.file("a.csv")
    own.read = 1000
    own.drop_counted("duplicate", 1000)
    own.drop_counted("empty", 0)
    assert own.wants("duplicate") == SAMPLES

    own.sample(Rejected(row=7, reason="duplicate", text="again"))

    ledger.check()
    assert own.wants("duplicate") == SAMPLES - 1
    assert own.dropped == {"duplicate": 1000}
    assert [row["row"] for row in ledger.rejected().to_pylist()] == [7]


def test_a_sample_is_cut_and_can_always_be_written() -> None:
    ledger = Ledger()
    ledger.file("a.csv").drop([Rejected(row=1, reason="bad_json", text="\ud800" + "x" * 1000)])

    (row,) = ledger.rejected().to_pylist()

    assert row["text"] == "?" + "x" * (SAMPLE_CHARS - 1)
