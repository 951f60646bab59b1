"""Build, load and save the text models: encoders with a masked-language-model head or a classifier on top."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import BertModel, PreTrainedConfig, PreTrainedModel

from modelmill.errors import UserError
from modelmill.models import attention, bert, distilbert, modernbert, roberta
from modelmill.models.architecture import Architecture
from modelmill.models.family import Family

_FAMILIES = {
    "bert": bert.FAMILY,
    "modernbert": modernbert.FAMILY,
    "roberta": roberta.FAMILY,
    "distilbert": distilbert.FAMILY,
}
_POOLER = ("bert.pooler.", "pooler.")


def family(of: PreTrainedModel | PreTrainedConfig) -> Family:
    """Return how a model's, or a configuration's, layers are built."""
    return _FAMILIES[(of if isinstance(of, PreTrainedConfig) else of.config).model_type]


def new_config(architecture: Architecture, vocabulary: int, max_tokens: int, pad: int) -> PreTrainedConfig:
    """Return the configuration of a model with random weights."""
    make = _FAMILIES[architecture.family].new_config
    assert make is not None, "the settings name those families that have one"
    return make(architecture, vocabulary, max_tokens, pad)


def load_config(
    folder: Path, vocabulary: int, max_tokens: int, families: Sequence[str] = tuple(_FAMILIES)
) -> PreTrainedConfig:
    """Return the configuration of a model's folder, checked against the data.

    Raises:
        UserError: it is of another family, has another vocabulary than the data, or shorter rows.
    """
    config = read_config(folder, families)
    if config.vocab_size < vocabulary:
        raise UserError(
            f"{folder}: its vocabulary has {config.vocab_size} tokens and the data's has {vocabulary}; leave "
            "preprocess.tokenizer out, so that the data get this model's tokenizer"
        )
    most = most_tokens(config)
    if most < max_tokens:
        raise UserError(
            f"{folder}: reads at most {most} tokens and rows have up to {max_tokens}; lower preprocess.max_tokens"
        )
    return config


def most_tokens(config: PreTrainedConfig) -> int:
    """Return how many tokens a model reads at most."""
    # RoBERTa counts its places from behind the padding's id.
    before = config.pad_token_id + 1 if config.model_type == "roberta" else 0
    return int(config.max_position_embeddings) - before


def read_config(folder: Path, families: Sequence[str] = tuple(_FAMILIES)) -> PreTrainedConfig:
    """Return the configuration of a model's folder.

    Raises:
        UserError: it holds none, or one of another family than those.
    """
    with _quiet(), _readable(folder):
        config: PreTrainedConfig = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    if config.model_type not in families:
        known = " and ".join([", ".join(map(repr, families[:-1])), repr(families[-1])])
        raise UserError(f"{folder}: a model of the family {config.model_type!r}; {known} can be trained on")
    return config


def masked_lm(start: Path | PreTrainedConfig) -> PreTrainedModel:
    """Return a masked language model: a folder's weights with what they lack at random, or all at random.

    A pooler in the folder is kept with the encoder, for the classifier that will come on top of it.

    Raises:
        UserError: the folder holds no weights of such an encoder.
    """
    if isinstance(start, PreTrainedConfig):
        return new_model(family(start).masked_lm, start)
    made = family(read_config(start))
    model, unexpected = load_model(made.masked_lm, start, made.heads)
    if made is bert.FAMILY and any(name.startswith(_POOLER) for name in unexpected):
        model.bert.pooler = load_model(BertModel, start, made.heads)[0].pooler
    return model


def classifier(start: Path | PreTrainedConfig, labels: Sequence[str]) -> PreTrainedModel:
    """Return a classifier over labels: a folder's encoder, or a random one, under a new dense layer.

    Raises:
        UserError: the folder holds no weights of such an encoder.
    """
    names: dict[str, Any] = {
        "id2label": dict(enumerate(labels)),
        "label2id": {name: i for i, name in enumerate(labels)},
    }
    if isinstance(start, PreTrainedConfig):
        start.update({**names, "num_labels": len(labels)})
        return new_model(family(start).classifier, start)
    made = family(read_config(start))
    return load_model(made.classifier, start, made.heads, num_labels=len(labels), **names)[0]


def load_classifier(folder: Path) -> PreTrainedModel:
    """Return the classifier that a folder holds, whole.

    Raises:
        UserError: the folder holds no such model, or not all of its weights.
    """
    return load_model(family(read_config(folder)).classifier, folder, ())[0]


def spans(start: Path | PreTrainedConfig) -> PreTrainedModel:
    """Return a model that says where answers are: a folder's encoder, or a random one, under a new dense layer.

    Raises:
        UserError: the folder holds no weights of such an encoder.
    """
    if isinstance(start, PreTrainedConfig):
        start.num_labels = 2
        return new_model(family(start).spans, start)
    made = family(read_config(start))
    return load_model(made.spans, start, made.heads, num_labels=2)[0]


def load_spans(folder: Path) -> PreTrainedModel:
    """Return the model that a folder holds, whole, which says where answers are.

    Raises:
        UserError: the folder holds no such model, or not all of its weights.
    """
    return load_model(family(read_config(folder)).spans, folder, ())[0]


def save(model: PreTrainedModel, folder: Path) -> None:
    """Write config.json and model.safetensors, which `AutoModel*.from_pretrained` opens."""
    with _quiet():
        model.save_pretrained(folder)


def new_model(model_class: Any, config: PreTrainedConfig) -> PreTrainedModel:
    """Return a model with random weights."""
    attention.register()
    return model_class._from_config(config, attn_implementation=attention.NAME)


def load_model(model_class: Any, folder: Path, new: tuple[str, ...], **changes: Any) -> tuple[Any, list[str]]:
    """Return a model and the names of weights in the folder that it has no use for; `new` parts may be missing."""
    attention.register()
    with _quiet(), _readable(folder):
        model, report = model_class.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            # Without it weights stay in the precision that they were saved in.
            dtype=torch.float32,
            attn_implementation=attention.NAME,
            output_loading_info=True,
            # A head for other labels is replaced, as a missing one is.
            ignore_mismatched_sizes=True,
            **changes,
        )
    absent = [*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])]
    absent = sorted(name for name in absent if not name.startswith(new))
    if absent:
        raise UserError(f"{folder}: {len(absent)} weights are missing or of another shape, the first is {absent[0]}")
    return model, list(report["unexpected_keys"])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from drawing bars, and from reporting heads that are new, as they should be."""
    verbosity = transformers.logging.get_verbosity()
    bars = transformers.utils.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity(logging.ERROR)
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(verbosity)
        if bars:
            transformers.utils.logging.enable_progress_bar()


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{folder}: no model that transformers can load: {first}") from error
