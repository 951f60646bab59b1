from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.ingest.index import Index
from components.ingest.settings import Split
from components.ingest.settle import KEPT, REASONS, Rules, Settled, settle
from components.ingest.splits import SPLITS, split_of
from components.ingest.work import content_id

SPLIT = Split(train=0.5, validation=0.25, test=0.25)

# Few texts and labels, so that they meet: (text, label or None, labelled).
Row = tuple[str, str | None, bool]
ROWS = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["x", "y", None]), st.booleans()), min_size=1, max_size=40
)
# Which of the texts are nearly the same.
NEAR = st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from("abcdefgh"))


def index_of(rows: list[Row]) -> Index:
    index = Index()
    for text, label, labelled in rows:
        index.add(
            content_id(text),
            [label if labelled else None],
            labelled=labelled,
            groups=np.zeros(1, np.uint64),
            times=np.zeros(1),
            hashes=np.zeros(1, np.uint64),
        )
    return index


def numbered(names: list[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    first = {name: names.index(name) for name in names}
    return np.array([first[name] for name in names])


def settled_rows(rows: list[Row], near: dict[str, str], *, takes_labelled: bool, drop_near: bool = True) -> Settled:
    clusters = numbered([lead(text, near) for text, _, _ in rows])
    rules = Rules(takes_labelled=takes_labelled, drop_near=drop_near)
    return settle(index_of(rows), clusters, clusters, SPLIT, rules=rules)


def lead(text: str, near: dict[str, str]) -> str:
    """The text that a chain of near ones ends in; any one of a circle's."""
    seen = []
    while text in near and text not in seen:
        seen.append(text)
        text = near[text]
    return min(seen[seen.index(text) :]) if text in seen else text


def drawn(text: str) -> str:
    low = np.frombuffer(content_id(text)[8:], dtype=">u8").astype(np.uint64)
    return SPLITS[split_of(low, SPLIT)[0]]


@settings(deadline=None)
@given(ROWS, NEAR, st.booleans(), st.booleans())
def test_rows_are_kept_and_dropped_as_a_plain_loop_would(
    rows: list[Row], near: dict[str, str], takes_labelled: bool, drop_near: bool
) -> None:
    cluster = {text: lead(text, near) for text in "abcdefgh"}
    there = {text for text, _, _ in rows}
    smallest = {
        name: min((text for text in there if cluster[text] == name), key=content_id)
        for name in {cluster[text] for text in there}
    }
    split = {text: drawn(smallest[cluster[text]]) for text in there}
    labels = defaultdict(set)
    for text, label, labelled in rows:
        if labelled and label is not None:
            labels[text].add(label)
    held_out = {cluster[text] for text, _, labelled in rows if labelled and split[text] != "train"}

    def fates(candidates: list[int]) -> dict[int, str]:
        fate: dict[int, str] = {}
        for text in sorted({rows[row][0] for row in candidates}, key=content_id):
            own = [row for row in candidates if rows[row][0] == text]
            twins = {rows[row][0] for row in fate if cluster[rows[row][0]] == cluster[text]}
            fate |= dict.fromkeys(own, "duplicate") | {own[0]: "near_duplicate" if drop_near and twins else "kept"}
        return fate

    usable = [row for row, (_, label, labelled) in enumerate(rows) if labelled and label is not None]
    conflict = [row for row in usable if len(labels[rows[row][0]]) > 1]
    expected_labelled = fates([row for row in usable if row not in conflict])
    expected_labelled |= dict.fromkeys(conflict, "label_conflict")
    in_corpus = [row for row, (_, _, labelled) in enumerate(rows) if not labelled or takes_labelled]
    out = [row for row in in_corpus if cluster[rows[row][0]] in held_out]
    expected_corpus = fates([row for row in in_corpus if row not in out]) | dict.fromkeys(out, "held_out")

    found = settled_rows(rows, near, takes_labelled=takes_labelled, drop_near=drop_near)

    names = {KEPT: "kept", **REASONS}
    assert {row: names[code] for row, code in enumerate(found.labelled_N.tolist()) if code} == expected_labelled
    assert {row: names[code] for row, code in enumerate(found.corpus_N.tolist()) if code} == expected_corpus
    assert [SPLITS[position] for position in found.split_N] == [split[text] for text, _, _ in rows]


@settings(deadline=None)
@given(ROWS, NEAR, st.randoms())
def test_the_order_of_reading_changes_nothing_but_which_of_equal_rows_is_kept(
    rows: list[Row], near: dict[str, str], chance: object
) -> None:
    shuffled = list(rows)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]

    def kept(given: list[Row]) -> set[tuple[str, str | None, int]]:
        found = settled_rows(given, near, takes_labelled=True)
        return {
            (text, label, int(split))
            for (text, label, _), fate, split in zip(given, found.labelled_N, found.split_N, strict=True)
            if fate == KEPT
        }

    assert kept(rows) == kept(shuffled)


def test_splits_have_the_shares_that_were_asked_for() -> None:
    words = np.frombuffer(b"".join(content_id(str(number)) for number in range(20_000)), dtype=">u8")
    low = words.reshape(-1, 2)[:, 1].astype(np.uint64)

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

    found = settled_rows([(text, "x", True) for text in texts[::3]], {}, takes_labelled=False)

    assert [SPLITS[split] for split in found.split_N] == [drawn(text) for text in texts[::3]]
