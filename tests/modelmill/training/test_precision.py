import signal
import subprocess
import sys
import time

import pytest
import torch

from modelmill.errors import UserError
from modelmill.training import precision
from modelmill.training.precision import Precision

CPU = torch.device("cpu")
PROGRAM = "import torch; a = torch.ones(64, 64, dtype=torch.bfloat16); torch.nn.functional.linear(a, a).sum().item()"


@pytest.fixture(scope="module")
def bf16() -> bool:
    """Whether this machine computes in bfloat16, found out the hard way."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=False)
    assert done.returncode in {0, -signal.SIGILL}
    return done.returncode == 0


def refuse(_precision: Precision, _number: int) -> None:
    raise AssertionError("nothing had to be measured")


def test_whether_bf16_runs_is_found_out_without_dying_of_it(bf16: bool) -> None:
    torch.ones(300, 300) @ torch.ones(300, 300)
    assert precision.bf16_runs(CPU) is bf16


def test_what_the_recipe_fixes_is_not_measured(bf16: bool) -> None:
    assert precision.choose("fp32", CPU, refuse) == ("fp32", {})
    if bf16:
        assert precision.choose("bf16", CPU, refuse) == ("bf16", {})
    else:
        with pytest.raises(UserError, match="precision: bf16 does not run on this cpu; write auto or fp32"):
            precision.choose("bf16", CPU, refuse)


def test_fp16_is_refused_where_its_small_numbers_are_not_scaled() -> None:
    with pytest.raises(UserError, match="precision: fp16 needs a GPU, and this is a cpu; write auto, bf16 or fp32"):
        precision.choose("fp16", CPU, refuse)
    assert not precision.scaler(CPU, "bf16").is_enabled()
    assert precision.scaler(CPU, "fp16").is_enabled()


@pytest.mark.parametrize(("bf16_seconds", "speedup"), [(0.02, 2.0), (0.04, 1.0), (0.08, 0.5)])
def test_both_precisions_are_timed_in_turn_on_the_same_batches(bf16_seconds: float, speedup: float) -> None:
    calls: list[tuple[Precision, int]] = []

    def run(in_precision: Precision, number: int) -> None:
        calls.append((in_precision, number))
        # The first call of each is slow, as first calls are.
        time.sleep(0.3 if number == 0 else bf16_seconds if in_precision == "bf16" else 0.04)

    assert precision.bf16_speedup(CPU, run) == pytest.approx(speedup, rel=0.25)
    # Quick batches: as many rounds as there may be, and one to warm up.
    assert calls == [(one, number) for number in range(13) for one in ("fp32", "bf16")]


def test_slow_batches_are_timed_three_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_TIMING_SECONDS", 0.0)
    calls: list[Precision] = []
    precision.bf16_speedup(CPU, lambda in_precision, _number: calls.append(in_precision))
    assert len(calls) == 2 * (1 + 3)


@pytest.mark.parametrize(("seconds", "chosen"), [(0.02, "bf16"), (0.0385, "fp32"), (0.08, "fp32")])
def test_bf16_is_taken_only_where_it_runs_and_is_worth_it(
    bf16: bool, seconds: float, chosen: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "product_speedup", lambda _device: 1.5)

    def run(in_precision: Precision, _number: int) -> None:
        time.sleep(seconds if in_precision == "bf16" else 0.04)

    found, figures = precision.choose("auto", CPU, run)
    assert found == (chosen if bf16 else "fp32")
    assert (figures["bf16_speedup"] > 0) is bf16


def test_where_a_product_is_slower_in_bf16_no_batch_is_computed_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "bf16_runs", lambda _device: True)
    seconds = iter([1, 2, 3, 5, 4, 6])
    monkeypatch.setattr(precision, "_timed", lambda _device, _work: next(seconds))
    assert precision.choose("auto", CPU, refuse) == ("fp32", {"bf16_speedup": 0.25})


def test_autocast_computes_in_the_precision_that_was_chosen() -> None:
    a = torch.ones(2, 2)
    with precision.autocast(CPU, "fp32"):
        assert (a @ a).dtype == torch.float32
    with precision.autocast(CPU, "bf16"):
        # An addition of products would need the processor's bf16 unit; what autocast casts to shows without it.
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16
        assert torch.is_autocast_enabled("cpu")
