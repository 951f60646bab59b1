"""What it costs to answer: time from raw input to answer, memory, files, parameters; on the machine that evaluates."""

import platform
import resource
from collections.abc import Sequence
from itertools import count, takewhile
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from modelmill.cores import usable_cores
from modelmill.evaluation.probes import Cost, Speed
from modelmill.models.language_predictor import CausalPredictor, MaskedPredictor
from modelmill.models.target_predictor import TargetPredictor
from modelmill.step import Step

# Rows at once, and calls that are timed at most: of 400 the 99th percentile has an upper end of its interval (it takes
# 368); of large batches the middle is what counts.
_CALLS = {1: 400, 32: 100}
_FEWEST_CALLS = 5
# Seconds for each size of batch; of a model that takes longer fewer calls are timed.
_SECONDS = 5.0
_WARM_UP = 3
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
# Of Linux's proc(5): the peak of resident memory begins anew.
_NEW_PEAK = "5"


def cost_of(step: Step, predictor: Any, folder: Path, inputs: Sequence[Any]) -> Cost:
    """Return what it costs to ask a model of a folder; the inputs are taken in turn."""
    fresh = _begin_peak()
    speeds = []
    for number, (batch, calls) in enumerate(_CALLS.items()):
        step.check_stop()
        step.progress("timing answers", number, len(_CALLS), "sizes of batch")
        speeds.append(_speed(step, predictor, inputs, batch, calls))
    step.progress("timing answers", len(_CALLS), len(_CALLS), "sizes of batch")
    on_device = torch.cuda.is_available()
    return Cost(
        machine=_machine(),
        device=torch.cuda.get_device_name() if on_device else "cpu",
        threads=torch.get_num_threads(),
        warm_up=_WARM_UP,
        speeds=tuple(speeds),
        bytes=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        parameters=_parameters(predictor),
        peak_memory_mb=round(_peak() / 1e6, 1),
        peak_of="answering" if fresh else "process",
        peak_device_mb=round(torch.cuda.max_memory_allocated() / 1e6, 1) if on_device else None,
    )


def _speed(step: Step, predictor: Any, inputs: Sequence[Any], batch: int, calls: int) -> Speed:
    asked = [[inputs[(start + row) % len(inputs)] for row in range(batch)] for start in range(0, calls * batch, batch)]
    for each in asked[:_WARM_UP]:
        predictor.predict(each)
    seconds: list[float] = []
    given = []
    end = perf_counter() + _SECONDS
    for number in takewhile(lambda done: done < calls and (done < _FEWEST_CALLS or perf_counter() < end), count()):
        step.check_stop()
        begin = perf_counter()
        # Answers are arrays of this machine's memory: when they are there, an accelerator is done.
        given.append(predictor.predict(asked[number]))
        seconds.append(perf_counter() - begin)
    tokens = _tokens(predictor, asked[: len(given)], given)
    times_ms = 1000 * np.array(seconds)
    low, high = quantile_interval(times_ms, 0.99)
    return Speed(
        batch=batch,
        calls=len(seconds),
        p50_ms=round(float(np.quantile(times_ms, 0.5)), 3),
        p99_ms=round(float(np.quantile(times_ms, 0.99)), 3),
        p99_interval=(round(low, 3), round(high, 3)),
        rows_per_second=round(batch * len(seconds) / sum(seconds), 3),
        tokens_per_second=None if tokens is None else round(tokens / sum(seconds), 3),
    )


def _tokens(predictor: Any, asked: Sequence[Sequence[Any]], given: Sequence[Any]) -> int | None:
    """Return how many tokens the answers have of a model that writes texts, and the inputs of one that fills in masks;
    None of a model of which neither is the work."""
    if isinstance(predictor, CausalPredictor | TargetPredictor):
        texts = [str(answer) for answers in given for answer in answers]
    elif isinstance(predictor, MaskedPredictor):
        texts = [text for batch in asked for text in batch]
    else:
        return None
    return sum(len(ids) for ids in predictor.tokenizer.documents(texts))


def quantile_interval(values_N: "np.ndarray[Any, np.dtype[np.float64]]", share: float) -> tuple[float, float]:
    """Return the 95 % interval of a quantile from the order of values (Conover 1999, section 3.2).

    Its upper end is the largest value where there are too few for another, its lower end the smallest.
    """
    from scipy.stats import binom

    ordered = np.sort(values_N)
    low, high = (int(binom.ppf(tail, len(ordered), share)) for tail in (0.025, 0.975))
    point = float(np.quantile(ordered, share))
    return min(float(ordered[max(low - 1, 0)]), point), max(float(ordered[min(high, len(ordered) - 1)]), point)


def _parameters(predictor: Any) -> int:
    model = getattr(predictor, "model", None)
    return sum(each.numel() for each in model.parameters()) if isinstance(model, torch.nn.Module) else 0


def _begin_peak() -> bool:
    """Let the peak of memory begin anew; return whether that can be done here."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        _CLEAR.write_text(_NEW_PEAK)
    except OSError:
        return False
    return "VmHWM:" in _STATUS.read_text()


def _peak() -> int:
    """Return the most bytes of memory that the process had at a time, since they were last begun to be counted."""
    try:
        lines = _STATUS.read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if platform.system() == "Darwin" else 1024 * most


def _machine() -> str:
    """Return processor and system in words, and no name by which the machine could be found."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor() or platform.machine()
    return f"{usable_cores()} cores of {processor}, {platform.system()}, torch {torch.__version__}"
