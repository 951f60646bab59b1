"""Learning where an answer starts and ends; validation reads whole questions, and measures answers as people do."""

# B rows of a batch, Q questions, W windows of a question, T tokens of a row

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from modelmill.evaluation.answers import exact_match, f1
from modelmill.models.questions import Decoder
from modelmill.models.text import family
from modelmill.training.data import Batch
from modelmill.training.objectives import Scored
from modelmill.training.question_data import Asked


@dataclass(frozen=True, kw_only=True)
class Spans:
    """Predict an answer's first and last token; [CLS] is both where a row holds no answer.

    The loss of a row is the mean of both (BERT, section 4.2, arXiv:1810.04805), that of a question in validation the
    mean of its rows.
    """

    decoder: Decoder
    validation: Sequence[Asked]
    """What the numbers in validation batches mean."""

    def __call__(self, model: Any, batch: Batch) -> Scored:
        """Return the loss of a batch of rows [B, T], or the loss and the answers' figures of one of questions."""
        tensors = batch.tensors
        if tensors["ids"].dim() == 2:
            loss_B, _, _ = _scores(model, tensors["ids"], tensors["attention"], tensors["labels"])
            return Scored(loss=loss_B.sum(), count=len(loss_B), sums={})
        real_QW = tensors["attention"][:, :, 0]
        loss_B, start_BT, end_BT = _scores(
            model, tensors["ids"][real_QW], tensors["attention"][real_QW], tensors["labels"][real_QW]
        )
        count_Q = real_QW.sum(dim=1)
        loss = (loss_B / count_Q.repeat_interleave(count_Q)).sum()
        return Scored(loss=loss, count=len(real_QW), sums=self._figures(tensors["questions"], start_BT, end_BT))

    @torch.compiler.disable  # type: ignore[untyped-decorator, unused-ignore]
    def _figures(self, questions_Q: Tensor, start_BT: Tensor, end_BT: Tensor) -> dict[str, Tensor]:
        starts, ends = start_BT.detach().float().cpu().numpy(), end_BT.detach().float().cpu().numpy()
        right, shared, at = 0.0, 0.0, 0
        for number in questions_Q.tolist():
            asked = self.validation[number]
            rows = slice(at, at + len(asked.windows))
            at = rows.stop
            found = self.decoder.answer(
                asked.windows, list(starts[rows]), list(ends[rows]), asked.starts_C, asked.ends_C
            )
            given = found.text(asked.context)
            right += exact_match(given, asked.references)
            shared += f1(given, asked.references)
        figures = torch.tensor([right, shared], dtype=torch.float64)
        return {"exact_match": figures[0], "f1": figures[1]}


def _scores(model: Any, ids_BT: Tensor, attention_BT: Tensor, labels_B3: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the loss of each row [B], and how much each token is the first and the last one of an answer [B, T]."""
    first_B, last_B, body_B = labels_B3.unbind(dim=1)
    start_BT, end_BT = span_scores(model, ids_BT, attention_BT, body_B)
    loss_B = F.cross_entropy(start_BT, first_B, reduction="none") + F.cross_entropy(end_BT, last_B, reduction="none")
    return loss_B / 2, start_BT, end_BT


def span_scores(model: Any, ids_BT: Tensor, attention_BT: Tensor, body_B: Tensor) -> tuple[Tensor, Tensor]:
    """Return how much each token is the first and the last one of an answer [B, T], padding the least of all."""
    places_T = torch.arange(ids_BT.shape[1], device=ids_BT.device)
    segments_BT = ((places_T >= body_B[:, None]) & attention_BT).long()
    start_BT, end_BT = family(model).span_logits(model, ids_BT, attention_BT, segments_BT)
    least = torch.finfo(torch.float32).min
    return (
        start_BT.float().masked_fill(~attention_BT, least),
        end_BT.float().masked_fill(~attention_BT, least),
    )
