"""A BERT of 4 layers of 256 learns hidden tokens: modelmill's pretraining beside transformers.Trainer.

    python -m benchmarks.pretrain_mlm --json [--steps 400] [--rounds 5]

Both learn from the same documents of 8 to 128 tokens under the same tokenizer of 16,000, with the same model, optimiser
and rates, for about as many real tokens. Trainer has its standard collator for masked language models and the faster of
its two precisions, tried first. The rate is of real tokens, padding not counted, once both have warmed up; start-up and
modelmill's translation are told apart, as `start_seconds`. In the end both models guess the same hidden tokens of the
same documents, one document a row.
"""

import argparse
import json
import math
import statistics
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.documents import corpus, steady_rate, token_lists
from benchmarks.measure import alternate, begin, faster_precision, options, report, step_in
from benchmarks.trainer import arguments, clock

_VOCABULARY = 16_000
_ROW = 128
_ROWS = 8
_LR, _WARMUP, _DECAY = 1e-3, 0.1, 0.01
_SHAPE: dict[str, Any] = {"family": "bert", "layers": 4, "width": 256, "heads": 4}


def main() -> None:
    """Run the rounds and print the figures; as a child of itself, run one side once."""
    asked = options(__doc__)
    asked.add_argument("--steps", type=int, default=120, help=f"of {_ROWS} rows of {_ROW} tokens")
    asked.add_argument("--no-compile", action="store_true", help="leave modelmill's model untranslated")
    asked.add_argument("--precision", default="auto", help=argparse.SUPPRESS)
    begin(asked.parse_args(), _measure, {"ours": _ours, "trainer": _trainer})


def _measure(folder: Path, given: argparse.Namespace) -> None:
    dataset = corpus(folder, {"kind": "wordpiece", "vocabulary": _VOCABULARY})
    precision = faster_precision("benchmarks.pretrain_mlm", ["trainer", folder, dataset], "tokens/s")
    told = [folder, dataset, "--steps", str(given.steps), "--precision", precision]
    told += ["--no-compile"] if given.no_compile else []
    made = alternate("benchmarks.pretrain_mlm", told, given.rounds, ("ours", "trainer"), "tokens/s")
    report(
        "pretrain_mlm",
        unit="real tokens/s",
        ours=made.rates["ours"],
        peer=made.rates["trainer"],
        peer_name="transformers.Trainer with DataCollatorForLanguageModeling",
        steps=given.steps,
        compiled=not given.no_compile,
        start_seconds={side: each["start_seconds"] for side, each in made.facts.items()},
        tokens={side: each["tokens"] for side, each in made.facts.items()},
        **{name: made.facts["ours"][name] for name in ("data_wait_share", "checkpoint_share", "flop_utilisation")},
        **made.figures(),
    )


def _ours(folder: Path, dataset: str, given: argparse.Namespace) -> dict[str, Any]:
    from components.pretrain.run import run as pretrain
    from components.pretrain.settings import PretrainSettings
    from modelmill.models.folder import fetch_model

    settings = PretrainSettings.model_validate(
        {
            "objective": "masked-lm",
            "model": _SHAPE,
            "max_tokens": _ROW,
            "steps": given.steps,
            "batch_rows": _ROWS,
            "lr": _LR,
            "warmup": _WARMUP,
            "weight_decay": _DECAY,
            "compile": not given.no_compile,
            "seed": given.seed,
        }
    )
    step = step_in(folder, "pretrain")
    began = time.time()
    made = pretrain(step, settings, dataset, "")
    events = step.events.path
    assert events is not None
    fetch_model(step.store, made.model, step.scratch / "made")
    kept = ("precision", "data_wait_share", "checkpoint_share", "flop_utilisation")
    return {
        "rate": steady_rate(events),
        "start_seconds": round(_first_step(events) - began, 1),
        "tokens": given.steps * _ROWS * _ROW,
        "validation_loss": _judged(step.scratch / "made", folder, dataset),
        **{name: made.summary[name] for name in kept},
    }


def _first_step(events: Path) -> float:
    told = map(json.loads, events.read_text().splitlines())
    return next(
        each["time"] for each in told if each["kind"] == "progress" and each["what"] == "pretrain" and each["done"]
    )


def _trainer(folder: Path, dataset: str, given: argparse.Namespace) -> dict[str, Any]:
    import torch
    from transformers import DataCollatorForLanguageModeling, Trainer

    tokenizer = _tokenizer(folder, dataset)
    rows = _rows(folder, dataset, "train", tokenizer)
    mean = sum(len(row["input_ids"]) for row in rows) / len(rows)
    # As many real tokens in a step as the other side has.
    batch = round(_ROWS * _ROW / mean)
    torch.manual_seed(given.seed)
    model = _bert(len(tokenizer))
    ticks = clock()
    told = arguments(
        folder,
        given,
        per_device_train_batch_size=batch,
        learning_rate=_LR,
        warmup_steps=round(_WARMUP * given.steps),
        weight_decay=_DECAY,
    )
    began = time.perf_counter()
    trainer = Trainer(
        model=model,
        args=told,
        train_dataset=rows,
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=True, mlm_probability=0.15),
        callbacks=[ticks],
    )
    trainer.train()
    warm = len(ticks.ends) // 10
    steps = [after - before for before, after in pairwise(ticks.ends[warm:])]
    out = folder / f"trainer-{given.seed}-model"
    model.save_pretrained(out)
    return {
        # Its batches are drawn, so their real tokens are their number times the documents' mean.
        "rate": batch * mean / statistics.fmean(steps),
        "start_seconds": round(ticks.ends[0] - began, 1),
        "tokens": round(batch * mean * given.steps),
        "precision": given.precision,
        "validation_loss": _judged(out, folder, dataset),
    }


def _bert(vocabulary: int) -> Any:
    """Return a model of the same shape as modelmill's, from random weights."""
    from transformers import BertConfig, BertForMaskedLM

    return BertForMaskedLM(
        BertConfig(
            vocab_size=vocabulary,
            hidden_size=_SHAPE["width"],
            num_hidden_layers=_SHAPE["layers"],
            num_attention_heads=_SHAPE["heads"],
            intermediate_size=1024,
            max_position_embeddings=_ROW,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )


def _rows(folder: Path, dataset: str, split: str, tokenizer: Any) -> list[dict[str, list[int]]]:
    """Return the documents of a split, one a row, between the tokens that frame it."""
    first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
    return [{"input_ids": [first, *ids[: _ROW - 2], last]} for ids in token_lists(folder, dataset, split)]


def _tokenizer(folder: Path, dataset: str) -> Any:
    from transformers import AutoTokenizer

    from modelmill.dataset import open_dataset
    from modelmill.store import open_store

    at = folder / "tokenizer"
    open_dataset(open_store(str(folder / "store")), dataset).fetch_attachments(at, "tokenizer/")
    return AutoTokenizer.from_pretrained(at)


def _judged(model: Path, folder: Path, dataset: str, most: int = 1000) -> float:
    """Return the mean loss of hidden tokens, the same for every model, by transformers' own forward pass."""
    import torch
    from transformers import BertForMaskedLM, DataCollatorForLanguageModeling

    tokenizer = _tokenizer(folder, dataset)
    rows = _rows(folder, dataset, "validation", tokenizer)[:most]
    collate = DataCollatorForLanguageModeling(tokenizer, mlm=True, mlm_probability=0.15)
    judge = BertForMaskedLM.from_pretrained(model).eval()
    torch.manual_seed(1)
    loss = count = 0.0
    with torch.inference_mode():
        for at in range(0, len(rows), 50):
            batch = collate(rows[at : at + 50])
            hidden = int((batch["labels"] != -100).sum())
            loss += float(judge(**batch).loss) * hidden
            count += hidden
    assert math.isfinite(loss)
    return loss / count


if __name__ == "__main__":
    main()
