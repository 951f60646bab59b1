"""The class of a raw text, or of a pair of them: cleaned, tokenized, classified."""

# B batch, T tokens, N texts, L labels

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from modelmill.errors import UserError
from modelmill.models import text
from modelmill.models.tokenizer import Ids, Tokenizer, framed_pair, load_tokenizer, segments
from modelmill.text import clean

Probabilities = npt.NDArray[np.float64]

PAIR = ("text", "pair")
"""Names of the two texts that are read together."""


@dataclass(frozen=True, kw_only=True)
class TextPredictor:
    """A text classifier with all that stands before its weights: cleaning and tokenizing."""

    model: Any
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    max_tokens: int
    """Longer texts are cut, as they were when the model learned."""
    pairs: bool = False
    """Whether it reads two texts at a time."""

    def predict(self, texts: Sequence[Any], batch_rows: int = 32) -> Probabilities:
        """Return the probability of each label [N, L] for each text, in single precision arithmetic.

        Texts of like length go through together; the answer to one depends on the others by rounding only.
        Of pairs each is a mapping with a `text` and a `pair`.

        Raises:
            UserError: of a pair one text is missing.
        """
        rows = self.rows(texts)
        probability_NL = np.empty((len(rows), len(self.labels)))
        by_length = sorted(range(len(rows)), key=lambda row: len(rows[row][0]))
        for start in range(0, len(rows), batch_rows):
            chosen = by_length[start : start + batch_rows]
            probability_NL[chosen] = self._batch([rows[row] for row in chosen])
        return probability_NL

    def rows(self, texts: Sequence[Any]) -> list[tuple[Ids, int]]:
        """Return the tokens of each text, or of each pair, and where a pair's second text begins."""
        if not self.pairs:
            rows = self.tokenizer.rows([clean(one) for one in texts], self.max_tokens)
            return [(row, len(row)) for row in rows]
        for one in texts:
            missing = [name for name in PAIR if not str(one.get(name) or "").strip()]
            if missing:
                raise UserError(f"a row has no {missing[0]!r}; each needs two texts, {' and '.join(map(repr, PAIR))}")
        firsts, seconds = (self.tokenizer.documents([clean(str(one[name])) for one in texts]) for name in PAIR)
        special, most = self.tokenizer.special, self.max_tokens
        return [framed_pair(first, second, special, most) for first, second in zip(firsts, seconds, strict=True)]

    def arrays(self, texts: Sequence[Any]) -> list[npt.NDArray[Any]]:
        """Return what the network reads of texts, or of pairs: ids, which are tokens, and of pairs which is which."""
        return self._arrays(self.rows(texts))

    def _batch(self, rows: Sequence[tuple[Ids, int]]) -> Probabilities:
        with torch.inference_mode():
            logits_BL = text.family(self.model).classify(self.model, *self.tensors(rows))
            probability_BL: Probabilities = logits_BL.double().softmax(dim=1).cpu().numpy()
        return probability_BL

    def tensors(self, rows: Sequence[tuple[Ids, int]]) -> list[torch.Tensor]:
        """Return what the model reads of rows: ids [B, T], where there are any and, of pairs, in which text, alike."""
        return [torch.from_numpy(array).to(self.model.device) for array in self._arrays(rows)]

    def _arrays(self, rows: Sequence[tuple[Ids, int]]) -> list[npt.NDArray[Any]]:
        length_B = np.array([len(row) for row, _ in rows])
        ids_BT = np.full((len(rows), length_B.max()), self.tokenizer.special["pad"], dtype=np.int64)
        for ids_T, (row, _) in zip(ids_BT, rows, strict=True):
            ids_T[: len(row)] = row
        arrays = [ids_BT, np.arange(length_B.max()) < length_B[:, None]]
        if self.pairs:
            arrays.append(segments(np.array([second for _, second in rows]), length_B))
        return arrays


def load(folder: Path, facts: Mapping[str, Any]) -> TextPredictor:
    """Load a classifier of texts, or of pairs of them, from its folder, which `facts` describes.

    Raises:
        UserError: the folder holds no such model.
        KeyError: the facts lack something.
    """
    labels, max_tokens = tuple(facts["labels"]), int(facts["max_tokens"])
    model = text.load_classifier(folder)
    if torch.cuda.is_available():
        model.to("cuda")
    model.eval()
    return TextPredictor(
        model=model,
        tokenizer=load_tokenizer(folder),
        labels=labels,
        max_tokens=max_tokens,
        pairs=facts["task"] == "pair-classification",
    )
