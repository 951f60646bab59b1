"""What a training says of its speed."""

import torch

from modelmill.training.figures import Meter
from modelmill.training.gradients import Total


def _meter(rows: int, tokens: int) -> Meter:
    meter = Meter(seconds=2.0)
    meter.add(Total(loss=torch.tensor(8.0), count=4, rows=rows, tokens=tokens), waited=0.5)
    return meter


def test_rows_and_their_tokens_are_told() -> None:
    figures = _meter(rows=6, tokens=18).figures(torch.device("cpu"), "fp32", saving=0.1)
    assert (figures["samples_per_second"], figures["tokens_per_second"]) == (3.0, 9.0)
    assert (figures["data_wait_share"], figures["checkpoint_share"]) == (0.25, 0.05)
    assert _meter(rows=6, tokens=18).point().keys() > {"tokens_per_second", "samples_per_second", "loss"}


def test_a_picture_is_no_token() -> None:
    meter = _meter(rows=6, tokens=6)
    assert "tokens_per_second" not in meter.figures(torch.device("cpu"), "fp32", saving=0.0)
    assert "tokens_per_second" not in meter.point()
