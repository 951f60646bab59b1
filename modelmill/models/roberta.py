"""RoBERTa (arXiv:1907.11692): BERT's layers under another head, begun with <s>; it starts from published weights."""

# B batch, T tokens, K positions wanted of each row, M real ones of a batch, V vocabulary, C classes

from typing import Any

import torch
from torch import Tensor
from transformers import RobertaForMaskedLM, RobertaForQuestionAnswering, RobertaForSequenceClassification

from modelmill.models import bert
from modelmill.models.family import Family
from modelmill.models.padded import padded


def masked_logits(model: Any, ids_BT: Tensor, wanted_BK: Tensor, real_BK: Tensor) -> Tensor:
    """Return the vocabulary's logits [M, V] at the real ones of the wanted positions; no position is padding."""
    return padded(model.lm_head, bert.encode_at(model.roberta, ids_BT, None, wanted_BK)[real_BK])


def class_logits(model: Any, ids_BT: Tensor, attention_BT: Tensor) -> Tensor:
    """Return a classifier's logits [B, C], which it reads from the first token."""
    first_B1 = torch.zeros((ids_BT.shape[0], 1), dtype=torch.int64, device=ids_BT.device)
    logits_BC: Tensor = model.classifier(bert.encode_at(model.roberta, ids_BT, attention_BT, first_B1))
    return logits_BC


def span_logits(model: Any, ids_BT: Tensor, attention_BT: Tensor, _segments_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Return how much each token is the first one of an answer [B, T], and the last one."""
    made = model(input_ids=ids_BT, attention_mask=attention_BT)
    return made.start_logits, made.end_logits


FAMILY = Family(
    masked_lm=RobertaForMaskedLM,
    classifier=RobertaForSequenceClassification,
    spans=RobertaForQuestionAnswering,
    heads=("lm_head.", "classifier.", "qa_outputs."),
    new_config=None,
    masked_logits=masked_logits,
    class_logits=class_logits,
    span_logits=span_logits,
    unhindered=bert.FAMILY.unhindered,
)
