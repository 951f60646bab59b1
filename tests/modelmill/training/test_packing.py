from collections import Counter
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelmill.training import packing, room
from modelmill.training.packing import Documents, Packed, best_fit, concatenate

PAD, FIRST, END = 0, 1, 2
DOCUMENTS = st.lists(st.lists(st.integers(3, 99), max_size=40), max_size=30)


def read(table: pa.Table) -> Documents:
    return Documents.of(table.schema, table.to_batches())


def documents(lists: list[list[int]]) -> Documents:
    return read(pa.table({"input_ids": pa.array(lists, pa.list_(pa.uint8()))}))


def fitted(lists: list[list[int]], max_tokens: int) -> Packed:
    return best_fit(documents(lists), max_tokens, first=FIRST, end=END, pad=PAD)


def pieces(packed: Packed) -> list[list[int]]:
    """The pieces of documents that stand in rows."""
    found = []
    numbers_NT = packed.documents_of(np.arange(len(packed.rows_NT)))
    for row_T, numbers_T in zip(packed.rows_NT, numbers_NT, strict=True):
        found += [row_T[numbers_T == number].tolist() for number in range(1, int(numbers_T.max()) + 1)]
        assert (row_T[numbers_T == 0] == PAD).all()
    return found


@given(lists=DOCUMENTS, max_tokens=st.integers(2, 20))
def test_concatenated_rows_are_full_begin_alike_and_hold_the_documents_in_order(
    lists: list[list[int]], max_tokens: int
) -> None:
    packed = concatenate(documents(lists), max_tokens, first=FIRST, end=END)
    stream = [token for document in lists for token in [*document, END]]
    whole = len(stream) // (max_tokens - 1) * (max_tokens - 1)
    assert packed.rows_NT.shape == (whole // (max_tokens - 1), max_tokens)
    assert packed.rows_NT.dtype == np.uint8
    assert (packed.rows_NT[:, 0] == FIRST).all()
    assert packed.rows_NT[:, 1:].ravel().tolist() == stream[:whole]
    assert packed.figures["unused"] == len(stream) - whole < max_tokens - 1
    assert not packed.apart


@given(lists=DOCUMENTS, max_tokens=st.integers(2, 20))
def test_for_a_decoder_every_document_begins_alike(lists: list[list[int]], max_tokens: int) -> None:
    packed = concatenate(documents(lists), max_tokens, first=FIRST, end=END, heads="document")
    stream = [token for document in lists for token in [FIRST, *document, END]]
    assert packed.rows_NT.ravel().tolist() == stream[: len(stream) // max_tokens * max_tokens]
    assert packed.figures["utilisation"] == 1.0


@pytest.mark.parametrize(
    ("lengths", "cut"),
    [
        ([3, 3], 0),  # each with its end fills a row of 4
        ([4], 0),  # only its end falls into the next row
        ([5], 1),
        ([2, 2], 1),
        ([9], 1),  # over three rows, still one document
        ([3, 5, 1, 2, 2], 2),
    ],
)
def test_documents_that_a_row_ends_in_are_counted(lengths: list[int], cut: int) -> None:
    packed = concatenate(documents([[7] * length for length in lengths]), 5, first=FIRST, end=END)
    assert packed.figures["cut_share"] == round(cut / len(lengths), 6)


@given(lists=DOCUMENTS, max_tokens=st.integers(3, 30))
def test_by_best_fit_every_token_stands_in_a_row_once_and_no_document_that_fits_is_cut(
    lists: list[list[int]], max_tokens: int
) -> None:
    packed = fitted(lists, max_tokens)
    wanted: Counter[tuple[int, ...]] = Counter()
    for document in lists:
        framed = [FIRST, *document, END]
        wanted.update(tuple(framed[at : at + max_tokens]) for at in range(0, len(framed), max_tokens))
    assert Counter(map(tuple, pieces(packed))) == wanted
    long = sum(len(document) + 2 > max_tokens for document in lists)
    assert packed.figures["cut_share"] == round(long / max(len(lists), 1), 6)
    assert packed.figures["unused"] == 0
    assert packed.rows_NT.dtype == np.uint8


def one_by_one(lengths: list[int], most: int) -> list[int]:
    """Best fit, the longest first, as the textbook has it: the tokens in each row."""
    used: list[int] = []
    for length in sorted(lengths, reverse=True):
        fits = [row for row, tokens in enumerate(used) if tokens + length <= most]
        if fits:
            used[max(fits, key=lambda row: used[row])] += length
        else:
            used.append(length)
    return sorted(used)


@given(lengths=st.lists(st.integers(0, 40), max_size=60), max_tokens=st.integers(3, 42))
def test_rows_are_as_full_as_best_fit_makes_them_one_by_one(lengths: list[int], max_tokens: int) -> None:
    packed = fitted([[7] * length for length in lengths], max_tokens)
    cut = [min(length + 2 - at, max_tokens) for length in lengths for at in range(0, length + 2, max_tokens)]
    filled = sorted((packed.documents_of(np.arange(len(packed.rows_NT))) > 0).sum(axis=1).tolist())
    assert filled == one_by_one(cut, max_tokens)


@given(lists=DOCUMENTS, max_tokens=st.integers(3, 30), chance=st.randoms())
def test_in_another_order_the_same_documents_fill_as_many_rows_as_well(
    lists: list[list[int]], max_tokens: int, chance: Random
) -> None:
    other = list(lists)
    chance.shuffle(other)
    assert fitted(lists, max_tokens).figures == fitted(other, max_tokens).figures


@given(lists=DOCUMENTS, max_tokens=st.integers(3, 30))
def test_more_than_half_of_all_positions_hold_text_once_there_are_two_rows(
    lists: list[list[int]], max_tokens: int
) -> None:
    # Of any two rows the later one's first piece did not fit into the earlier.
    packed = fitted(lists, max_tokens)
    assert len(packed.rows_NT) < 2 or packed.figures["utilisation"] > 0.5


def test_documents_of_usual_lengths_leave_a_hundredth_of_the_positions_empty() -> None:
    lengths = np.random.default_rng(0).lognormal(3, 0.8, 5000).astype(int)
    assert fitted([[7] * length for length in lengths.tolist()], 256).figures["utilisation"] > 0.99


def test_documents_of_a_sliced_and_chunked_column_are_those_that_it_shows() -> None:
    kind = pa.list_(pa.uint16())
    table = pa.table({"input_ids": pa.chunked_array([pa.array([[1], [2, 3], []], kind), pa.array([[4]], kind)])})
    made = read(table.slice(1))
    assert (made.ids_S.tolist(), made.length_D.tolist()) == ([2, 3, 4], [2, 0, 1])
    assert read(table.slice(0, 0)).ids_S.dtype == np.uint16


@given(lists=DOCUMENTS, max_tokens=st.integers(3, 20), in_memory=st.sampled_from([0, 200]), block=st.integers(1, 50))
def test_rows_are_the_same_in_files_and_in_blocks(
    lists: list[list[int]], max_tokens: int, in_memory: int, block: int
) -> None:
    def made() -> list[Packed]:
        return [
            fitted(lists, max_tokens),
            concatenate(documents(lists), max_tokens, first=FIRST, end=END),
            concatenate(documents(lists), max_tokens, first=FIRST, end=END, heads="document"),
        ]

    whole = made()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "IN_MEMORY", in_memory)
        patch.setattr(packing, "_BLOCK_TOKENS", block)
        parted = made()
    for one, other in zip(whole, parted, strict=True):
        assert np.array_equal(one.rows_NT, other.rows_NT)
        assert one.figures == other.figures
