from pathlib import Path
from typing import Any

import pytest
import torch

from modelmill.errors import UserError
from modelmill.models import text
from modelmill.training import speed, text_objectives
from modelmill.training.checkpoint import model_tensors
from modelmill.training.loop import train
from tests.modelmill.training.bench import CPU, Bench, classify, equal, settings_of
from tests.modelmill.training.test_strategy import Texts, batch_of, model


def trained(folder: Path, **told: Any) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    bench = Bench(folder)
    made = model()
    text.family(made).set_dropout(made, 0.1)
    job = bench.job(text_objectives.classification, model=made, batches=Texts(), validation=[batch_of(99)])
    figures = train(bench.step(), settings_of(lr=0.01, steps=6, best="last", **told), job)
    return model_tensors(made), figures


def test_layers_that_are_computed_again_keep_less_and_learn_the_same(tmp_path: Path) -> None:
    assert equal(trained(tmp_path / "again", recompute=True)[0], trained(tmp_path / "kept")[0])
    kept = {}
    for again in (False, True):
        made = model()
        made.train()
        if again:
            speed.recompute(made)
        sizes: list[int] = []

        def pack(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            text_objectives.classification(made, batch_of(0))
        kept[again] = sum(sizes)
    assert kept[True] < 0.7 * kept[False]


def test_a_model_without_a_switch_for_it_is_not_asked_to_compute_again() -> None:
    with pytest.raises(UserError, match="recompute: the layers of a Linear cannot be computed again; leave it out"):
        speed.recompute(torch.nn.Linear(2, 2))


def test_a_translated_model_learns_what_the_plain_one_does(tmp_path: Path) -> None:
    found = []
    for translated in (False, True):
        bench = Bench(tmp_path / str(translated))
        torch.manual_seed(0)
        # Without dropout, whose numbers a translated model draws in another way.
        job = bench.job(model=torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.GELU(), torch.nn.Linear(8, 2)))
        train(bench.step(), settings_of(compile=translated), job)
        found.append(model_tensors(job.model))
    plain, ours = found
    for name, tensor in plain.items():
        torch.testing.assert_close(ours[name], tensor, atol=1e-4, rtol=1e-3)


def test_without_a_compiler_training_goes_on_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert speed.compiled(classify, CPU) is classify
    assert "no compiler 'no-such-compiler' on this cpu; install g++" in caplog.text
