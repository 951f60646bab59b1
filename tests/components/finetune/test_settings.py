from typing import Any

import pytest
from pydantic import ValidationError

from components.finetune.settings import Finetune, FinetuneSettings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"strategy": "adapter"}, "'full', 'head', 'last', 'layers', 'lora'"),
        ({"strategy": "last"}, "strategy.last.layers"),
        ({"strategy": {"name": "lora", "layers": 2}}, "Extra inputs are not permitted"),
        ({"strategy": {"name": "layers", "weights": []}}, "at least 1 item"),
        ({"optimizer": "adagrad"}, "'sgd', 'adam', 'adamw', 'rmsprop', 'adadelta', 'adafactor'"),
        ({"optimizer": {"name": "sgd", "beta1": 0.9}}, "Extra inputs are not permitted"),
        (
            {"optimizer": {"name": "sgd", "momentum": 0.0, "nesterov": True}},
            "momentum is 0; raise it or leave nesterov",
        ),
        ({"schedule": "step"}, "warmup-stable-decay"),
        ({"on_spike": "roll_back"}, "give checkpoint_steps"),
        ({"clip": 0}, "greater than 0"),
        ({"ema": 1.0}, "less than 1"),
        ({"layer_decay": 0}, "greater than 0"),
        ({"epochs": 0}, "greater than or equal to 1"),
        ({"epochs": 1.5}, "valid integer"),
        ({"warmup": 1.0}, "less than 1"),
        ({"dropout": -0.1}, "greater than or equal to 0"),
        ({"seed": -1}, "greater than or equal to 0"),
        ({"steps": 3}, "Extra inputs are not permitted"),
        ({"lr": float("nan")}, "finite number"),
    ],
)
def test_values_out_of_range_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Finetune.model_validate(given)


def test_what_a_step_is_told_survives_its_way_as_json() -> None:
    told = FinetuneSettings.model_validate_json(
        '{"task": "text-classification", "start": "random", "lr": 1, "optimizer": "sgd"}'
    )
    assert FinetuneSettings.model_validate_json(told.model_dump_json()) == told
