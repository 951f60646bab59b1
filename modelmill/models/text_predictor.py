"""The class of a raw text: cleaned, tokenized, classified."""

# B batch, T tokens, N texts, L labels

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from modelmill.models import text
from modelmill.models.tokenizer import Ids, Tokenizer, load_tokenizer
from modelmill.text import clean

Probabilities = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class TextPredictor:
    """A text classifier with all that stands before its weights: cleaning and tokenizing."""

    model: Any
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    max_tokens: int
    """Longer texts are cut, as they were when the model learned."""

    def predict(self, texts: Sequence[str], batch_rows: int = 32) -> Probabilities:
        """Return the probability of each label [N, L] for each text, in single precision arithmetic.

        Texts of like length go through together; the answer to one depends on the others by rounding only.
        """
        rows = self.tokenizer.rows([clean(one) for one in texts], self.max_tokens)
        probability_NL = np.empty((len(rows), len(self.labels)))
        by_length = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        for start in range(0, len(rows), batch_rows):
            chosen = by_length[start : start + batch_rows]
            probability_NL[chosen] = self._batch([rows[row] for row in chosen])
        return probability_NL

    def _batch(self, rows: Sequence[Ids]) -> Probabilities:
        length = max(map(len, rows))
        ids_BT = np.full((len(rows), length), self.tokenizer.special["pad"], dtype=np.int64)
        for ids_T, row in zip(ids_BT, rows, strict=True):
            ids_T[: len(row)] = row
        real_BT = np.arange(length) < np.array([len(row) for row in rows])[:, None]
        device = self.model.device
        with torch.inference_mode():
            logits_BL = text.family(self.model).class_logits(
                self.model, torch.from_numpy(ids_BT).to(device), torch.from_numpy(real_BT).to(device)
            )
            probability_BL: Probabilities = logits_BL.double().softmax(dim=1).cpu().numpy()
        return probability_BL


def load(folder: Path, facts: Mapping[str, Any]) -> TextPredictor:
    """Load a text classifier from its folder, which `facts` describes.

    Raises:
        UserError: the folder holds no such model.
        KeyError: the facts lack something.
    """
    labels, max_tokens = tuple(facts["labels"]), int(facts["max_tokens"])
    model = text.load_classifier(folder)
    if torch.cuda.is_available():
        model.to("cuda")
    model.eval()
    return TextPredictor(model=model, tokenizer=load_tokenizer(folder), labels=labels, max_tokens=max_tokens)
