"""Tasks of lm-evaluation-harness, asked of a causal language model as it is served: an extra, `modelmill[lm-eval]`.

The harness asks three things of a model: how likely a continuation is, how likely a whole text is, and how a text goes
on. They are answered by our own predictor, with its cleaning, tokens and marks of documents.
https://github.com/EleutherAI/lm-evaluation-harness
"""

# B windows of a batch, T tokens, M predicted positions, V vocabulary

import contextlib
import importlib.util
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from components.evaluate.settings import Harness
from modelmill.errors import ModelmillError, UserError
from modelmill.evaluation.metrics import DECIMALS
from modelmill.evaluation.probes import HarnessFigure, HarnessResults
from modelmill.models import causal
from modelmill.models.causal import Sampling
from modelmill.models.language_predictor import CausalPredictor
from modelmill.sources import list_files, listed, nearest, open_raw, shown
from modelmill.step import Step
from modelmill.store.backend import check_name
from modelmill.text import clean

PACKAGE = "lm_eval"
# Windows scored at a time, and requests between two signs of progress.
_BATCH, _CHUNK = 32, 256
# Of a text that goes on, where a task does not say.
_MOST_TOKENS = 256
_GREEDY = 1e-9
"""Probability that the drawn tokens have together: the likeliest alone."""

Window = tuple[npt.NDArray[np.int64], int]
"""Tokens, and how many at its end are predicted."""


def check_installed() -> None:
    """Check that the harness is there, before anything else takes time.

    Raises:
        UserError: it is not.
    """
    if importlib.util.find_spec(PACKAGE) is None:
        raise UserError(
            "evaluate.lm_eval: lm-evaluation-harness is not installed here: pip install 'modelmill[lm-eval]', or leave "
            "lm_eval out"
        )


def harness_of(step: Step, asked: Harness, pinned: str, predictor: CausalPredictor) -> HarnessResults:
    """Return what a model makes of the harness's tasks; `pinned` is the fingerprint of the folder of further ones.

    Raises:
        UserError: the harness is not installed, there is no such task, or its data cannot be had.
        ModelmillError: the folder was changed since the run began.
    """
    check_installed()
    folder = step.scratch / "lm-eval"
    # What it keeps of data goes with the step.
    os.environ.setdefault("HF_HOME", str(folder / "cache"))
    further = _further(asked, pinned, folder / "tasks")
    from lm_eval import simple_evaluate
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(further) if further is not None else None)
    for name in asked.tasks:
        if name not in manager.all_tasks:
            hint = nearest(name, manager.all_tasks) or "; name a folder of your own in lm_eval.include"
            raise UserError(f"evaluate.lm_eval.tasks: the harness knows no task {name!r}{hint}")
    model = type("Served", (_Served, LM), {})(step, predictor)
    # A task names the files of its data from its own folder.
    with contextlib.chdir(further) if further is not None else contextlib.nullcontext():
        try:
            found = simple_evaluate(
                model=model,
                tasks=list(asked.tasks),
                task_manager=manager,
                limit=asked.limit,
                log_samples=False,
                bootstrap_iters=1000,
            )
        except (OSError, ValueError, KeyError) as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(
                f"evaluate.lm_eval: {', '.join(asked.tasks)}: the harness cannot ask: {first[:300]}; are the tasks' "
                "data within reach? those of the Hub are not without a network: name a folder in lm_eval.include"
            ) from error
    return HarnessResults(version=metadata.version(PACKAGE), limit=asked.limit, figures=tuple(_figures(found or {})))


def _further(asked: Harness, pinned: str, folder: Path) -> Path | None:
    """Fetch the folder of further tasks, as it was pinned."""
    if asked.include is None:
        return None
    files = list_files(asked.include)
    if listed(files) != pinned:
        raise ModelmillError(f"{shown(asked.include)}: changed since the run began; run again")
    for file in files:
        path = folder / check_name(file.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_raw(file) as raw, path.open("wb") as out:
            shutil.copyfileobj(raw, out, 1 << 20)
            raw.finish()
    return folder


def _figures(found: Mapping[str, Any]) -> Iterator[HarnessFigure]:
    for task, figures in found.get("results", {}).items():
        rows = found.get("n-samples", {}).get(task, {}).get("effective", 0)
        for key, value in figures.items():
            metric, mark, how = key.partition(",")
            if not mark or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            error = figures.get(f"{metric}_stderr,{how}")
            known = isinstance(error, int | float) and math.isfinite(error)
            yield HarnessFigure(
                task=task,
                metric=metric if how == "none" else f"{metric} ({how})",
                value=round(float(value), DECIMALS),
                error=round(float(error), DECIMALS) if known and error is not None else None,
                higher_is_better=found.get("higher_is_better", {}).get(task, {}).get(metric),
                rows=rows,
            )


class _Served:
    """What the harness asks, in the words of its `LM`, answered by a predictor."""

    def __init__(self, step: Step, predictor: CausalPredictor) -> None:
        super().__init__()
        self.step, self.predictor = step, predictor

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Return how likely each continuation is after its context, and whether each of its tokens is the likeliest."""
        windows = [self._pair(*request.args) for request in requests]
        return list(self._scored(windows))

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """Return how likely each whole text is, stretch by stretch where it is longer than the model reads."""
        windows: list[Window] = []
        counts = []
        for request in requests:
            made = self._stretches(request.args[0])
            windows += made
            counts.append(len(made))
        scores = [score for score, _ in self._scored(windows)]
        ends = np.cumsum(counts)
        return [float(sum(scores[end - count : end])) for end, count in zip(ends, counts, strict=True)]

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Return how each text goes on, the likeliest token each time, up to where its task wants an end."""
        found = []
        for number, request in enumerate(requests):
            if number % _BATCH == 0:
                self._tell(number, len(requests))
            found.append(self._continued(*request.args))
        self._tell(len(requests), len(requests))
        return found

    def _tell(self, done: int, total: int) -> None:
        self.step.check_stop()
        self.step.progress("asking the harness's tasks", done, total, "requests")

    def _ids(self, text: str) -> npt.NDArray[np.int64]:
        return np.asarray(self.predictor.tokenizer.documents([clean(text)])[0], dtype=np.int64)

    def _pair(self, context: str, continuation: str) -> Window:
        """Return the tokens of a context with its continuation, cut from the left to what the model reads.

        They are cut into tokens together, as they would be read: a space belongs to the word after it.
        """
        before_T, whole_T = self._ids(context), self._ids(context + continuation)
        same = 0
        while same < min(len(before_T), len(whole_T)) and before_T[same] == whole_T[same]:
            same += 1
        # A continuation that cleaning leaves nothing of is its last token.
        count = max(1, len(whole_T) - same)
        framed_T = np.concatenate([[self.predictor.tokenizer.special["cls"]], whole_T])[-self.predictor.max_tokens :]
        return framed_T, min(count, len(framed_T) - 1)

    def _stretches(self, text: str) -> list[Window]:
        framed_T = np.concatenate([[self.predictor.tokenizer.special["cls"]], self._ids(text)])
        starts = range(0, max(len(framed_T) - 1, 1), self.predictor.max_tokens - 1)
        parts = [framed_T[start : start + self.predictor.max_tokens] for start in starts]
        return [(part, len(part) - 1) for part in parts]

    def _scored(self, windows: Sequence[Window]) -> Iterator[tuple[float, bool]]:
        """Yield the log-likelihood of each window's predicted tokens, and whether all are the likeliest."""
        order = sorted(range(len(windows)), key=lambda place: len(windows[place][0]))
        found: list[tuple[float, bool]] = [(0.0, True)] * len(windows)
        for start in range(0, len(order), _BATCH):
            if start % _CHUNK == 0:
                self._tell(start, len(order))
            chosen = order[start : start + _BATCH]
            for place, score in zip(chosen, self._batch([windows[place] for place in chosen]), strict=True):
                found[place] = score
        self._tell(len(order), len(order))
        yield from found

    def _batch(self, windows: Sequence[Window]) -> list[tuple[float, bool]]:
        length = max(len(ids_T) for ids_T, _ in windows)
        ids_BT = np.full((len(windows), length), self.predictor.tokenizer.special["pad"], dtype=np.int64)
        wanted_BT = np.zeros((len(windows), length), dtype=np.bool_)
        for row, (ids_T, count) in enumerate(windows):
            ids_BT[row, : len(ids_T)] = ids_T
            # A position says what comes after it.
            wanted_BT[row, len(ids_T) - 1 - count : len(ids_T) - 1] = True
        if not wanted_BT.any():
            return [(0.0, True)] * len(windows)
        device = self.predictor.model.device
        with torch.inference_mode():
            ids, wanted = torch.from_numpy(ids_BT).to(device), torch.from_numpy(wanted_BT).to(device)
            logits_MV = causal.next_logits(self.predictor.model, ids, wanted, None).float()
            target_M = ids[:, 1:][wanted[:, :-1]]
            nats_M = torch.nn.functional.cross_entropy(logits_MV, target_M, reduction="none").double().cpu().numpy()
            right_M = (logits_MV.argmax(dim=1) == target_M).cpu().numpy()
        ends = np.cumsum([count for _, count in windows])
        spans = [slice(end - count, end) for end, (_, count) in zip(ends, windows, strict=True)]
        return [(-float(nats_M[span].sum()), bool(right_M[span].all())) for span in spans]

    def _continued(self, context: str, told: Mapping[str, Any]) -> str:
        predictor, special = self.predictor, self.predictor.tokenizer.special
        until = told.get("until") or []
        ends = [until] if isinstance(until, str) else list(until)
        most = min(int(told.get("max_gen_toks", _MOST_TOKENS)), predictor.max_tokens // 2)
        prompt_T = self._ids(context)[-(predictor.max_tokens - 1 - most) :]
        ids_T = torch.from_numpy(np.concatenate([[special["cls"]], prompt_T])).to(predictor.model.device)
        never = tuple({*special.values()} - {special["sep"]})
        sampling = Sampling(temperature=1.0, top_p=_GREEDY, most_tokens=most)
        drawn = causal.continuation(predictor.model, ids_T, sampling, special["sep"], never)
        whole = predictor.tokenizer.text(np.concatenate([prompt_T, np.array(drawn, dtype=np.int64)]))
        text = whole[len(predictor.tokenizer.text(prompt_T)) :]
        for end in ends:
            text = text.partition(end)[0] if end else text
        return text
