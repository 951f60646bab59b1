import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.ingest.clusters import Clusters
from components.ingest.images import near
from components.ingest.images.near import near_links
from tests.components.ingest.images.tools import near_pairs


def hashes_near(count: int, seeds: int, flips: int, seed: int) -> near.Hashes:
    """Return hashes of which many differ in few bits: some seeds, with some bits of each copy turned over."""
    random = np.random.default_rng(seed)
    hash_N = random.integers(0, 2**64, seeds, dtype=np.uint64)[random.integers(0, seeds, count)]
    for _ in range(flips):
        turned = random.integers(0, 64, count).astype(np.uint64)
        hash_N = hash_N ^ np.where(random.random(count) < 0.7, np.uint64(1) << turned, np.uint64(0))
    return hash_N


def brute_force(hash_N: near.Hashes, distance: int) -> set[tuple[int, int]]:
    """Return all pairs of near hashes, of which each is the first of its equals, and each with the first of them."""
    unlike = np.bitwise_count(hash_N[:, None] ^ hash_N[None, :])
    first = (unlike == 0).argmax(axis=1)
    one, other = np.nonzero(np.triu(unlike <= distance, 1))
    own = first == np.arange(len(hash_N))
    return {
        (int(left), int(right))
        for left, right in zip(one, other, strict=True)
        if (own[left] and own[right]) or first[right] == left
    }


@settings(max_examples=60)
@given(
    st.integers(1, 120),
    st.integers(1, 30),
    st.integers(0, 8),
    st.integers(0, 16),
    st.integers(0, 1000),
    st.sampled_from([3, 50, 1 << 21]),
)
def test_all_near_pairs_are_found_and_each_once(
    count: int, seeds: int, flips: int, distance: int, seed: int, chunk: int
) -> None:
    hash_N = hashes_near(count, seeds, flips, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(near, "_CHUNK_PAIRS", chunk)
        pairs = near_pairs(hash_N, distance)

    found = [(int(one), int(other)) for one, other in pairs]
    assert len(found) == len(set(found))
    assert set(found) == brute_force(hash_N, distance)


@pytest.mark.parametrize("distance", [0, 2, 4, 10])
def test_more_hashes_are_cut_into_more_blocks_and_the_pairs_are_the_same(distance: int) -> None:
    hash_N = hashes_near(3000, 300, 4, 1)

    assert set(map(tuple, near_pairs(hash_N, distance).tolist())) == brute_force(hash_N, distance)


def test_a_million_equal_hashes_are_a_star_and_not_all_pairs() -> None:
    start = time.perf_counter()

    pairs = near_pairs(np.zeros(1_000_000, dtype=np.uint64), 4)

    assert time.perf_counter() - start < 5
    assert pairs.shape == (999_999, 2)
    assert (pairs[:, 0] == 0).all()


def test_no_hashes_make_no_pairs() -> None:
    assert near_pairs(np.zeros(0, dtype=np.uint64), 4).shape == (0, 2)
    assert near_pairs(np.zeros(3, dtype=np.uint64), 4, np.zeros(3, dtype=np.bool_)).shape == (0, 2)


def test_unwanted_hashes_are_in_no_pair() -> None:
    hash_N = np.array([7, 7, 6, 7, 5], dtype=np.uint64)
    wanted_N = np.array([False, True, True, True, False])

    assert sorted(map(tuple, near_pairs(hash_N, 1, wanted_N).tolist())) == [(1, 2), (1, 3)]


def test_links_make_the_clusters_that_all_pairs_make() -> None:
    hash_N = hashes_near(2000, 100, 3, 2)
    all_pairs = np.argwhere(np.triu(np.bitwise_count(hash_N[:, None] ^ hash_N[None, :]) <= 4, 1))
    linked, expected = Clusters(len(hash_N)), Clusters(len(hash_N))

    for pairs in near_links(hash_N, 4):
        linked.link(pairs[:, 0], pairs[:, 1])
    expected.link(all_pairs[:, 0], all_pairs[:, 1])

    assert np.array_equal(linked.root_N, expected.root_N)


def test_a_hundred_thousand_random_hashes_take_a_moment() -> None:
    hash_N = np.random.default_rng(0).integers(0, 2**64, 100_000, dtype=np.uint64)
    start = time.perf_counter()

    assert near_pairs(hash_N, 4).shape == (0, 2)
    assert time.perf_counter() - start < 5
