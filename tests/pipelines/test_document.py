"""YAML with places: what a value is, where it was said, and what is refused."""

from pathlib import Path

import pytest

from modelmill.errors import UserError
from pipelines.document import override, parse_value, read


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("8.0e-5", 8.0e-5),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("64", 64),
        ("010", 10),
        ("-3", -3),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("12:30:45", "12:30:45"),
        ("2026-01-31", "2026-01-31"),
        ("0x1f", "0x1f"),
        ("[1, two]", [1, "two"]),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


def test_every_key_knows_its_line(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("name: x\ningest:\n  labelled:\n    - uri: a.csv\n      format: csv\n    - uri: b.csv\n")
    document = read(path)
    assert document.place(("name",)).line == 1
    assert document.place(("ingest", "labelled", 0, "format")).line == 5
    assert document.place(("ingest", "labelled", 1)).line == 6
    assert document.place(("ingest", "missing", "deeper")).line == 2


def test_a_recipe_that_extends_another_overrides_it_key_by_key_and_keeps_both_places(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("name: x\nfinetune:\n  lr: 1e-4\n  epochs: 2\n")
    (tmp_path / "sub").mkdir()
    tiny = tmp_path / "sub" / "tiny.yaml"
    tiny.write_text("extends: ../base.yaml\nfinetune:\n  epochs: 1\n")
    document = read(tiny)
    assert document.data == {"name": "x", "finetune": {"lr": 1e-4, "epochs": 1}}
    assert str(document.place(("finetune", "epochs"))).endswith("tiny.yaml:3")
    assert str(document.place(("finetune", "lr"))).endswith("base.yaml:3")
    assert document.place(("finetune", "lr")).folder == tmp_path


def test_a_list_or_a_null_replaces_what_it_overrides(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("labelled: [{uri: a}, {uri: b}]\npretrain: {steps: 3}\n")
    (tmp_path / "tiny.yaml").write_text("extends: base.yaml\nlabelled: [{uri: c}]\npretrain: null\n")
    assert read(tmp_path / "tiny.yaml").data == {"labelled": [{"uri": "c"}], "pretrain": None}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("- a\n- b\n", ":1: wants keys, each with a value, this is list"),
        ("name: x\nname: y\n", ":2: name: said twice; it stands on line 1 already"),
        ("name: [1\n", "not YAML"),
        ("a: b: c\n", ":1: not YAML"),
        ("name: !!python/object/apply:os.system ['false']\n", "not YAML"),
        ("extends: nowhere.yaml\n", ":1: extends: there is no file"),
        ("extends: 3\n", "extends: wants the path of a file, got 3"),
        ("extends: recipe.yaml\n", "extends itself"),
    ],
)
def test_what_is_no_recipe_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read(path)
    assert message in str(error.value)
    assert "recipe.yaml" in str(error.value)


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"name: caf\xe9\n")
    with pytest.raises(UserError, match=r"recipe\.yaml: cannot be read"):
        read(path)


def test_an_override_is_a_value_of_yaml_at_its_place(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("finetune: {lr: 1}\nlabelled: [{uri: a}]\n")
    document = read(path)
    override(document, "finetune.lr=1e-4")
    override(document, "labelled.0.uri=b=c.csv")
    override(document, "pretrain.model.layers=2")
    assert document.data["finetune"] == {"lr": 1e-4}
    assert document.data["labelled"] == [{"uri": "b=c.csv"}]
    assert document.data["pretrain"] == {"model": {"layers": 2}}
    assert str(document.place(("finetune", "lr"))) == "--set finetune.lr=1e-4"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("finetune.lr", "wants KEY=VALUE"),
        ("=3", "wants KEY=VALUE"),
        ("name.deep=3", "name is a single value"),
        ("labelled.7.uri=x", "labelled is a list of 1; 7 is not a position"),
        ("labelled.uri=x", "'uri' is not a position"),
        ("finetune.lr=[1", "the value is not YAML"),
    ],
)
def test_an_override_that_cannot_be_is_refused(tmp_path: Path, setting: str, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("name: x\nlabelled: [{uri: a}]\n")
    with pytest.raises(UserError) as error:
        override(read(path), setting)
    assert message in str(error.value)
