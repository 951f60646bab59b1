import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.preprocess.pack import Packer
from modelmill.models.tokenizer import Ids

FIRST, END = 1, 2
DOCUMENTS = st.lists(st.lists(st.integers(3, 99), max_size=40), max_size=30)


def packed(documents: list[list[int]], max_tokens: int, rows: int) -> tuple[Packer, list[Ids]]:
    packer = Packer(max_tokens=max_tokens, first=FIRST, end=END)
    return packer, list(packer.pack((np.array(one, dtype=np.int64) for one in documents), rows))


@given(documents=DOCUMENTS, max_tokens=st.integers(2, 20), rows=st.integers(1, 7))
def test_rows_are_full_begin_alike_and_hold_the_documents_in_order(
    documents: list[list[int]], max_tokens: int, rows: int
) -> None:
    packer, parts = packed(documents, max_tokens, rows)
    stream = [token for document in documents for token in [*document, END]]
    whole = len(stream) // (max_tokens - 1) * (max_tokens - 1)
    assert all(part.shape[1] == max_tokens and len(part) <= rows for part in parts)
    assert all((part[:, 0] == FIRST).all() for part in parts)
    assert [token for part in parts for token in part[:, 1:].ravel().tolist()] == stream[:whole]
    assert packer.unused == len(stream) - whole < max_tokens - 1
    assert packer.rows == sum(map(len, parts)) == whole // (max_tokens - 1)


@given(documents=DOCUMENTS, max_tokens=st.integers(2, 20), one=st.integers(1, 5), other=st.integers(1, 5))
def test_which_rows_there_are_does_not_depend_on_how_many_are_handed_out_at_once(
    documents: list[list[int]], max_tokens: int, one: int, other: int
) -> None:
    (first, ours), (second, theirs) = packed(documents, max_tokens, one), packed(documents, max_tokens, other)
    assert [row.tolist() for part in ours for row in part] == [row.tolist() for part in theirs for row in part]
    assert first.figures() == second.figures()


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
    packer, _ = packed([[7] * length for length in lengths], max_tokens=5, rows=2)
    assert packer.cut == cut
    assert packer.figures()["cut_share"] == round(cut / len(lengths), 6)
