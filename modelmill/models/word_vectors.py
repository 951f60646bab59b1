"""Word embeddings (arXiv:1310.4546): a vector for each word as it is looked at, and one for it as a context."""

# B positions, W places around each (twice the window), S words of all documents, V vocabulary, D width

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from modelmill.errors import UserError
from modelmill.settings import Section

CONFIG, WEIGHTS, WORDS = "config.json", "model.safetensors", "words.tsv"
# Mikolov et al., section 2.2: of all powers of the frequency that they tried the best one to draw noise by.
_POWER = 0.75

Array = npt.NDArray[Any]


class WordConfig(Section):
    """All that the tables are built from, and how they were learned."""

    objective: Literal["skip-gram", "cbow"]
    vocabulary: int
    width: int
    window: int
    """Words to each side that count as near."""
    negatives: int
    """Words of noise for each true one."""
    subsample: float
    """Share of all words above which frequent words are left out at random."""


class WordVectors(nn.Module):
    """Two tables of vectors: `words`, which are the embeddings, and `contexts`."""

    def __init__(self, config: WordConfig) -> None:
        super().__init__()
        self.config = config
        self.words = nn.Embedding(config.vocabulary, config.width)
        self.contexts = nn.Embedding(config.vocabulary, config.width)
        # As word2vec does it: small, and nothing near anything.
        nn.init.uniform_(self.words.weight, -0.5 / config.width, 0.5 / config.width)
        nn.init.zeros_(self.contexts.weight)

    @property
    def device(self) -> torch.device:
        """Where the tables lie."""
        return self.words.weight.device


def save(model: WordVectors, counts_V: Array, words: Sequence[str], folder: Path) -> None:
    """Write config.json, model.safetensors, and words.tsv: each id's word and how often it was read."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(model.config.model_dump_json(indent=1) + "\n")
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / WEIGHTS)
    lines = [f"{word}\t{count}\n" for word, count in zip(words, counts_V.tolist(), strict=True)]
    (folder / WORDS).write_text("".join(lines), encoding="utf-8")


def load(folder: Path) -> tuple[WordVectors, Array]:
    """Return the tables of a folder and each word's count [V].

    Raises:
        UserError: the folder holds no such model, or other weights than its configuration says.
    """
    try:
        model = WordVectors(WordConfig.model_validate_json((folder / CONFIG).read_bytes()))
        weights = load_file(folder / WEIGHTS)
        lines = (folder / WORDS).read_text(encoding="utf-8").rstrip("\n").split("\n")
        counts_V = np.array([int(line.rpartition("\t")[2]) for line in lines], dtype=np.int64)
    except (OSError, ValueError, ValidationError, SafetensorError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{folder}: no word embeddings: {first}") from error
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if wanted != found or len(counts_V) != model.config.vocabulary:
        raise UserError(
            f"{folder}: tables of {found} and {len(counts_V)} words, and {CONFIG} says {wanted}; take the whole folder "
            "of one model"
        )
    # Its random weights go as the file's come: a model is held once.
    dtypes = {name: tensor.dtype for name, tensor in model.state_dict().items()}
    model.load_state_dict({name: tensor.to(dtypes[name]) for name, tensor in weights.items()}, assign=True)
    return model.eval(), counts_V


def noise_share(counts_V: Array) -> Array:
    """Return each word's probability [V] to be drawn as noise; words that were never read are not."""
    share_V: Array = counts_V.astype(np.float64) ** _POWER
    found: Array = share_V / share_V.sum()
    return found


def stays(counts_V: Array, subsample: float) -> Array:
    """Return the probability of each word [V] to be left in where frequent ones are left out, 1 for the others.

    Of a word of frequency f it is sqrt(t / f) + t / f, t being `subsample` (arXiv:1310.4546, section 2.3, and as
    word2vec does it); 0 leaves all in.
    """
    frequency_V = np.maximum(counts_V, 1) / max(int(counts_V.sum()), 1)
    if not subsample:
        return np.ones_like(frequency_V)
    found: Array = np.minimum(np.sqrt(subsample / frequency_V) + subsample / frequency_V, 1.0)
    return found


def drawn(share_V: Array, shape: tuple[int, ...], chance: np.random.Generator) -> Array:
    """Return words drawn by their shares."""
    bounds_V = np.cumsum(share_V)
    found: Array = np.searchsorted(bounds_V, chance.random(shape) * bounds_V[-1], side="right")
    return np.minimum(found, len(share_V) - 1)


def around(ids_S: Array, document_S: Array, at_B: Array, reach_B: Array, window: int) -> tuple[Array, Array]:
    """Return the words around positions [B, W], and which of them [B, W] are within reach and of the same document."""
    steps_W = np.concatenate([np.arange(-window, 0), np.arange(1, window + 1)])
    places_BW = at_B[:, None] + steps_W
    inside_BW = np.clip(places_BW, 0, len(ids_S) - 1)
    real_BW = (places_BW == inside_BW) & (np.abs(steps_W) <= reach_B[:, None])
    real_BW &= document_S[inside_BW] == document_S[at_B][:, None]
    return np.where(real_BW, ids_S[inside_BW], 0), real_BW


def accompanied(document_S: Array) -> Array:
    """Return which words [S] have another one of their document beside them."""
    same_S = np.zeros(len(document_S) + 1, dtype=bool)
    same_S[1:-1] = document_S[1:] == document_S[:-1]
    found: Array = same_S[:-1] | same_S[1:]
    return found
