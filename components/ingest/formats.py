"""Formats of raw files, and how a file's name tells its own."""

import re
from typing import Literal

Format = Literal[
    "csv", "tsv", "jsonl", "parquet", "squad", "imdb", "text", "html",
    "image", "zip", "tar", "webdataset", "idx", "cifar",
]  # fmt: skip

COMPRESSIONS = {".gz": "gzip", ".tgz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd", ".zstd": "zstd"}
_FORMATS: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".txt": "text",
    ".text": "text",
    ".md": "text",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".zip": "zip",
    ".tar": "tar",
    ".tgz": "tar",
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"), "image"),
}
DELIMITED = ("csv", "tsv")


def format_of(name: str) -> Format | None:
    """Return the format that a file's name tells, also under .gz, .bz2, .xz and .zst."""
    lowered = name.lower()
    for ending in COMPRESSIONS:
        lowered = lowered.removesuffix(ending)
    if re.search(r"idx[13]-ubyte$", lowered):
        return "idx"
    if re.search(r"(data|test)_batch(_\d+)?\.bin$|cifar-10-binary\.(tar|tgz)$", lowered):
        return "cifar"
    return next((kind for ending, kind in _FORMATS.items() if lowered.endswith(ending)), None)
