"""Build, load and save models that predict the next token: GPT-2 and Llama, with documents of a row kept apart."""

# B batch, T tokens, M positions that have a next token, D width, V vocabulary

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedConfig, PreTrainedModel

from modelmill.models import text
from modelmill.models.architecture import Decoder

_CLASSES: Mapping[str, Any] = {"gpt2": GPT2LMHeadModel, "llama": LlamaForCausalLM}


def new_config(shape: Decoder, vocabulary: int, max_tokens: int, special: Mapping[str, int]) -> PreTrainedConfig:
    """Return the configuration of a model with random weights; a document stands between [CLS] and [SEP]."""
    marks = {
        "vocab_size": vocabulary,
        "bos_token_id": special["cls"],
        "eos_token_id": special["sep"],
        "pad_token_id": special["pad"],
    }
    if shape.family == "gpt2":
        return GPT2Config(
            n_embd=shape.width,
            n_layer=shape.layers,
            n_head=shape.heads,
            n_inner=shape.feed_forward or 4 * shape.width,
            n_positions=max_tokens,
            # The same function as its own gelu_new, computed at once and not in eight steps.
            activation_function="gelu_pytorch_tanh",
            **marks,
        )
    return LlamaConfig(
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads or shape.heads,
        # With gates a layer has three maps and not two: 8/3 makes it as large (arXiv:2002.05202).
        intermediate_size=shape.feed_forward or 8 * shape.width // 3,
        max_position_embeddings=max_tokens,
        # The table of tokens is most of a small model's weights; GPT-2 ties it too.
        tie_word_embeddings=True,
        **marks,
    )


def class_of(config: PreTrainedConfig) -> Any:
    """Return transformers' class of the models with a configuration of one of these families."""
    return _CLASSES[config.model_type]


def load_config(folder: Path, vocabulary: int, max_tokens: int) -> PreTrainedConfig:
    """Return the configuration of a model's folder, checked against the data.

    Raises:
        UserError: it is of another family, has another vocabulary than the data, or shorter rows.
    """
    return text.load_config(folder, vocabulary, max_tokens, tuple(_CLASSES))


def language_model(start: Path | PreTrainedConfig) -> PreTrainedModel:
    """Return a model with a folder's weights, all of them, or with random ones.

    Raises:
        UserError: the folder holds no weights of such a model.
    """
    if isinstance(start, PreTrainedConfig):
        return text.new_model(_CLASSES[start.model_type], start)
    config = text.read_config(start, tuple(_CLASSES))
    return text.load_model(_CLASSES[config.model_type], start, ())[0]


def set_dropout(model: torch.nn.Module, share: float) -> None:
    """Drop this share of every dense map's output while training, and nothing inside attention."""
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0 if name.endswith("attn_dropout") else share


def next_logits(model: Any, ids_BT: Tensor, wanted_BT: Tensor | None, documents_BT: Tensor | None) -> Tensor:
    """Return the vocabulary's logits [M, V] for the token after each wanted position; without these, after all.

    Where `documents_BT` numbers the documents of the rows, a position sees its own document only, and its place is
    counted from that document's beginning: each is read as if it stood alone.
    """
    seen: dict[str, Tensor] = {}
    if documents_BT is not None:
        seen = {"attention_mask": _within_B1TT(documents_BT), "position_ids": _places(documents_BT)}
    hidden_BTD = model.base_model(input_ids=ids_BT, use_cache=False, **seen).last_hidden_state
    logits_MV: Tensor = model.lm_head(hidden_BTD.flatten(0, 1) if wanted_BT is None else hidden_BTD[wanted_BT])
    return logits_MV


def _within_B1TT(documents_BT: Tensor) -> Tensor:
    """Return what each position sees: of its own document, itself and what is before it."""
    same_BTT = documents_BT[:, :, None] == documents_BT[:, None, :]
    return same_BTT.tril()[:, None]


def _places(documents_BT: Tensor) -> Tensor:
    """Return each position's place within its document, from 0."""
    place_T = torch.arange(documents_BT.shape[1], device=documents_BT.device)
    begins_BT = torch.ones_like(documents_BT, dtype=torch.bool)
    begins_BT[:, 1:] = documents_BT[:, 1:] != documents_BT[:, :-1]
    start_BT = torch.where(begins_BT, place_T, 0).cummax(dim=1).values
    places_BT: Tensor = place_T - start_BT
    return places_BT


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a text is continued."""

    temperature: float = 0.8
    """Logits are divided by it: less than 1 makes likely tokens likelier."""
    top_p: float = 0.95
    """Only the likeliest tokens that together have this probability are drawn (arXiv:1904.09751)."""
    most_tokens: int = 48
    """Tokens that are added at most."""
    seed: int = 0
    """Of the generator, which begins anew with every text: an answer does not depend on the others."""


def continuation(model: Any, ids_T: Tensor, sampling: Sampling, end: int, never: tuple[int, ...]) -> list[int]:
    """Return tokens that continue others, up to the end of the document or of what the model can read.

    Of `never` none is drawn: marks that no document has inside.
    """
    generator = torch.Generator().manual_seed(sampling.seed)
    room = model.config.max_position_embeddings - len(ids_T)
    drawn: list[int] = []
    asked_1T, cache = ids_T[None], None
    with torch.inference_mode():
        for _ in range(min(room, sampling.most_tokens)):
            output = model(input_ids=asked_1T, past_key_values=cache, use_cache=True)
            logits_V = output.logits[0, -1].double().cpu()
            logits_V[list(never)] = -torch.inf
            token = _draw(logits_V, sampling, generator)
            if token == end:
                break
            drawn.append(token)
            asked_1T, cache = torch.tensor([[token]], device=ids_T.device), output.past_key_values
    return drawn


def _draw(logits_V: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    probability_V, token_V = (logits_V / sampling.temperature).softmax(dim=0).sort(descending=True, stable=True)
    # The likeliest token stays in any case.
    beyond_V = probability_V.cumsum(dim=0) - probability_V >= sampling.top_p
    probability_V[beyond_V] = 0
    return int(token_V[torch.multinomial(probability_V, 1, generator=generator)])
