"""What language models answer to raw text: how it goes on, or what its masked tokens are; and how well they know it."""

# B windows of a batch, T tokens, M predicted positions, D documents, V vocabulary

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from modelmill.errors import UserError
from modelmill.models import causal, text
from modelmill.models.causal import Sampling
from modelmill.models.tokenizer import Ids, Tokenizer, load_tokenizer
from modelmill.text import clean

Texts = npt.NDArray[np.object_]
# Positions of a batch, which the logits of a vocabulary of 16,000 take 0.3 GB for.
_POSITIONS = 4096


@dataclass(frozen=True, kw_only=True)
class Losses:
    """How well each document is known."""

    nats_D: npt.NDArray[np.float64]
    """Negative log-likelihood, summed over the predicted tokens."""
    tokens_D: npt.NDArray[np.int64]
    """Tokens that were predicted."""
    right_D: npt.NDArray[np.int64]
    """Those of them for which the likeliest was the true one."""


@dataclass(frozen=True, kw_only=True)
class CausalPredictor:
    """A model that continues texts, with all that stands before its weights."""

    model: Any
    tokenizer: Tokenizer
    max_tokens: int
    sampling: Sampling = field(default_factory=Sampling)
    labels: tuple[str, ...] = ()

    def predict(self, inputs: Sequence[str]) -> Texts:
        """Return how each text goes on [N], drawn by a generator that begins anew with every text.

        Raises:
            UserError: a text leaves no room for another token.
        """
        return np.array([self._continued(clean(one)) for one in inputs], dtype=object)

    def losses(self, documents: Sequence[str]) -> Losses:
        """Score documents as a reader meets them, each alone: every token and the end, given what is before it.

        Of one longer than the model reads, each stretch is scored without the one before, but for its last token.
        """
        marks = self.tokenizer.special
        windows: list[tuple[int, Ids]] = []
        for number, ids_T in enumerate(self.tokenizer.documents([clean(one) for one in documents])):
            framed_T = np.concatenate([[marks["cls"]], ids_T, [marks["sep"]]])
            starts = range(0, len(framed_T) - 1, self.max_tokens - 1)
            windows += [(number, framed_T[start : start + self.max_tokens]) for start in starts]
        found = np.zeros((3, len(documents)))
        for chosen in _batches([len(window_T) for _, window_T in windows]):
            self._score([windows[place] for place in chosen], found)
        return Losses(nats_D=found[0], tokens_D=found[1].astype(np.int64), right_D=found[2].astype(np.int64))

    def _score(self, windows: Sequence[tuple[int, Ids]], found: npt.NDArray[np.float64]) -> None:
        length = max(len(window_T) for _, window_T in windows)
        ids_BT = np.full((len(windows), length), self.tokenizer.special["pad"], dtype=np.int64)
        for ids_T, (_, window_T) in zip(ids_BT, windows, strict=True):
            ids_T[: len(window_T)] = window_T
        # What is to the right, padding too, no position sees.
        count_B = np.array([len(window_T) - 1 for _, window_T in windows])
        wanted_BT = torch.from_numpy(np.arange(length) < count_B[:, None])
        device = self.model.device
        with torch.inference_mode():
            logits_MV = causal.next_logits(self.model, torch.from_numpy(ids_BT).to(device), wanted_BT.to(device), None)
            targets_M = torch.from_numpy(ids_BT[:, 1:][wanted_BT[:, :-1].numpy()]).to(device)
            _add(found, np.repeat([number for number, _ in windows], count_B), logits_MV, targets_M)

    def _continued(self, prompt: str) -> str:
        marks = self.tokenizer.special
        prompt_T = self.tokenizer.documents([prompt])[0]
        if len(prompt_T) + 1 >= self.max_tokens:
            raise UserError(
                f"{prompt[:40]!r}…: {len(prompt_T)} tokens, and the model reads at most {self.max_tokens}, its own "
                "included; shorten the text"
            )
        ids_T = torch.from_numpy(np.concatenate([[marks["cls"]], prompt_T])).to(self.model.device)
        # Where one token begins and ends documents, it may be drawn: it ends this one.
        never = tuple({*marks.values()} - {marks["sep"]})
        drawn = causal.continuation(self.model, ids_T, self.sampling, marks["sep"], never)
        # Decoded with what is before it: a token may be half a character, and a space belongs to the word after it.
        whole = self.tokenizer.text(np.concatenate([prompt_T, np.array(drawn, dtype=np.int64)]))
        return whole[len(self.tokenizer.text(prompt_T)) :]


@dataclass(frozen=True, kw_only=True)
class MaskedPredictor:
    """A model that fills in masked tokens, with all that stands before its weights."""

    model: Any
    tokenizer: Tokenizer
    max_tokens: int
    labels: tuple[str, ...] = ()

    def predict(self, inputs: Sequence[str]) -> Texts:
        """Return each text with its likeliest tokens in the place of [MASK], all masks at once.

        Raises:
            UserError: a text has no mask that the model reads.
        """
        return np.array([self._filled(clean(one)) for one in inputs], dtype=object)

    def losses(self, documents: Sequence[str], rate: float) -> Losses:
        """Score documents, each alone and cut to what the model reads, with a share of their tokens hidden.

        Which tokens are hidden depends on a document's place and tokens alone; one without any is not scored.
        """
        special = self.tokenizer.special
        rows = self.tokenizer.rows([clean(one) for one in documents], self.max_tokens)
        found = np.zeros((3, len(documents)))
        for chosen in _batches([len(row) for row in rows], alike=True):
            ids_BT = np.stack([rows[place] for place in chosen])
            chance_BT = np.stack([np.random.default_rng([3, place]).random(ids_BT.shape[1]) for place in chosen])
            hidden_BT = (chance_BT < rate) & ~np.isin(ids_BT, list(special.values()))
            if hidden_BT.any():
                self._score(ids_BT, hidden_BT, np.array(chosen), found)
        return Losses(nats_D=found[0], tokens_D=found[1].astype(np.int64), right_D=found[2].astype(np.int64))

    def _score(self, ids_BT: Ids, hidden_BT: Any, chosen: Any, found: npt.NDArray[np.float64]) -> None:
        asked_BT = np.where(hidden_BT, self.tokenizer.special["mask"], ids_BT)
        logits_MV = self._logits(asked_BT, hidden_BT)
        targets_M = torch.from_numpy(ids_BT[hidden_BT]).to(logits_MV.device)
        _add(found, np.repeat(chosen, hidden_BT.sum(axis=1)), logits_MV, targets_M)

    def _logits(self, ids_BT: Ids, hidden_BT: Any) -> torch.Tensor:
        """Return the logits [M, V] at the hidden positions of rows without padding."""
        count_B = hidden_BT.sum(axis=1)
        positions_BK = np.argsort(~hidden_BT, axis=1, kind="stable")[:, : int(count_B.max())]
        real_BK = np.arange(positions_BK.shape[1]) < count_B[:, None]
        tensors = [torch.from_numpy(array).to(self.model.device) for array in (ids_BT, positions_BK, real_BK)]
        with torch.inference_mode():
            logits_MV: torch.Tensor = text.family(self.model).masked_logits(self.model, *tensors)
        return logits_MV

    def _filled(self, asked: str) -> str:
        special = self.tokenizer.special
        name = self.tokenizer.backend.id_to_token(special["mask"])
        first, *others = self.tokenizer.documents(asked.split(name))
        document_T = np.concatenate([first, *(part for other in others for part in ([special["mask"]], other))])
        row_T = self.tokenizer.row(document_T.astype(np.int64), self.max_tokens)
        hidden_T = row_T == special["mask"]
        if not hidden_T.any():
            raise UserError(f"{asked[:40]!r}: no {name} among its first {self.max_tokens} tokens; put it where to fill")
        logits_MV = self._logits(row_T[None], hidden_T[None]).clone()
        logits_MV[:, sorted(special.values())] = -torch.inf
        row_T[hidden_T] = logits_MV.argmax(dim=1).cpu().numpy()
        return self.tokenizer.text(row_T)


def load_causal(folder: Path, facts: Mapping[str, Any]) -> CausalPredictor:
    """Load a model that continues texts from its folder, which `facts` describes.

    Raises:
        UserError: the folder holds no such model.
        KeyError: the facts lack something.
    """
    model = _ready(causal.language_model(folder))
    return CausalPredictor(model=model, tokenizer=load_tokenizer(folder), max_tokens=int(facts["max_tokens"]))


def load_masked(folder: Path, facts: Mapping[str, Any]) -> MaskedPredictor:
    """Load a model that fills in masked tokens from its folder, which `facts` describes.

    Raises:
        UserError: the folder holds no such model.
        KeyError: the facts lack something.
    """
    model = _ready(text.masked_lm(folder))
    return MaskedPredictor(model=model, tokenizer=load_tokenizer(folder), max_tokens=int(facts["max_tokens"]))


def _ready(model: Any) -> Any:
    return (model.to("cuda") if torch.cuda.is_available() else model).eval()


def _add(found: npt.NDArray[np.float64], document_M: Any, logits_MV: torch.Tensor, targets_M: torch.Tensor) -> None:
    """Add the loss, the count and the right ones of predictions to those of their documents."""
    nats_M = F.cross_entropy(logits_MV.float(), targets_M, reduction="none").double().cpu().numpy()
    right_M = (logits_MV.argmax(dim=1) == targets_M).cpu().numpy()
    for figure, value_M in zip(found, (nats_M, np.ones_like(nats_M), right_M), strict=True):
        np.add.at(figure, document_M, value_M)


def _batches(lengths: Sequence[int], *, alike: bool = False) -> Iterator[list[int]]:
    """Yield places of rows of like length, or of equal length (`alike`), for batches of a bounded size."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: lengths[place]):
        other = alike and batch and lengths[batch[0]] != lengths[place]
        if batch and (other or (len(batch) + 1) * lengths[place] > _POSITIONS):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch
