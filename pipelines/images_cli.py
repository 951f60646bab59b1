"""`modelmill images …`: the container images from the command line."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelmill.errors import ModelmillError, UserError
from pipelines.saying import Json, say

if TYPE_CHECKING:
    from modelmill.images import ImageKind

images_app = typer.Typer(
    help="Container images of the steps: built, pushed, and their digests for a profile.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Kinds = Annotated[list[str] | None, typer.Argument(metavar="[data] [train]", help="Both if left out.")]


@images_app.command()
def build(
    kinds: Kinds = None,
    base: Annotated[
        str | None, typer.Option(metavar="IMAGE", help="Has Python 3.11 and pip; else the Dockerfile's.")
    ] = None,
    lock: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Packages of the one image named; else the Dockerfile's."),
    ] = None,
    network: Annotated[str | None, typer.Option(help="Of the build, as `docker build --network`.")] = None,
    as_json: Json = False,
) -> None:
    """Build the images on this machine's Docker engine, under the names that pipelines use.

    pip is told what PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_TRUSTED_HOST and PIP_CERT say here; no image keeps it.
    """
    from pipelines import images

    chosen = _kinds(kinds)
    if lock is not None and len(chosen) > 1:
        raise UserError("--lock is of one image; name it: `modelmill images build train --lock FILE`")
    how = images.Build(base=base, lock=lock, network=network)
    _tell(as_json, [images.build(kind, how) for kind in chosen])


@images_app.command()
def push(kinds: Kinds = None, as_json: Json = False) -> None:
    """Push the images to the registry that MODELMILL_REGISTRY named when they were built, and tell their digests."""
    from pipelines import images

    _tell(as_json, [images.push(kind) for kind in _kinds(kinds)])


@images_app.command("list")
def list_images(as_json: Json = False) -> None:
    """List the images of this version: their names, and which this machine's Docker engine has."""
    from pipelines import images
    from pipelines.engine import engine

    with engine() as client:
        _tell(as_json, [images.described(kind, client) for kind in images.KINDS])


@images_app.command()
def digests(as_json: Json = False) -> None:
    """Print the `images:` of a profile, which pins each image that was pushed by its digest."""
    from pipelines import images
    from pipelines.engine import engine

    with engine() as client:
        found = [images.described(kind, client) for kind in images.KINDS]
    pinned = {one["kind"]: one["digest"] for one in found if one["digest"]}
    if not pinned:
        raise ModelmillError("no image of this version was pushed from here; `modelmill images push` does")
    lines = ["images:", *(f"  {kind}: {digest}" for kind, digest in pinned.items())]
    say(as_json, {"images": pinned}, lambda: "\n".join(lines))


def _kinds(words: list[str] | None) -> list["ImageKind"]:
    from modelmill.sources import nearest
    from pipelines.images import KINDS

    for word in words or ():
        if word not in KINDS:
            raise UserError(f"{word}: no such image{nearest(word, KINDS) or '; data or train'}")
    return [kind for kind in KINDS if not words or kind in words]


def _tell(as_json: bool, found: list[dict[str, Any]]) -> None:
    say(as_json, {"images": found}, lambda: "\n".join(map(_line, found)))


def _line(one: dict[str, Any]) -> str:
    if not one["there"]:
        return f"{one['name']}  not there: `make images` builds it"
    known = one["digest"].rpartition("@")[2] or f"not pushed; here {one['id'][:19]}"
    return f"{one['name']}  {one['bytes'] / 1e6:,.0f} MB  {known}"
