from collections import Counter

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modelmill.models.word_vectors import WordConfig, WordVectors, accompanied, around, drawn, noise_share, stays
from modelmill.training.word_data import WordBatches
from modelmill.training.word_objectives import OBJECTIVES

# Lengths of documents; a word's id is its place, so that it can be recognised.
LENGTHS = st.lists(st.integers(1, 7), min_size=1, max_size=12).filter(lambda lengths: max(lengths) > 1)


def batches(lengths: list[int], batch_rows: int, subsample: float = 0.0, seed: int = 0) -> WordBatches:
    ids_S = np.arange(sum(lengths))
    document_S = np.repeat(np.arange(len(lengths)), lengths)
    return WordBatches(
        ids_S=ids_S,
        document_S=document_S,
        counts_V=np.ones(len(ids_S), dtype=np.int64),
        window=3,
        subsample=subsample,
        batch_rows=batch_rows,
        seed=seed,
    )


@settings(max_examples=50)
@given(lengths=LENGTHS, batch_rows=st.integers(1, 9), epochs=st.integers(1, 3))
def test_every_word_with_a_neighbour_is_in_the_middle_once_an_epoch(
    lengths: list[int], batch_rows: int, epochs: int
) -> None:
    made = batches(lengths, batch_rows)
    wanted = np.flatnonzero(accompanied(made.document_S)).tolist()
    steps = -(-len(wanted) // batch_rows)
    for epoch in range(epochs):
        found = [word for step in range(steps) for word in made.batch(epoch * steps + step).tensors["words"].tolist()]
        assert sorted(found) == wanted


@settings(max_examples=50)
@given(lengths=LENGTHS, batch_rows=st.integers(1, 9), step=st.integers(0, 30))
def test_what_is_around_a_word_is_of_its_document_and_near_and_a_batch_depends_on_its_step_alone(
    lengths: list[int], batch_rows: int, step: int
) -> None:
    made = batches(lengths, batch_rows, subsample=0.05)
    batch = made.batch(step)
    tensors = {name: tensor.numpy() for name, tensor in batch.tensors.items()}
    for word, contexts_W, real_W in zip(tensors["words"], tensors["contexts"], tensors["real"], strict=True):
        near = contexts_W[real_W]
        assert len(near)
        assert word not in near
        assert (made.document_S[near] == made.document_S[word]).all()
    again = batches(lengths, batch_rows, subsample=0.05).batch(step)
    made.batch(0)
    for other in (again, made.batch(step)):
        assert all(other.tensors[name].equal(batch.tensors[name]) for name in batch.tensors)


def test_a_whole_window_holds_all_words_within_it() -> None:
    ids_S, document_S = np.array([5, 6, 7, 8, 9]), np.array([0, 0, 0, 1, 1])
    contexts_BW, real_BW = around(ids_S, document_S, np.array([1, 3]), np.array([2, 2]), 2)
    assert [row[real].tolist() for row, real in zip(contexts_BW, real_BW, strict=True)] == [[5, 7], [9]]
    contexts_BW, real_BW = around(ids_S, document_S, np.array([0]), np.array([1]), 2)
    assert contexts_BW[real_BW].tolist() == [6]


def test_noise_is_drawn_by_the_counts_to_the_power_of_three_quarters() -> None:
    counts_V = np.array([0, 1, 16, 81])
    found = Counter(drawn(noise_share(counts_V), (40_000,), np.random.default_rng(0)).tolist())
    assert found[0] == 0
    for word, wanted in ((1, 1 / 36), (2, 8 / 36), (3, 27 / 36)):
        assert abs(found[word] / 40_000 - wanted) < 0.01


def test_a_frequent_word_is_left_out_the_more_the_more_frequent_it_is() -> None:
    found = stays(np.array([1, 100, 10_000]), 1e-3)
    assert found[0] == 1
    assert 0.03 < found[2] < 0.04 < found[1]
    assert (stays(np.array([1, 5]), 0.0) == 1).all()


def test_the_loss_is_that_of_negative_sampling_with_as_much_noise_as_asked_for() -> None:
    """Computed word by word, from the paper's formula (4)."""
    torch.manual_seed(0)
    for objective in ("skip-gram", "cbow"):
        config = WordConfig(objective=objective, vocabulary=30, width=8, window=3, negatives=4, subsample=0.0)
        model = WordVectors(config)
        torch.nn.init.normal_(model.words.weight)
        torch.nn.init.normal_(model.contexts.weight)
        batch = batches([7, 5, 6, 7, 5], 70).batch(0)
        words, contexts, tensors = model.words.weight, model.contexts.weight, batch.tensors
        expected, count = torch.zeros(()), 0
        for word, contexts_W, real_W in zip(tensors["words"], tensors["contexts"], tensors["real"], strict=True):
            near = contexts_W[real_W]
            if objective == "skip-gram":
                pairs = [(words[word], contexts[one]) for one in near]
            else:
                pairs = [(words[near].mean(dim=0), contexts[word])]
            for asked_D, true_D in pairs:
                noise_N = contexts[tensors["noise"]] @ asked_D
                expected = expected - (asked_D @ true_D).sigmoid().log() - 4 * (-noise_N).sigmoid().log().mean()
                count += 1
        scored = OBJECTIVES[objective](model, batch)
        assert scored.count == count
        torch.testing.assert_close(scored.loss, expected, rtol=1e-4, atol=1e-4)
