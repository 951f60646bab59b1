"""What batches came to is packed and unpacked without a loss."""

from collections import Counter
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.ingest.images.feed import PictureOrder, work_pictures
from components.ingest.images.pictures import Pictures
from components.ingest.images.settings import Images
from components.ingest.parts import Packer, look, unpacked
from components.ingest.payload import IMAGE, TEXT
from components.ingest.tables.rows import TableRows
from components.ingest.text.personal import Personal
from components.ingest.work import Worked
from components.ingest.work_parts import Batch, Dropped
from modelmill.ledger import Rejected
from tests.components.ingest.tools import REVIEWS

WORDS = st.integers(0, 2**64 - 1)
# As JSON can name them, halves of characters too.
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
ROW = st.integers(1, 2**40)


def dropped() -> st.SearchStrategy[Dropped]:
    personal = st.builds(Personal, action=st.sampled_from(["keep", "mask", "drop"]), kinds=st.just(["email", "ip"]))
    samples = st.lists(st.builds(Rejected, row=ROW, reason=ANY_TEXT, text=ANY_TEXT, detail=ANY_TEXT), max_size=3)
    return st.builds(Dropped, personal=personal, counts=counters(), samples=samples)


def counters() -> st.SearchStrategy[Counter[str]]:
    return st.dictionaries(ANY_TEXT, st.integers(1, 10**12), max_size=3).map(Counter)


def payloads(kind: str, count: int) -> st.SearchStrategy[pa.Table]:
    def lists(each: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
        return st.lists(each, min_size=count, max_size=count)

    text = st.text(max_size=30)
    if kind == "text":
        return lists(text).map(lambda texts: pa.table([pa.array(texts, pa.large_string())], schema=TEXT.columns))
    columns = st.tuples(
        lists(st.binary(max_size=100)), *[lists(st.integers(1, 1000))] * 2, lists(text), lists(st.integers(0, 31))
    )
    types = IMAGE.columns.types
    return columns.map(
        lambda all_: pa.table(list(map(pa.array, all_, types)), schema=IMAGE.columns),
    )


@st.composite
def worked(draw: st.DrawFn, kind: str) -> Worked:
    count = draw(st.integers(0, 8))

    def array(each: st.SearchStrategy[Any], dtype: Any) -> Any:
        return np.array(draw(st.lists(each, min_size=count, max_size=count)), dtype=dtype)

    having = np.flatnonzero(array(st.booleans(), np.bool_))
    bands = draw(st.integers(1, 3)) if len(having) else draw(st.sampled_from([0, 14]))
    keys = draw(st.lists(WORDS, min_size=len(having) * bands, max_size=len(having) * bands))
    return Worked(
        numbers=array(ROW, np.int64),
        payload=draw(payloads(kind, count)),
        labels=draw(st.lists(st.none() | st.text(max_size=5), min_size=count, max_size=count)),
        group_N=array(WORDS, np.uint64),
        time_N=array(st.floats(), np.float64),
        ids=draw(st.binary(min_size=16 * count, max_size=16 * count)),
        keys_MB=np.array(keys, dtype=np.uint64).reshape(len(having), bands),
        having_M=having,
        hash_N=array(WORDS, np.uint64),
        masked=draw(counters()),
        noted=draw(counters()),
        dropped=draw(dropped()),
        unlabelled=draw(dropped()),
    )


def assert_same(found: Worked, wanted: Worked) -> None:
    for each in fields(Worked):
        one, other = getattr(found, each.name), getattr(wanted, each.name)
        assert type(one) is type(other), each.name
        if isinstance(other, np.ndarray):
            # Bit by bit: NaN is what it was.
            assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes()), each.name
            assert one.flags.writeable
        elif isinstance(other, pa.Table):
            assert one.equals(other, check_metadata=True)
        elif isinstance(other, Dropped):
            assert one == other
            assert list(one.counts) == list(other.counts)
        else:
            assert one == other, each.name


def packed(*results: Worked) -> bytes:
    packer = Packer()
    for number, each in enumerate(results):
        packer.add(f"digest {number}", each)
    return packer.packed()


@given(st.sampled_from(["text", "image"]).flatmap(lambda kind: st.lists(worked(kind), min_size=1, max_size=4)))
def test_what_batches_came_to_comes_back_as_it_was(results: list[Worked]) -> None:
    found = list(unpacked(packed(*results)))
    assert [digest for digest, _ in found] == [f"digest {number}" for number in range(len(results))]
    for (_, one), other in zip(found, results, strict=True):
        assert_same(one, other)


def test_a_batch_of_pictures_of_which_none_is_one_comes_back_too() -> None:
    pictures = Pictures(numbers=[1], names=["a.png"], data=[b"no picture"], labels=["cat"])
    order = PictureOrder(labelled=True, label=None, same=None, sample=1, images=Images())
    result = work_pictures(order, pictures)
    assert result.dropped.counts.total() == 1
    ((_, found),) = unpacked(packed(result))
    assert_same(found, result)


@given(st.data())
def test_a_changed_byte_is_seen_before_anything_is_taken(data: st.DataObject) -> None:
    part = packed(some_worked())
    place = data.draw(st.integers(0, len(part) - 1))
    damaged = part[:place] + bytes([part[place] ^ data.draw(st.integers(1, 255))]) + part[place + 1 :]
    for broken in (damaged, part[:place], b""):
        with pytest.raises(ValueError, match="sha256"):
            unpacked(broken)


def some_worked() -> Worked:
    return Worked(
        numbers=np.array([3], dtype=np.int64),
        payload=pa.table([pa.array(["a text"], pa.large_string())], schema=TEXT.columns),
        labels=["good"],
        group_N=np.array([1], dtype=np.uint64),
        time_N=np.array([np.nan]),
        ids=b"0123456789abcdef",
        keys_MB=np.array([[1, 2]], dtype=np.uint64),
        having_M=np.array([0]),
        hash_N=np.array([0], dtype=np.uint64),
        masked=Counter({"email": 1}),
        noted=Counter({"email": 1}),
        dropped=Dropped(personal=Personal()),
        unlabelled=Dropped(personal=Personal()),
    )


def batch_of(texts: list[str]) -> Batch:
    return Batch(numbers=range(1, len(texts) + 1), texts=texts, labels=[None] * len(texts))


def test_a_batch_is_known_by_all_that_it_holds() -> None:
    texts = batch_of(["ab", "c", "\ud800"])
    table = TableRows(numbers=np.array([1, 2]), table=pa.record_batch({"a": ["x", "y"]}))
    pictures = Pictures(numbers=[1], names=["a"], data=[b"ab"], labels=[None])
    others: list[Any] = [
        texts,
        batch_of(["a", "bc", "\ud800"]),
        replace(texts, numbers=[1, 2, 4]),
        replace(texts, labels=[None, None, 1]),
        replace(texts, labels=[None, None, True]),
        replace(texts, labels=["a", "b", "c"]),
        replace(texts, groups=["a", "b", "c"]),
        replace(texts, times=["a", "b", "c"]),
        pictures,
        replace(pictures, data=[b"ac"]),
        replace(pictures, names=["b"]),
        replace(pictures, bad=[Rejected(row=2, reason="ragged_row", text="")]),
        table,
        replace(table, numbers=np.array([1, 3])),
        replace(table, table=pa.record_batch({"a": ["x", "z"]})),
        replace(table, table=pa.record_batch({"b": ["x", "y"]})),
        replace(table, table=pa.record_batch({"a": ["x", None]})),
    ]
    assert len({look(each).digest for each in others}) == len(others)
    assert look(batch_of(["ab", "c", "\ud800"])) == look(texts)
    # Where it lies in memory is not what it holds.
    sliced = pa.record_batch({"a": ["w", "x", "y"]}).slice(1)
    assert look(replace(table, table=sliced)).digest == look(table).digest


def test_the_size_of_a_batch_is_that_of_its_contents() -> None:
    texts = [text * 100 for text, _ in REVIEWS]
    size = sum(map(len, texts))
    assert size <= look(batch_of(texts)).bytes < 1.1 * size
