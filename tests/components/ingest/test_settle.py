import random
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.ingest import spill as spilling
from components.ingest.settings import Split
from components.ingest.settle import SPLITS, settle, split_of
from components.ingest.spill import Spill, bucket_bits, content_id, id_words

SPLIT = Split(train=0.5, validation=0.25, test=0.25)

# Few texts and labels, so that they meet: (text, label or None, labelled).
ROWS = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["x", "y", None]), st.booleans()), min_size=1, max_size=40
)


def table(rows: list[tuple[str, str | None, bool]]) -> pa.Table:
    texts, _, labelled = zip(*rows, strict=True)
    return pa.table(
        {
            "id": pa.array([content_id(text) for text in texts], pa.binary(16)),
            "text": pa.array(texts, pa.large_string()),
            "label": pa.array([label if is_labelled else None for _, label, is_labelled in rows], pa.string()),
            "labelled": pa.array(labelled),
            "file": pa.array([0] * len(rows), pa.int32()),
            "row": pa.array(range(len(rows)), pa.int64()),
        }
    )


def drawn(text: str) -> str:
    _, low = id_words(pa.array([content_id(text)], pa.binary(16)))
    return SPLITS[split_of(low, SPLIT)[0]]


@settings(deadline=None)
@given(ROWS, st.booleans())
def test_rows_are_kept_and_dropped_as_a_plain_loop_would(
    rows: list[tuple[str, str | None, bool]], takes_labelled: bool
) -> None:
    labels = defaultdict(set)
    for text, label, labelled in rows:
        if labelled and label is not None:
            labels[text].add(label)
    held_out = {text for text, _, labelled in rows if labelled and drawn(text) != "train"}
    expected: dict[str, set[int]] = defaultdict(set)
    seen_labelled, seen_corpus = set(), set()
    for row, (text, label, labelled) in enumerate(rows):
        if labelled and label is not None:
            fate = "label_conflict" if len(labels[text]) > 1 else "duplicate" if text in seen_labelled else "kept"
            seen_labelled.add(text)
            expected[f"labelled {fate}"].add(row)
        if not labelled or takes_labelled:
            fate = "held_out" if text in held_out else "duplicate" if text in seen_corpus else "kept"
            seen_corpus.add(text)
            expected[f"corpus {fate}"].add(row)

    settled = settle(table(rows), SPLIT, takes_labelled=takes_labelled)

    found = {"labelled kept": settled.labelled, "corpus kept": settled.corpus}
    found |= {f"labelled {reason}": which for reason, which in settled.labelled_dropped.items()}
    found |= {f"corpus {reason}": which for reason, which in settled.corpus_dropped.items()}
    assert {name: set(which.tolist()) for name, which in found.items() if len(which)} == expected
    splits = [drawn(rows[row][0]) for row in settled.labelled]
    assert [SPLITS[position] for position in settled.labelled_split] == splits


def test_splits_have_the_shares_that_were_asked_for() -> None:
    _, low = id_words(pa.array([content_id(str(number)) for number in range(20_000)], pa.binary(16)))

    shares = Counter(split_of(low, Split(train=0.7, validation=0.1, test=0.2)).tolist())

    assert shares[0] / 20_000 == pytest.approx(0.7, abs=0.015)
    assert shares[1] / 20_000 == pytest.approx(0.1, abs=0.015)
    assert shares[2] / 20_000 == pytest.approx(0.2, abs=0.015)


@pytest.mark.parametrize(
    ("split", "there"),
    [
        (Split(train=1, validation=0, test=0), {0}),
        (Split(train=0.5, validation=0.5, test=0), {0, 1}),
        (Split(train=0.5, validation=0, test=0.5), {0, 2}),
        # Nearly 1 is taken for 1.
        (Split(train=0.333333333, validation=0.6666666663, test=0), {0, 1}),
    ],
)
def test_a_split_without_a_share_gets_no_row(split: Split, there: set[int]) -> None:
    low = np.array([0, 1 << 63, 2**64 - 1, *range(0, 2**64 - 1, 2**54)], dtype=np.uint64)

    assert set(split_of(low, split).tolist()) == there


def test_a_text_stays_in_its_split_when_all_others_change() -> None:
    texts = [f"text {number}" for number in range(200)]
    before = dict(zip(texts, map(drawn, texts), strict=True))

    settled = settle(table([(text, "x", True) for text in texts[::3]]), SPLIT, takes_labelled=False)

    for row, split in zip(settled.labelled, settled.labelled_split, strict=True):
        assert SPLITS[split] == before[texts[::3][row]]


@pytest.mark.parametrize(("bits", "buffer_rows"), [(0, 1 << 18), (0, 7), (3, 7), (8, 100)])
def test_a_spill_gives_back_what_it_took_in_the_order_of_the_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bits: int, buffer_rows: int
) -> None:
    monkeypatch.setattr(spilling, "_BUFFER_ROWS", buffer_rows)
    numbers = random.Random(0)
    texts = [f"text {numbers.randrange(300)}" for _ in range(500)]
    spill = Spill(tmp_path, bits)
    for start in range(0, 500, 50):
        spill.add(texts[start : start + 50], [None] * 50, False, start, range(start, start + 50))

    buckets = [bucket.combine_chunks() for bucket in spill.buckets()]

    ids = [set(bucket["id"].to_pylist()) for bucket in buckets]
    assert all(max(before) < min(after) for before, after in pairwise(ids))
    found = {row["row"]: (row["text"], row["file"]) for bucket in buckets for row in bucket.to_pylist()}
    assert found == {row: (text, row // 50 * 50) for row, text in enumerate(texts)}
    assert list(tmp_path.iterdir()) == []


def test_more_data_makes_more_buckets_up_to_what_can_be_open_at_once() -> None:
    assert bucket_bits([("a.csv", 10)]) == 0
    assert bucket_bits([("a.csv", 100 << 20)]) == 1
    assert bucket_bits([("a.csv.gz", 100 << 20)]) == 3
    assert bucket_bits([("a.csv", 1 << 45)]) == 8
