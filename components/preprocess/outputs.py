"""What preprocessing is given and what it makes, whatever the data are."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Addresses of ingest's datasets, '' where there is none, and the pin of the base model, '' for none."""

    corpus: str
    labelled: str
    base: str


@dataclass(frozen=True, kw_only=True)
class PreprocessOutputs:
    """Addresses of what was made ('' where there was nothing to make it from), and its main figures."""

    corpus: str
    labelled: str
    made_corpus: str
    made_labelled: str
    summary: dict[str, Any]
