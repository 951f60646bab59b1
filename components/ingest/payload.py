"""What a row holds beside its id and its place: a text, or a picture."""

from dataclasses import dataclass

import pyarrow as pa

from modelmill.settings import Task


@dataclass(frozen=True, kw_only=True)
class Payload:
    """The columns of a row while it is on its way, and what of them a dataset stores."""

    columns: pa.Schema
    """On the way."""
    stored: tuple[tuple[str, pa.DataType], ...]
    """In a dataset, by name and type."""
    content: str
    """The column that is large: shards are cut by its bytes."""
    shown: str
    """The column that a person sees of a dropped row."""
    corpus_kind: str
    """What the corpus calls itself in its manifest."""
    labelled_kind: str
    """What the labelled dataset calls itself."""


TEXT = Payload(
    columns=pa.schema([("text", pa.large_string())]),
    stored=(("text", pa.string()),),
    content="text",
    shown="text",
    corpus_kind="text",
    labelled_kind="labelled-text",
)
IMAGE = Payload(
    columns=pa.schema(
        [
            ("image", pa.large_binary()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("name", pa.string()),
            ("flags", pa.uint8()),
        ]
    ),
    # Not the name: the same picture in another folder is the same row.
    stored=(("image", pa.binary()), ("width", pa.int32()), ("height", pa.int32())),
    content="image",
    shown="name",
    corpus_kind="images",
    labelled_kind="labelled-images",
)


def payload_of(task: Task) -> Payload:
    """Return what the rows of a task hold."""
    return IMAGE if task == "image-classification" else TEXT
