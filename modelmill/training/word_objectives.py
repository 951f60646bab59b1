"""Learning word embeddings by telling what stands around a word from noise (negative sampling, arXiv:1310.4546)."""

# B words of a batch, W places around each, G words of noise of a group, D width

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from modelmill.models.word_vectors import WordVectors
from modelmill.training.data import Batch
from modelmill.training.objectives import Scored

# Words that share their noise: its products are then of matrices, as in arXiv:1604.04661, and each word has more of it.
_GROUP = 64


def skip_gram(model: WordVectors, batch: Batch) -> Scored:
    """Tell each word around a word from `negatives` words of noise, by the word's own vector."""
    tensors = batch.tensors
    word_BD, real_BW = model.words(tensors["words"]), tensors["real"]
    near_BW = torch.bmm(model.contexts(tensors["contexts"]), word_BD[:, :, None]).squeeze(2).float()
    noise_BG = _noise(word_BD, model.contexts(tensors["noise"]))
    true = (F.softplus(-near_BW) * real_BW).sum()
    false = (F.softplus(noise_BG).mean(dim=1) * real_BW.sum(dim=1)).sum()
    hits = (near_BW.detach() > _best(noise_BG, model.config.negatives)[:, None]) & real_BW
    count = int(real_BW.sum())
    return Scored(loss=true + model.config.negatives * false, count=count, sums={"accuracy": hits.sum()})


def cbow(model: WordVectors, batch: Batch) -> Scored:
    """Tell a word from `negatives` words of noise, by the mean of the vectors around it."""
    tensors = batch.tensors
    real_BW = tensors["real"]
    around_BWD = model.words(tensors["contexts"]) * real_BW[:, :, None]
    mean_BD = around_BWD.sum(dim=1) / real_BW.sum(dim=1, keepdim=True)
    right_B = (mean_BD * model.contexts(tensors["words"])).sum(dim=1).float()
    noise_BG = _noise(mean_BD, model.contexts(tensors["noise"]))
    loss = F.softplus(-right_B).sum() + model.config.negatives * F.softplus(noise_BG).mean(dim=1).sum()
    hits = right_B.detach() > _best(noise_BG, model.config.negatives)
    return Scored(loss=loss, count=len(right_B), sums={"accuracy": hits.sum()})


def _noise(asked_BD: Tensor, noise_BD: Tensor) -> Tensor:
    """Return the scores [B, G] of words under the noise of their group; the last words share that of the last G."""
    rows = len(asked_BD)
    group = min(_GROUP, rows)
    whole = rows // group * group
    asked, noise = (one[:whole].view(-1, group, one.shape[1]) for one in (asked_BD, noise_BD))
    scores_BG = torch.bmm(asked, noise.transpose(1, 2)).flatten(0, 1)
    if whole < rows:
        scores_BG = torch.cat([scores_BG, asked_BD[whole:] @ noise_BD[rows - group :].T])
    return scores_BG.float()


def _best(noise_BG: Tensor, negatives: int) -> Tensor:
    return noise_BG.detach()[:, :negatives].amax(dim=1)


OBJECTIVES: Mapping[str, Callable[[WordVectors, Batch], Scored]] = {"skip-gram": skip_gram, "cbow": cbow}
