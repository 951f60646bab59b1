"""The container images' names: the only place that knows them."""

import os
from typing import Literal

from modelmill import __version__
from modelmill.version import code_digest

ImageKind = Literal["data", "train"]
"""`data` has no torch and runs all steps but the three model steps, which `train` runs."""

REGISTRY_VARIABLE = "MODELMILL_REGISTRY"


def image(kind: ImageKind, registry: str | None = None) -> str:
    """Return the full name of the image of a kind: registry, version, and a digest of code and lock as the tag.

    The tag is a part of every cache key, so a step never answers from the cache of other code.
    """
    if registry is None:
        registry = os.environ.get(REGISTRY_VARIABLE, "localhost")
    return f"{registry}/modelmill-{kind}:{__version__}-{code_digest()[:12]}"


def kind_of(name: str) -> ImageKind:
    """Return the kind of an image that `image` named."""
    return "train" if name.rpartition("/")[2].startswith("modelmill-train:") else "data"
