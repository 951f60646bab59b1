"""Build, load and ask models that turn one sequence into another: T5, BART, and the plain Transformer as Marian."""

# B batch, T tokens of a source, U tokens of a target, M real ones of a batch's targets, D width, V vocabulary

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GenerationConfig,
    MarianConfig,
    MarianMTModel,
    PreTrainedConfig,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

from modelmill.errors import UserError
from modelmill.models import text
from modelmill.models.architecture import EncoderDecoder
from modelmill.models.decoding import Decoding
from modelmill.models.padded import padded

_CLASSES: Mapping[str, Any] = {
    "t5": T5ForConditionalGeneration,
    "bart": BartForConditionalGeneration,
    "marian": MarianMTModel,
}
Ids = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Marks:
    """The ids that stand around sequences, as a family was made to read and write them."""

    start: int
    """What a decoder is given before the first token."""
    first: int | None
    """Begins sources and targets; None where nothing does."""
    end: int
    pad: int

    @classmethod
    def of(cls, config: PreTrainedConfig) -> Self:
        """Return the marks of a model.

        Raises:
            UserError: its configuration lacks one that it cannot do without.
        """
        ends = config.eos_token_id
        end = ends[0] if isinstance(ends, list) else ends
        start = getattr(config, "decoder_start_token_id", None)
        if start is None:
            # T5's, whose first configurations did not say it.
            start = config.pad_token_id
        for name, value in {"pad_token_id": config.pad_token_id, "eos_token_id": end}.items():
            if value is None:
                raise UserError(
                    f"config.json of the base ({config.model_type}) has no {name}, and rows cannot be "
                    f"{'filled up' if name == 'pad_token_id' else 'ended'} without one; add it, or name another base"
                )
        first = config.bos_token_id if config.model_type == "bart" else None
        return cls(start=start, first=first, end=end, pad=config.pad_token_id)

    @property
    def prefix(self) -> list[int]:
        """What a decoder is given before the tokens of a target."""
        return [self.start, *([] if self.first is None else [self.first])]

    @property
    def around(self) -> int:
        """How many of a row's ids are marks."""
        return 1 if self.first is None else 2

    def source(self, document_T: Ids, most: int) -> Ids:
        """Return a source as an encoder reads it, cut so that at most so many ids come out."""
        first = [] if self.first is None else [self.first]
        return np.concatenate([first, document_T[: most - self.around], [self.end]]).astype(np.int64)

    def target(self, document_U: Ids, most: int) -> Ids:
        """Return what a decoder is to write: a target and its end, cut so that with its marks it has so many ids."""
        return np.append(document_U[: most - self.around], self.end).astype(np.int64)


def new_config(shape: EncoderDecoder, vocabulary: int, longest: int, special: Mapping[str, int]) -> PreTrainedConfig:
    """Return the configuration of a model with random weights, for rows of at most so many tokens."""
    inner, decoder_layers = shape.feed_forward or 4 * shape.width, shape.decoder_layers or shape.layers
    marks = {"vocab_size": vocabulary, "pad_token_id": special["pad"], "eos_token_id": special["sep"]}
    if shape.family == "t5":
        return T5Config(
            d_model=shape.width,
            d_kv=shape.width // shape.heads,
            d_ff=inner,
            num_layers=shape.layers,
            num_decoder_layers=decoder_layers,
            num_heads=shape.heads,
            decoder_start_token_id=special["pad"],
            **marks,
        )
    sizes = {
        "d_model": shape.width,
        "encoder_layers": shape.layers,
        "decoder_layers": decoder_layers,
        "encoder_attention_heads": shape.heads,
        "decoder_attention_heads": shape.heads,
        "encoder_ffn_dim": inner,
        "decoder_ffn_dim": inner,
        "max_position_embeddings": longest,
        # Glorot and Bengio's for square maps, and tensor2tensor's for tokens. With the library's 0.02, made for widths
        # of a thousand, a small model that normalises after each part takes thousands of steps to read its source.
        "init_std": shape.width**-0.5,
        # The library would force an end at the last place, which is no token of the data's.
        "forced_eos_token_id": None,
        **marks,
    }
    if shape.family == "bart":
        return BartConfig(bos_token_id=special["cls"], decoder_start_token_id=special["sep"], **sizes)
    # As in 2017: rectified, and tokens scaled by the root of the width (section 3.4).
    return MarianConfig(
        decoder_start_token_id=special["pad"], activation_function="relu", scale_embedding=True, **sizes
    )


def class_of(config: PreTrainedConfig) -> Any:
    """Return transformers' class of the models with a configuration of one of these families."""
    return _CLASSES[config.model_type]


def load_config(folder: Path, vocabulary: int, longest: int, special: Mapping[str, int]) -> PreTrainedConfig:
    """Return the configuration of a model's folder, checked against the data.

    Raises:
        UserError: it is of another family, has other tokens than the data, or shorter rows.
    """
    config = text.read_config(folder, tuple(_CLASSES))
    if config.vocab_size < vocabulary:
        raise UserError(
            f"{folder}: its vocabulary has {config.vocab_size} tokens and the data's has {vocabulary}; leave "
            "preprocess.tokenizer out, so that the data get this model's tokenizer"
        )
    most = getattr(config, "max_position_embeddings", None)
    if config.model_type != "t5" and most is not None and most < longest:
        raise UserError(
            f"{folder}: reads and writes at most {most} tokens and rows have up to {longest}; lower "
            "preprocess.max_tokens and max_target_tokens"
        )
    marks = Marks.of(config)
    for role, ours in {"pad": marks.pad, "sep": marks.end}.items():
        if role not in special:
            raise UserError(f"{folder}: its tokenizer has no {role} token, and its model's is {ours}; add it")
        if special[role] != ours:
            raise UserError(
                f"{folder}: the {role} token of the data's tokenizer is {special[role]} and the model's is {ours}; "
                "leave preprocess.tokenizer out, so that the data get this model's tokenizer"
            )
    return config


def sequence_model(start: Path | PreTrainedConfig) -> PreTrainedModel:
    """Return a model with a folder's weights, all of them, or with random ones.

    Raises:
        UserError: the folder holds no weights of such a model.
    """
    if isinstance(start, PreTrainedConfig):
        return text.new_model(_CLASSES[start.model_type], start)
    config = text.read_config(start, tuple(_CLASSES))
    model: PreTrainedModel = text.load_model(_CLASSES[config.model_type], start, ())[0]
    # What a folder says of searching would be mixed into what we ask for.
    model.generation_config = GenerationConfig()
    return model


def set_dropout(model: torch.nn.Module, share: float) -> None:
    """Drop this share of the dense maps' outputs while training, and nothing inside attention or whole layers."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = share
            continue
        held: Any = module
        if isinstance(getattr(module, "dropout", None), float | int):
            held.dropout = 0.0 if "Attention" in type(module).__name__ else share
        for name in ("attention_dropout", "activation_dropout", "layerdrop"):
            if isinstance(getattr(module, name, None), float | int):
                setattr(module, name, 0.0)


def target_logits(model: Any, ids_BT: Tensor, attention_BT: Tensor, inputs_BU: Tensor, wanted_BU: Tensor) -> Tensor:
    """Return the vocabulary's logits [M, V] for the token after each wanted place of the targets.

    `attention_BT` is true at tokens and false at padding. What fills targets up stands behind them, where no wanted
    place sees it.
    """
    source_BTD = model.get_encoder()(input_ids=ids_BT, attention_mask=attention_BT).last_hidden_state
    hidden_BUD = model.get_decoder()(
        input_ids=inputs_BU,
        encoder_hidden_states=source_BTD,
        encoder_attention_mask=attention_BT,
        use_cache=False,
    ).last_hidden_state
    # Only what is scored meets the vocabulary, which is most of a small model's work.
    hidden_MD = hidden_BUD[wanted_BU]
    if getattr(model.config, "scale_decoder_outputs", False):
        hidden_MD = hidden_MD * model.config.d_model**-0.5
    logits_MV = padded(model.lm_head, hidden_MD)
    bias_1V = getattr(model, "final_logits_bias", None)
    return logits_MV if bias_1V is None else logits_MV + bias_1V


def decode(
    model: Any, ids_BT: Tensor, attention_BT: Tensor, decoding: Decoding, never: tuple[int, ...]
) -> list[list[int]]:
    """Return for each source the tokens of the likeliest target found, without its end.

    Of `never` none is written: marks that no target has inside.
    """
    assert decoding.max_tokens is not None
    marks = Marks.of(model.config)
    prefix_BU = torch.tensor([marks.prefix], device=ids_BT.device).expand(len(ids_BT), -1)
    with torch.inference_mode():
        written_BU = model.generate(
            input_ids=ids_BT,
            attention_mask=attention_BT.long(),
            decoder_input_ids=prefix_BU,
            generation_config=generation(marks, decoding, never),
        )
    found = []
    for row in written_BU[:, len(marks.prefix) :].tolist():
        end = row.index(marks.end) if marks.end in row else len(row)
        found.append([token for token in row[:end] if token != marks.pad])
    return found


def generation(marks: Marks, decoding: Decoding, never: tuple[int, ...]) -> GenerationConfig:
    """Return how transformers' `generate` is to search."""
    searched = {"length_penalty": decoding.length_penalty, "early_stopping": True} if decoding.beams > 1 else {}
    return GenerationConfig(
        do_sample=False,
        num_beams=decoding.beams,
        max_new_tokens=decoding.max_tokens,
        no_repeat_ngram_size=decoding.no_repeat_ngram or None,
        suppress_tokens=sorted(set(never) - {marks.end}) or None,
        decoder_start_token_id=marks.start,
        bos_token_id=marks.first,
        eos_token_id=marks.end,
        pad_token_id=marks.pad,
        **searched,
    )
