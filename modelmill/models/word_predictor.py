"""What word embeddings answer: the words nearest to a text's; and how well they tell near words from noise."""

# N words asked for, V vocabulary, D width, P predictions, K words of noise for each

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from modelmill.errors import UserError
from modelmill.models import word_vectors
from modelmill.models.language_predictor import Losses, Texts
from modelmill.models.tokenizer import Tokenizer, load_tokenizer
from modelmill.models.word_vectors import Array, accompanied, around, drawn, noise_share, stays
from modelmill.text import clean

NEAREST = 8
"""Words that an answer has."""


@dataclass(frozen=True, kw_only=True)
class WordPredictor:
    """Word embeddings with all that stands before them."""

    model: word_vectors.WordVectors
    counts_V: Array
    tokenizer: Tokenizer
    labels: tuple[str, ...] = ()

    def predict(self, inputs: Sequence[str]) -> Texts:
        """Return for each text [N] the words nearest to the mean of its own, with the cosine of the angle between.

        Raises:
            UserError: no word of a text is known.
        """
        return np.array([self._nearest(clean(one)) for one in inputs], dtype=object)

    def vectors(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return the vector of each text [N, D]: the mean of those of its words, each of length 1.

        Raises:
            UserError: no word of a text is known.
        """
        return np.stack([self._mean(self._known(clean(one))) for one in texts])

    def frequent(self, count: int, letters: int) -> list[str]:
        """Return the most frequent words of at least so many letters."""
        names = (self.tokenizer.backend.id_to_token(int(word)) for word in np.argsort(-self.counts_V, kind="stable"))
        # A Chinese word says as much in half as many.
        found = (
            name for name in names if name.isalpha() and len(name) >= (letters if name.isascii() else letters // 2)
        )
        return [name for name, _ in zip(found, range(count), strict=False)]

    def losses(self, documents: Sequence[str], first: int = 0) -> tuple[Losses, Losses]:
        """Score documents by negative sampling, as the embeddings were learned; and what frequency alone would score.

        Windows are whole, and frequent words are left out at random as in training. What is drawn depends on a
        document's number, counted from `first`, alone. Frequency alone scores a word by the odds that it is true and
        no noise: nothing that looks at one word alone can do better.
        """
        found, alone = np.zeros((3, len(documents))), np.zeros((3, len(documents)))
        special = list(self.tokenizer.special.values())
        stays_V = stays(self.counts_V, self.model.config.subsample)
        odds_V = self._odds(stays_V)
        for place, whole_T in enumerate(self.tokenizer.documents([clean(one) for one in documents])):
            chance = np.random.default_rng([5, first + place])
            known_T = whole_T[~np.isin(whole_T, special)]
            ids_T = known_T[chance.random(len(known_T)) < stays_V[known_T]]
            at_B = np.flatnonzero(accompanied(np.zeros(len(ids_T), dtype=np.int64)))
            if len(at_B):
                self._score(ids_T, at_B, chance, (found[:, place], alone[:, place]), odds_V)
        return tuple(_losses(one) for one in (found, alone))  # type: ignore[return-value]

    def _score(
        self, ids_T: Array, at_B: Array, chance: np.random.Generator, sums: tuple[Array, Array], odds_V: Array
    ) -> None:
        config = self.model.config
        reach_B = np.full(len(at_B), config.window)
        contexts_BW, real_BW = around(ids_T, np.zeros_like(ids_T), at_B, reach_B, config.window)
        words, contexts = self._tables()
        if config.objective == "skip-gram":
            asked_PD = words[np.repeat(ids_T[at_B], real_BW.sum(axis=1))]
            true_P = contexts_BW[real_BW]
        else:
            asked_PD = (words[contexts_BW] * real_BW[:, :, None]).sum(axis=1) / real_BW.sum(axis=1, keepdims=True)
            true_P = ids_T[at_B]
        noise_PK = drawn(noise_share(self.counts_V), (len(true_P), config.negatives), chance)
        scores = (asked_PD * contexts[true_P]).sum(axis=1), np.einsum("pd,pkd->pk", asked_PD, contexts[noise_PK])
        for figures_3, (true_scores_P, noise_scores_PK) in zip(
            sums, (scores, (odds_V[true_P], odds_V[noise_PK])), strict=True
        ):
            # Of equal scores, chance decides.
            equal_PK = true_scores_P[:, None] == noise_scores_PK
            better_PK = (true_scores_P[:, None] > noise_scores_PK) | (equal_PK & (chance.random(noise_PK.shape) < 0.5))
            figures_3[:] += (
                np.logaddexp(0, -true_scores_P).sum() + np.logaddexp(0, noise_scores_PK).sum(),
                len(true_P),
                better_PK.all(axis=1).sum(),
            )

    def _odds(self, stays_V: Array) -> Array:
        true_V = np.maximum(self.counts_V, 1) * stays_V
        noise_V = noise_share(np.maximum(self.counts_V, 1))
        odds_V: Array = np.log(true_V / true_V.sum() / (self.model.config.negatives * noise_V))
        return odds_V

    def _nearest(self, asked: str) -> str:
        known = self._known(asked)
        mean_D = self._mean(known)
        cosine_V = self._tables()[0] @ (mean_D / max(float(np.linalg.norm(mean_D)), 1e-12)) / self._lengths_V
        cosine_V[[*known, *self.tokenizer.special.values()]] = -np.inf
        cosine_V[self.counts_V == 0] = -np.inf
        best = [number for number in np.argsort(-cosine_V, kind="stable")[:NEAREST] if np.isfinite(cosine_V[number])]
        return ", ".join(f"{self.tokenizer.backend.id_to_token(int(one))} {cosine_V[one]:.2f}" for one in best)

    def _known(self, asked: str) -> list[int]:
        special = self.tokenizer.special.values()
        found = [int(number) for number in self.tokenizer.documents([asked])[0] if number not in special]
        if not found:
            raise UserError(f"{asked[:40]!r}: 0 of its words are among the {len(self.counts_V):,} that the model knows")
        return found

    def _tables(self) -> tuple[Array, Array]:
        return self.model.words.weight.detach().cpu().numpy(), self.model.contexts.weight.detach().cpu().numpy()

    def _mean(self, words: Sequence[int]) -> Array:
        """Return the mean [D] of words' vectors, each of length 1."""
        mean_D: Array = (self._tables()[0][words] / self._lengths_V[words, None]).mean(axis=0)
        return mean_D

    @cached_property
    def _lengths_V(self) -> Array:
        words_VD = self._tables()[0]
        # Not `norm`, which squares the whole table first: that is as large as the model.
        lengths_V: Array = np.maximum(np.sqrt(np.einsum("vd,vd->v", words_VD, words_VD)), 1e-12)
        return lengths_V


def load(folder: Path, _facts: Mapping[str, Any]) -> WordPredictor:
    """Load word embeddings from their folder.

    Raises:
        UserError: the folder holds no such model.
    """
    model, counts_V = word_vectors.load(folder)
    tokenizer = load_tokenizer(folder)
    if tokenizer.vocabulary != model.config.vocabulary:
        raise UserError(
            f"{folder}: its tokenizer has {tokenizer.vocabulary} words and its tables {model.config.vocabulary}; take "
            "the whole folder of one model"
        )
    for weight in model.parameters():
        weight.requires_grad_(False)
    return WordPredictor(model=model, counts_V=counts_V, tokenizer=tokenizer)


def plane(vectors_ND: Array) -> Array:
    """Return vectors [N, 2] along the two directions in which they differ most, each from 0 to 1 (PCA)."""
    centred_ND = vectors_ND - vectors_ND.mean(axis=0)
    _, _, directions = np.linalg.svd(centred_ND, full_matrices=False)
    # An axis has no sign of its own: the largest part of each points up.
    largest = np.take_along_axis(directions[:2], np.abs(directions[:2]).argmax(axis=1)[:, None], axis=1)
    flat_N2 = centred_ND @ (directions[:2] * np.sign(largest)).T
    low, high = flat_N2.min(axis=0), flat_N2.max(axis=0)
    found: Array = (flat_N2 - low) / np.maximum(high - low, 1e-12)
    return found


def _losses(sums: Array) -> Losses:
    return Losses(nats_D=sums[0], tokens_D=sums[1].astype(np.int64), right_D=sums[2].astype(np.int64))
