from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from components.finetune.run import run
from components.finetune.settings import FinetuneSettings
from modelmill.errors import UserError
from modelmill.models.folder import fetch_model
from modelmill.store import Store, open_store
from modelmill.training import objectives
from modelmill.training.data import Batch
from modelmill.training.distill import Parts, distilled
from tests import samples


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def settings(**changes: Any) -> FinetuneSettings:
    told = {"task": samples.TASK, "lr": 0.01, "batch_rows": 16, "precision": "fp32", "max_tokens": 16, **changes}
    return FinetuneSettings.model_validate(told)


def trained(store: Store, folder: Path, labelled: str) -> Path:
    """Fine-tune a teacher, and return its folder."""
    shape = {"family": "bert", "layers": 1, "width": 32, "heads": 2}
    made = run(samples.step_of(store, folder, "teacher"), settings(model=shape, epochs=4), labelled, "", "")
    fetch_model(store, made.model, folder / "teacher")
    return folder / "teacher"


def test_the_loss_is_that_of_the_labels_and_of_the_teachers_answers() -> None:
    torch.manual_seed(0)
    student, teacher = torch.nn.Linear(4, 3), torch.nn.Linear(4, 3)
    labels_B = torch.tensor([0, 2, 1, 1, 0])
    batch = Batch(tensors={"rows": torch.randn(5, 4), "labels": labels_B}, rows=5, tokens=5)
    parts = Parts(logits=lambda model, one: model(one.tensors["rows"]), scored=objectives.classified)
    own, told = student(batch.tensors["rows"]), teacher(batch.tensors["rows"])
    wanted, found = (told / 4).softmax(dim=1), (own / 4).softmax(dim=1)
    apart = 16 * (wanted * (wanted.log() - found.log())).sum()
    by_labels = F.cross_entropy(own, labels_B, reduction="sum")
    scored = distilled(parts, teacher, temperature=4.0, weight=0.7)(student.train(), batch)
    torch.testing.assert_close(scored.loss, 0.3 * by_labels + 0.7 * apart)
    assert torch.autograd.grad(scored.loss, [student.weight])[0].abs().sum() > 0
    with pytest.raises(RuntimeError):
        torch.autograd.grad(scored.loss, [teacher.weight])
    torch.testing.assert_close(distilled(parts, teacher, 4.0, 0.7)(student.eval(), batch).loss, by_labels)


def test_a_student_learns_from_its_teacher_alone_what_the_labels_say(store: Store, tmp_path: Path) -> None:
    """With the labels' share at 0 nothing but the teacher can tell it the classes."""
    labelled = samples.tokens(store, tmp_path).labelled
    folder = trained(store, tmp_path, labelled)
    told = settings(
        model={"family": "bert", "layers": 1, "width": 32, "heads": 2},
        seed=3,
        epochs=6,
        teacher={"base": str(folder), "temperature": 2.0, "weight": 1.0},
    )
    made = run(samples.step_of(store, tmp_path), told, labelled, "", "", samples.pinned(folder))
    assert made.summary["validation_accuracy"] > 0.9
    facts = fetch_model(store, made.model, tmp_path / "student")
    assert str(folder) in facts["lineage"]["teacher"]


def test_a_teacher_that_does_not_fit_is_refused(store: Store, tmp_path: Path) -> None:
    labelled = samples.tokens(store, tmp_path).labelled
    folder = trained(store, tmp_path, labelled)
    told = settings(model={"family": "bert", "layers": 1, "width": 16, "heads": 2}, teacher={"base": str(folder)})
    step = samples.step_of(store, tmp_path)
    config, names = folder / "config.json", folder / "tokenizer.json"
    right, words = config.read_text(), names.read_text()
    config.write_text(right.replace('"negative"', '"poor"'))
    with pytest.raises(UserError, match=r"teacher knows 2 labels \(poor, positive\) and the data have 2 \(negative,"):
        run(step, told, labelled, "", "", samples.pinned(folder))
    config.write_text(right)
    names.write_text(
        words.replace('"lowercase": true', '"lowercase": false').replace('"lowercase":true', '"lowercase":false')
    )
    with pytest.raises(UserError, match=r"the teacher's tokenizer .* is not the data's"):
        run(step, told, labelled, "", "", samples.pinned(folder))
