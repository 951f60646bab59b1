"""What a sequence-to-sequence model answers to raw text, and how well it knows the true answers."""

# B rows of a batch, T tokens of a source, U tokens of a target, N rows

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from modelmill.models import sequence
from modelmill.models.decoding import Decoding
from modelmill.models.language_predictor import Losses
from modelmill.models.sequence import Ids, Marks
from modelmill.models.tokenizer import Tokenizer, load_tokenizer
from modelmill.text import clean

Texts = npt.NDArray[np.object_]
# Tokens of a batch, both sides and every beam counted: the logits of a vocabulary of 16,000 take 0.3 GB for them.
_TOKENS = 4096


@dataclass(frozen=True, kw_only=True)
class TargetPredictor:
    """A model that answers texts with texts, with all that stands before its weights."""

    model: Any
    tokenizer: Tokenizer
    max_tokens: int
    """Longer sources are cut, as they were when the model learned."""
    max_target_tokens: int
    decoding: Decoding
    prefix: str = ""
    """Stands before every source, as it did when the model learned."""
    labels: tuple[str, ...] = ()

    def predict(self, inputs: Sequence[str]) -> Texts:
        """Return the answer to each text [N], '' where none is likelier than silence.

        Texts of like length are searched together; the answer to one depends on the others by rounding only.
        """
        sources = self._sources(inputs)
        special = self.tokenizer.special
        never = tuple(special[role] for role in ("pad", "unk", "cls", "mask") if role in special)
        answers = np.empty(len(inputs), dtype=object)
        for chosen in _batches([len(row) * self.decoding.beams for row in sources]):
            ids_BT, attention_BT = self._filled([sources[place] for place in chosen])
            found = sequence.decode(self.model, ids_BT, attention_BT, self.decoding, never)
            answers[chosen] = [self.tokenizer.text(np.array(tokens, dtype=np.int64)).strip() for tokens in found]
        return answers

    def losses(self, inputs: Sequence[str], targets: Sequence[str]) -> Losses:
        """Score true targets, each cut to what the model writes: every token and the end, given what is before it."""
        sources, marks = self._sources(inputs), Marks.of(self.model.config)
        documents = self.tokenizer.documents([clean(one) for one in targets])
        rows = [marks.target(document, self.max_target_tokens) for document in documents]
        found = np.zeros((3, len(inputs)))
        for chosen in _batches([len(source) + len(row) for source, row in zip(sources, rows, strict=True)]):
            self._score([sources[place] for place in chosen], [rows[place] for place in chosen], chosen, found)
        return Losses(nats_D=found[0], tokens_D=found[1].astype(np.int64), right_D=found[2].astype(np.int64))

    def cut_share(self, targets: Sequence[str]) -> float:
        """Return the share of targets that are longer than what the model writes."""
        room = self.max_target_tokens - Marks.of(self.model.config).around
        documents = self.tokenizer.documents([clean(one) for one in targets])
        return sum(len(document) > room for document in documents) / max(len(documents), 1)

    def _sources(self, inputs: Sequence[str]) -> list[Ids]:
        marks = Marks.of(self.model.config)
        documents = self.tokenizer.documents([self.prefix + clean(one) for one in inputs])
        return [marks.source(document, self.max_tokens) for document in documents]

    def _score(self, sources: list[Ids], rows: list[Ids], chosen: list[int], found: npt.NDArray[np.float64]) -> None:
        prefix = Marks.of(self.model.config).prefix
        ids_BT, attention_BT = self._filled(sources)
        inputs_BU, wanted_BU = self._filled([np.concatenate([prefix, row[:-1]]) for row in rows])
        wanted_BU[:, : len(prefix) - 1] = False
        targets_M = torch.from_numpy(np.concatenate(rows)).to(ids_BT.device)
        with torch.inference_mode():
            logits_MV = sequence.target_logits(self.model, ids_BT, attention_BT, inputs_BU, wanted_BU).float()
            nats_M = F.cross_entropy(logits_MV, targets_M, reduction="none").double().cpu().numpy()
            right_M = (logits_MV.argmax(dim=1) == targets_M).cpu().numpy()
        place_M = np.repeat(chosen, [len(row) for row in rows])
        for figure, value_M in zip(found, (nats_M, np.ones_like(nats_M), right_M), strict=True):
            np.add.at(figure, place_M, value_M)

    def _filled(self, rows: Sequence[Ids]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return rows filled up to the longest, and where they hold tokens, on the model's device."""
        lengths_B = np.array([len(row) for row in rows])
        filled_BT = np.full((len(rows), int(lengths_B.max())), self.model.config.pad_token_id, dtype=np.int64)
        for place, row in enumerate(rows):
            filled_BT[place, : len(row)] = row
        there_BT = np.arange(filled_BT.shape[1]) < lengths_B[:, None]
        device = self.model.device
        return torch.from_numpy(filled_BT).to(device), torch.from_numpy(there_BT).to(device)


def load(folder: Path, facts: Mapping[str, Any]) -> TargetPredictor:
    """Load a model that answers texts with texts from its folder, which `facts` describes.

    Raises:
        UserError: the folder holds no such model.
        KeyError: the facts lack something.
    """
    model: Any = sequence.sequence_model(folder)
    if torch.cuda.is_available():
        model.to("cuda")
    return TargetPredictor(
        model=model.eval(),
        tokenizer=load_tokenizer(folder),
        max_tokens=int(facts["max_tokens"]),
        max_target_tokens=int(facts["max_target_tokens"]),
        decoding=Decoding.model_validate(facts["decoding"]),
        prefix=facts.get("prefix", ""),
    )


def _batches(sizes: Sequence[int]) -> Iterator[list[int]]:
    """Yield places of rows of like size, for batches of a bounded number of tokens."""
    batch: list[int] = []
    for place in sorted(range(len(sizes)), key=lambda place: sizes[place]):
        if batch and (len(batch) + 1) * sizes[place] > _TOKENS:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch
