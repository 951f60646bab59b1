from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from components.ingest.clusters import Clusters, Meetings

PAIRS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=60)


def plain(rows: int, links: list[tuple[int, int]]) -> list[int]:
    """The smallest row that each can reach, found by walking."""
    roots = []
    for row in range(rows):
        seen, more = {row}, [row]
        while more:
            at = more.pop()
            for one, other in links:
                for here, there in ((one, other), (other, one)):
                    if here == at and there not in seen:
                        seen.add(there)
                        more.append(there)
        roots.append(min(seen))
    return roots


@given(st.lists(PAIRS, max_size=4))
def test_what_is_linked_directly_or_by_others_is_one_cluster(rounds: list[list[tuple[int, int]]]) -> None:
    clusters = Clusters(31)
    for links in rounds:
        pairs = np.array(links, dtype=np.int64).reshape(-1, 2)
        clusters.link(pairs[:, 0], pairs[:, 1])
    assert clusters.root_N.tolist() == plain(31, [link for links in rounds for link in links])


def test_a_chain_of_a_million_rows_is_linked_in_moments() -> None:
    clusters = Clusters(1_000_000)
    rows = np.random.default_rng(0).permutation(1_000_000)
    clusters.link(rows[:-1], rows[1:])
    assert not clusters.root_N.any()


@given(st.lists(st.lists(st.integers(0, 5), min_size=2, max_size=2), min_size=1, max_size=12))
def test_rows_that_share_a_key_in_one_band_meet_and_keys_of_other_bands_do_not(keys: list[list[int]]) -> None:
    import tempfile

    links = [
        (one, other)
        for one in range(len(keys))
        for other in range(one)
        if any(mine == theirs for mine, theirs in zip(keys[one], keys[other], strict=True))
    ]
    with tempfile.TemporaryDirectory() as folder:
        meetings = Meetings(Path(folder))
        array = np.array(keys, dtype=np.uint64)
        half = len(keys) // 2
        meetings.add(array[:half], np.arange(half))
        meetings.add(array[half:], np.arange(half, len(keys)))
        clusters = Clusters(len(keys))
        meetings.link(clusters)
        assert list(Path(folder).iterdir()) == []
    assert clusters.root_N.tolist() == plain(len(keys), links)


def test_a_copy_grows_on_its_own() -> None:
    clusters = Clusters(3)
    copy = clusters.copy()
    copy.link(np.array([0]), np.array([2]))
    assert (clusters.root_N.tolist(), copy.root_N.tolist()) == ([0, 1, 2], [0, 1, 0])
