from typing import Any

import pytest
from pydantic import ValidationError

from components.pretrain.settings import Pretrain
from modelmill.models.architecture import Architecture


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give either base .* or model .*; neither is there"),
        ({"base": "folder", "model": {"layers": 1}}, "both are there"),
        ({"base": "folder", "objective": "masked"}, "masked-lm"),
        ({"base": "folder", "steps": 0}, "greater than or equal to 1"),
        ({"base": "folder", "mask_rate": 0}, "greater than 0"),
        ({"base": "folder", "mask_rate": 1}, "less than 1"),
        ({"base": "folder", "lr": 0}, "greater than 0"),
        ({"base": "folder", "lr": "fast"}, "valid number"),
        ({"base": "folder", "precision": "fp8"}, "auto"),
        ({"base": "folder", "lrr": 1}, "Extra inputs are not permitted"),
        ({"model": {"width": 100, "heads": 3}}, r"width \(100\) must be a multiple of heads \(3\)"),
        ({"model": {"family": "gpt"}}, "bert"),
    ],
)
def test_contradictions_and_values_out_of_range_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Pretrain.model_validate(given)


def test_a_shape_needs_no_more_than_what_differs_from_the_default() -> None:
    assert Architecture(width=64) == Architecture(family="bert", layers=4, width=64, heads=4, feed_forward=None)
