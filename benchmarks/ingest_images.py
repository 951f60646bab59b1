"""PNG files to Parquet: modelmill's ingest beside Hugging Face datasets' imagefolder and to_parquet on the same files.

    python -m benchmarks.ingest_images --json [--pictures 70000] [--rounds 1] [--source FOLDER]

The pictures are Fashion-MNIST's (Debian's dataset-fashion-mnist), written as PNG files in a folder for each class.
Measured with every picture decoded, checked and compared, and with the checks off.
"""

import argparse
import gzip
import io
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import report, run, say

_SOURCE = "/usr/share/datasets/fashion-mnist"


def main() -> None:
    """Run the rounds and print the figures; as a child of itself, run one side once."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--json", action="store_true", help="the object alone, without a word on the way")
    options.add_argument("--pictures", type=int, default=70_000)
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--source", type=Path, default=Path(_SOURCE), help="folder of the IDX files")
    options.add_argument("--side", nargs=3, metavar=("SIDE", "FOLDER", "OUT"), help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.side is not None:
        side, folder, out = given.side
        print(json.dumps({"seconds": _once(side, Path(folder), Path(out))}))
        return
    with tempfile.TemporaryDirectory() as folder:
        _measure(Path(folder), given)


def _measure(folder: Path, given: argparse.Namespace) -> None:
    count = _write(folder / "pictures", given.source, given.pictures)
    rates: dict[str, list[float]] = {"checked": [], "unchecked": [], "datasets": []}
    memory = {}
    for number in range(given.rounds):
        for side, found in rates.items():
            command = [sys.executable, "-m", "benchmarks.ingest_images", "--side", side, folder / "pictures"]
            made = run([*command, folder / f"{side}-{number}"])
            found.append(count / made.output["seconds"])
            memory[side] = made.peak_memory_mb
            say(f"round {number + 1}: {side} {found[-1]:,.0f} pictures/s, {made.peak_memory_mb} MB")
    peer = statistics.median(rates["datasets"])
    report(
        "ingest_images",
        unit="pictures/s",
        ours=rates["checked"],
        peer=rates["datasets"],
        peer_name="datasets imagefolder to_parquet",
        pictures=count,
        unchecked=round(statistics.median(rates["unchecked"])),
        unchecked_ratio=round(statistics.median(rates["unchecked"]) / peer, 2),
        peak_memory_mb=memory,
    )


def _write(folder: Path, source: Path, most: int) -> int:
    from PIL import Image

    count = 0
    for part in ("train", "t10k"):
        images = gzip.decompress((source / f"{part}-images-idx3-ubyte.gz").read_bytes())[16:]
        labels = gzip.decompress((source / f"{part}-labels-idx1-ubyte.gz").read_bytes())[8:]
        for number, label in enumerate(labels):
            if count == most:
                return count
            path = folder / str(label) / f"{part}-{number:05}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.frombytes("L", (28, 28), images[number * 784 : (number + 1) * 784]).save(path)
            count += 1
    return count


def _once(side: str, folder: Path, out: Path) -> float:
    start = time.perf_counter()
    if side == "datasets":
        _datasets(folder, out)
    else:
        _modelmill(folder, out, check=side == "checked")
    return time.perf_counter() - start


def _datasets(folder: Path, out: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    made = datasets.load_dataset("imagefolder", data_dir=str(folder), split="train", cache_dir=str(out / "cache"))
    buffer = io.BytesIO()
    made.to_parquet(buffer)
    (out / "pictures.parquet").write_bytes(buffer.getvalue())


def _modelmill(folder: Path, out: Path, *, check: bool) -> None:
    from components.ingest.run import run as ingest
    from components.ingest.settings import IngestSettings
    from modelmill.events import Events
    from modelmill.sources import pin
    from modelmill.step import Step
    from modelmill.store import open_store

    scratch = out / "scratch"
    scratch.mkdir(parents=True)
    step = Step(name="ingest", store=open_store(str(out / "store")), scratch=scratch, events=Events("ingest", None))
    settings = IngestSettings.model_validate(
        {
            "task": "image-classification",
            "labelled": [{"uri": str(folder), "format": "image"}],
            "images": {"check": check, "near_min_side": 28, "near_duplicates": 0},
        }
    )
    ingest(step, settings, pin(settings.uris))


if __name__ == "__main__":
    main()
