"""A small GPT-2 learns the next token: modelmill's pretraining beside nanoGPT's loop, as its CPU example runs it.

    python -m benchmarks.pretrain_clm NANOGPT --json [--steps 600] [--rounds 5]

NANOGPT is a folder with nanoGPT's train.py, model.py and configurator.py; they run as they are, in a folder of their
own, with the options of its CPU example (4 layers of 128, 4 heads, rows of 64, 12 at once, no dropout, no translation).
Both learn from the same stream of tokens of film dialogue and reviews, for as many steps, at the same rates; ours is
translated (`compile`). The rate is of tokens a second once both have warmed up.
"""

import argparse
import pickle
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.documents import corpus, steady_rate
from benchmarks.measure import alternate, begin, options, report, step_in

_VOCABULARY = 1000
_ROW, _ROWS = 64, 12
_LR, _LR_FINAL, _WARMUP_STEPS, _DECAY, _BETA2 = 1e-3, 1e-4, 100, 0.1, 0.99
_ITERATION = re.compile(r"iter (\d+): loss ([\d.]+), time ([\d.]+)ms")
_EVALUATED = re.compile(r"step (\d+): train loss ([\d.]+), val loss ([\d.]+)")


def main() -> None:
    """Run the rounds and print the figures; as a child of itself, run one side once."""
    asked = options(__doc__)
    asked.add_argument("nanogpt", type=Path, metavar="NANOGPT")
    asked.add_argument("--steps", type=int, default=600)
    begin(asked.parse_args(), _measure, {"ours": _ours, "nanogpt": _nanogpt})


def _measure(folder: Path, given: argparse.Namespace) -> None:
    dataset = corpus(folder, {"kind": "bpe", "vocabulary": _VOCABULARY}, "causal-lm")
    told = [folder, dataset, given.nanogpt, "--steps", str(given.steps)]
    made = alternate("benchmarks.pretrain_clm", told, given.rounds, ("ours", "nanogpt"), "tokens/s")
    report(
        "pretrain_clm",
        unit="tokens/s",
        ours=made.rates["ours"],
        peer=made.rates["nanogpt"],
        peer_name="nanoGPT train.py, CPU example",
        steps=given.steps,
        **{name: made.facts["ours"][name] for name in ("data_wait_share", "checkpoint_share", "flop_utilisation")},
        **made.figures(),
    )


def _ours(folder: Path, dataset: str, given: argparse.Namespace) -> dict[str, Any]:
    from components.pretrain.run import run as pretrain
    from components.pretrain.settings import PretrainSettings

    settings = PretrainSettings.model_validate(
        {
            "objective": "causal-lm",
            "model": {"family": "gpt2", "layers": 4, "width": 128, "heads": 4},
            "max_tokens": _ROW,
            "steps": given.steps,
            "batch_rows": _ROWS,
            "lr": _LR,
            "schedule": "cosine",
            "lr_final": _LR_FINAL / _LR,
            "warmup": _WARMUP_STEPS / given.steps,
            "weight_decay": _DECAY,
            "optimizer": {"name": "adamw", "beta2": _BETA2, "epsilon": 1e-8},
            "compile": True,
            "seed": given.seed,
        }
    )
    step = step_in(folder, "pretrain")
    found = pretrain(step, settings, dataset, "").summary
    assert step.events.path is not None
    kept = ("validation_loss", "precision", "data_wait_share", "checkpoint_share", "flop_utilisation")
    return {"rate": steady_rate(step.events.path), **{name: found[name] for name in kept}}


def _nanogpt(folder: Path, dataset: str, given: argparse.Namespace) -> dict[str, Any]:
    place = Path(tempfile.mkdtemp(prefix="nanogpt-", dir=folder))
    for name in ("train.py", "model.py", "configurator.py"):
        shutil.copy(given.nanogpt / name, place / name)
    _stream(folder, dataset, place / "data" / "dialogue")
    options = {
        "dataset": "dialogue",
        "device": "cpu",
        "compile": False,
        "eval_iters": 100,
        "eval_interval": given.steps,
        "log_interval": 1,
        "gradient_accumulation_steps": 1,
        "block_size": _ROW,
        "batch_size": _ROWS,
        "n_layer": 4,
        "n_head": 4,
        "n_embd": 128,
        "dropout": 0.0,
        "max_iters": given.steps,
        "lr_decay_iters": given.steps,
        "learning_rate": _LR,
        "min_lr": _LR_FINAL,
        "warmup_iters": _WARMUP_STEPS,
        "beta2": _BETA2,
        # Its scaler for half precision warns and does nothing on a processor.
        "dtype": "float32",
    }
    command = [sys.executable, "train.py", *(f"--{name}={value}" for name, value in options.items())]
    done = subprocess.run(command, cwd=place, check=True, capture_output=True, text=True)
    times = [float(found[3]) for found in _ITERATION.finditer(done.stdout)]
    losses = [float(found[3]) for found in _EVALUATED.finditer(done.stdout)]
    rate = _ROWS * _ROW * 1000 / statistics.median(times[len(times) // 10 :])
    return {"rate": rate, "precision": "fp32", "validation_loss": losses[-1]}


def _stream(folder: Path, dataset: str, place: Path) -> None:
    """Write the documents of a dataset as nanoGPT reads them: end to end, an end after each."""
    import numpy as np

    from modelmill.dataset import open_dataset
    from modelmill.store import open_store
    from modelmill.training.packing import Documents

    place.mkdir(parents=True)
    opened = open_dataset(open_store(str(folder / "store")), dataset)
    for split, name in (("train", "train"), ("validation", "val")):
        documents = Documents.of(opened.schema, opened.batches(split, ["input_ids"]))
        documents.surrounded(None, opened.meta["special"]["sep"]).ids_S.astype(np.uint16).tofile(place / f"{name}.bin")
    (place / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": opened.meta["vocabulary"]}))


if __name__ == "__main__":
    main()
