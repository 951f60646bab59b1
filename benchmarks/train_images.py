"""ResNet-18 on Fashion-MNIST at 32 x 32: modelmill's fine-tuning beside torchvision's reference training loop.

    python -m benchmarks.train_images --json [--sample 0.08] [--rounds 5] [--source FOLDER]

Both learn from the same stored pictures for one epoch, with the same network, changes of pictures, optimiser and rate;
each takes the precision that it takes by itself: modelmill measures, the reference loop uses fp32. The peer is the
loop of torchvision's references/classification/train.py: a Dataset of PIL pictures, transforms, a DataLoader.
"""

import argparse
import math
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import alternate, begin, options, report, step_in

_SOURCE = "/usr/share/datasets/fashion-mnist"
_SIDE = 32
_BATCH_ROWS = 64
_LR = 1e-3
_WARMUP = 0.1
_DECAY = 0.01


def main() -> None:
    """Run the rounds and print the figures; as a child of itself, run one side once."""
    asked = options(__doc__)
    asked.add_argument("--sample", type=float, default=0.08, help="share of the 70,000 pictures")
    asked.add_argument("--workers", type=int, default=2, help="of the peer's DataLoader")
    asked.add_argument("--source", type=Path, default=Path(_SOURCE), help="folder of the IDX files")
    begin(asked.parse_args(), _measure, {"ours": _ours, "reference": _reference})


def _measure(folder: Path, given: argparse.Namespace) -> None:
    dataset = _prepare(folder, given)
    told = [folder, dataset, "--workers", str(given.workers)]
    made = alternate("benchmarks.train_images", told, given.rounds, ("ours", "reference"), "pictures/s")
    report(
        "train_images",
        unit="pictures/s",
        ours=made.rates["ours"],
        peer=made.rates["reference"],
        peer_name="torchvision references/classification loop with DataLoader",
        pictures=made.facts["ours"]["pictures"],
        data_wait_share=made.facts["ours"]["data_wait_share"],
        **made.figures(),
    )


def _prepare(folder: Path, given: argparse.Namespace) -> str:
    """Return the address of the pixels that both sides learn from."""
    from components.ingest.run import run as ingest
    from components.ingest.settings import IngestSettings
    from components.preprocess.run import run as preprocess
    from components.preprocess.settings import PreprocessSettings
    from modelmill.sources import pin

    source = {"uri": str(given.source), "sample": given.sample}
    told = IngestSettings.model_validate({"task": "image-classification", "labelled": [source]})
    labelled = ingest(step_in(folder, "ingest"), told, pin(told.uris)).labelled
    settings = PreprocessSettings.model_validate({"task": "image-classification", "images": {"size": _SIDE}})
    return preprocess(step_in(folder, "preprocess"), settings, "", labelled, "").labelled


def _ours(folder: Path, dataset: str, given: argparse.Namespace) -> dict[str, Any]:
    from components.finetune.run import run as finetune
    from components.finetune.settings import FinetuneSettings

    settings = FinetuneSettings.model_validate(
        {
            "task": "image-classification",
            "model": {"family": "resnet18"},
            "epochs": 1,
            "batch_rows": _BATCH_ROWS,
            "lr": _LR,
            "warmup": _WARMUP,
            "weight_decay": _DECAY,
            "augment": {"crop": 4, "flip": True},
            "seed": given.seed,
        }
    )
    found = finetune(step_in(folder, "finetune"), settings, dataset, "", "").summary
    kept = ("validation_loss", "precision", "data_wait_share")
    return {"rate": found["samples_per_second"], "pictures": _rows(folder, dataset), **{k: found[k] for k in kept}}


def _rows(folder: Path, dataset: str) -> int:
    from modelmill.dataset import open_dataset
    from modelmill.store import open_store

    return open_dataset(open_store(str(folder / "store")), dataset).rows("train")


def _reference(folder: Path, dataset: str, given: argparse.Namespace) -> dict[str, Any]:
    import torch
    from torch import nn
    from torch.utils.data import DataLoader

    torch.manual_seed(given.seed)
    pictures, batches = _loaders(folder, dataset, given)
    model = _resnet()
    optimizer = torch.optim.AdamW(model.parameters(), lr=_LR, betas=(0.9, 0.999), eps=1e-6, weight_decay=_DECAY)
    steps = len(batches["train"])
    rising = _WARMUP * steps
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda at: (at + 1) / (rising + 1) if at < rising else (steps - at) / (steps - rising)
    )
    criterion = nn.CrossEntropyLoss()
    model.train()
    began = time.perf_counter()
    seen = 0
    loader: DataLoader[Any] = batches["train"]
    for image, target in loader:
        output = model(image)
        loss = criterion(output, target)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        # The reference's meters read the loss and the accuracy of every step.
        seen += len(target)
        if not math.isfinite(loss.item()):
            raise SystemExit(f"the loss is {loss.item()}")
        (output.argmax(1) == target).float().mean().item()
    rate = seen / (time.perf_counter() - began)
    model.eval()
    total = 0.0
    with torch.inference_mode():
        for image, target in batches["validation"]:
            total += nn.functional.cross_entropy(model(image), target, reduction="sum").item()
    return {"rate": rate, "pictures": seen, "precision": "fp32", "validation_loss": total / pictures["validation"]}


def _loaders(folder: Path, dataset: str, given: argparse.Namespace) -> tuple[dict[str, int], dict[str, Any]]:
    import numpy as np
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset, RandomSampler
    from torchvision import transforms

    from modelmill.dataset import open_dataset
    from modelmill.store import open_store

    class Stored(Dataset[Any]):
        """As torchvision's own MNIST: an array, each row of it made a PIL picture and sent through transforms."""

        def __init__(self, table: Any, transform: Any) -> None:
            data = np.frombuffer(b"".join(table["pixels"].to_pylist()), dtype=np.uint8)
            self.data, self.targets = data.reshape(-1, _SIDE, _SIDE), table["label"].to_pylist()
            self.transform = transform

        def __len__(self) -> int:
            return len(self.data)

        def __getitem__(self, index: int) -> tuple[Any, int]:
            return self.transform(Image.fromarray(self.data[index])), self.targets[index]

    opened = open_dataset(open_store(str(folder / "store")), dataset)
    plain = [transforms.ToTensor(), transforms.Normalize(opened.meta["mean"], opened.meta["deviation"])]
    changed = [transforms.RandomCrop(_SIDE, padding=4), transforms.RandomHorizontalFlip(), *plain]
    parts = {
        name: Stored(opened.table(name), transforms.Compose(changed if name == "train" else plain))
        for name in ("train", "validation")
    }
    loaders = {
        name: DataLoader(
            part,
            batch_size=_BATCH_ROWS,
            sampler=RandomSampler(part) if name == "train" else None,
            num_workers=given.workers,
        )
        for name, part in parts.items()
    }
    return {name: len(part) for name, part in parts.items()}, loaders


def _resnet() -> Any:
    """Return the network that modelmill builds for small gray pictures."""
    from torch import nn
    from torchvision import models

    net = models.resnet18(num_classes=10)
    net.conv1 = nn.Conv2d(1, 64, 3, padding=1, bias=False)
    net.maxpool = nn.Identity()
    nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
    return net


if __name__ == "__main__":
    main()
