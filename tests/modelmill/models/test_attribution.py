"""What moved an answer: the parts add up, whatever the model is, and the telling part is found."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.preprocess.settings import TokenizerSettings
from components.preprocess.tokenizer import train_tokenizer
from modelmill.models import attribution, text
from modelmill.models.architecture import Architecture
from modelmill.models.predict import load_predictor
from modelmill.models.text_predictor import TextPredictor
from modelmill.models.tokenizer import save_tokenizer
from modelmill.pictures.shape import PixelShape
from tests import pictures, published, samples
from tests.modelmill.models.test_image_predictor import predictor_for

LABELS = ["bad", "fair", "good"]
TEXTS = [one for one, _ in samples.reviews(70)]


def predictor_of(family: str, folder: Path, task: str = "text-classification") -> TextPredictor:
    """A classifier of a family with random weights, spread far enough that its answers differ."""
    torch.manual_seed(0)
    if family in {"roberta", "distilbert"}:
        published.model(family, folder)
        model: Any = text.classifier(folder, LABELS)
    else:
        tokenizer = train_tokenizer(TokenizerSettings(vocabulary=300), TEXTS)
        save_tokenizer(tokenizer, folder)
        shape = Architecture.model_validate({"family": family, "layers": 2, "width": 32, "heads": 2})
        model = text.classifier(text.new_config(shape, tokenizer.vocabulary, 32, 0), LABELS)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(2)
    text.save(model, folder)
    facts = {"task": task, "labels": LABELS, "max_tokens": 16}
    (folder / "modelmill.json").write_text(json.dumps(facts))
    found = load_predictor(folder)
    assert isinstance(found, TextPredictor)
    return found


@pytest.mark.parametrize("family", ["bert", "modernbert", "roberta", "distilbert"])
def test_a_texts_tokens_add_up_to_how_far_its_log_odds_moved(family: str, tmp_path: Path) -> None:
    predictor = predictor_of(family, tmp_path)
    asked = "a great film and its hollow plot"
    found = attribution.of_text(predictor, asked, 1)
    ((ids_T, _),) = predictor.rows([asked])
    assert len(found.weights) == len(ids_T)
    assert found.converged
    assert found.weights.sum() == pytest.approx(found.moved + found.delta, rel=1e-3, abs=1e-4)
    # The frame is the same in the blank text.
    assert found.weights[[0, -1]] == pytest.approx([0, 0])
    probability = predictor.predict([asked])[0, 1]
    blank = np.log(probability / (1 - probability)) - found.moved
    assert np.isfinite(blank)
    assert np.abs(found.weights[1:-1]).max() > 0


def test_the_second_text_of_a_pair_is_told_too(tmp_path: Path) -> None:
    predictor = predictor_of("bert", tmp_path, "pair-classification")
    asked = {"text": "a great film", "pair": "its hollow plot"}
    found = attribution.of_text(predictor, asked, 2)
    ((ids_T, second),) = predictor.rows([asked])
    assert len(found.weights) == len(ids_T)
    assert np.abs(found.weights[second:-1]).max() > 0
    assert found.weights[second - 1] == pytest.approx(0)


def test_pixels_that_a_network_never_sees_moved_nothing(tmp_path: Path) -> None:
    shape = PixelShape(size=16, channels=1, resize="crop", gray=True)
    predictor = predictor_for(tmp_path, shape)
    with torch.no_grad():
        # Only the left half of the pooled maps is read.
        weight = predictor.model.network.get_parameter("fc1.weight")
        weight.view(len(weight), 16, 2, 2)[:, :, :, 1] = 0
    picture = pictures.encoded(pictures.halves(1)[0][0])
    found = attribution.of_picture(predictor, picture, 0)
    assert found.weights.shape == (16, 16)
    assert np.abs(found.weights[:, :8]).max() > 0
    assert found.weights[:, 14:] == pytest.approx(np.zeros((16, 2)))
    assert found.weights.sum() == pytest.approx(found.moved + found.delta, rel=1e-3, abs=1e-4)


def test_a_pixel_of_the_mean_colour_moved_nothing(tmp_path: Path) -> None:
    predictor = predictor_for(tmp_path, PixelShape(size=16, channels=1, resize="crop", gray=True))
    mean = predictor.model.config.mean[0]
    # 0.3 of 255 is 76.5, which no byte is: the nearest one moves next to nothing.
    plain = np.full((16, 16), round(255 * mean), dtype=np.uint8)
    plain[4, 4] = 255
    weights = attribution.of_picture(predictor, pictures.encoded(plain), 0).weights
    assert int(np.abs(weights).argmax()) == 4 * 16 + 4
    others = np.delete(weights.ravel(), 4 * 16 + 4)
    assert np.abs(others).max() < 0.05 * abs(weights[4, 4])


def test_more_steps_are_taken_until_the_parts_add_up() -> None:
    taken = []

    def explain(steps: int) -> tuple[torch.Tensor, torch.Tensor]:
        taken.append(steps)
        return torch.ones(1, 3), torch.tensor([64.0 / steps])

    found = attribution._attribution(explain, torch.tensor([10.0]), lambda parts: parts[0], 2.0)
    assert taken == [64, 128]
    assert (found.steps, found.converged, found.moved, found.delta) == (128, True, 20.0, 1.0)
    rough = attribution._attribution(
        lambda _steps: (torch.ones(1, 3), torch.tensor([5.0])), torch.tensor([10.0]), lambda parts: parts[0]
    )
    assert (rough.steps, rough.converged) == (512, False)
