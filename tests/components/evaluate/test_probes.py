"""A report tells how robust a model is, what moved its answers and what they cost, where a recipe asks for it."""

import io
import json
from base64 import b64decode
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image

from components.evaluate.cost import quantile_interval
from components.evaluate.run import run
from components.evaluate.settings import EvaluateSettings
from modelmill.dataset import open_dataset
from modelmill.digest import canonical_json
from modelmill.errors import ModelmillError
from modelmill.evaluation import perturb
from modelmill.evaluation.document import Report
from modelmill.evaluation.ladders import PictureChange, TableChange, TextChange
from modelmill.evaluation.probes import Explanations, Probes, Robustness
from modelmill.events import EventReader
from modelmill.models.folder import fetch_model, read_files, save_model
from modelmill.models.image_predictor import ImagePredictor
from modelmill.models.predict import load_predictor
from modelmill.pictures.shape import PixelShape
from modelmill.step import Step
from modelmill.store import open_store
from tests import pictures, samples, tables
from tests.components.evaluate.test_run import save_tiny_model, write_dataset
from tests.components.evaluate.test_tables import SPLITS, save
from tests.modelmill.models.test_image_predictor import predictor_for


@pytest.fixture
def step(tmp_path: Path) -> Step:
    return samples.step_of(open_store(str(tmp_path / "store")), tmp_path, "evaluate")


def settings(task: str, **told: Any) -> EvaluateSettings:
    return EvaluateSettings.model_validate_json(canonical_json({"task": task, **told}))


def measured(step: Step, told: EvaluateSettings, model: str, labelled: str) -> tuple[Report, Probes, str]:
    files, _ = read_files(step.store, run(step, told, model, labelled).report)
    report = Report.read(files["report.json"])
    assert report.probes is not None
    return report, report.probes, files["report.html"].decode()


def told_robustness(probes: Probes) -> Robustness:
    assert probes.robustness is not None
    return probes.robustness


def told_explanations(probes: Probes) -> Explanations:
    assert probes.explanations is not None
    return probes.explanations


def save_picture_model(step: Step, folder: Path) -> str:
    predictor_for(folder, PixelShape(size=16, channels=1, resize="crop", gray=True))
    return save_model(step.store, folder, json.loads((folder / "modelmill.json").read_text()))


def write_pictures(step: Step) -> str:
    return pictures.write(step.store, {"train": pictures.halves(20), "test": pictures.halves(30, 1)})


def test_a_text_model_is_measured_on_mistyped_cut_and_recased_rows(step: Step, tmp_path: Path) -> None:
    model, labelled = save_tiny_model(step.store, tmp_path / "model"), write_dataset(step.store)
    told = settings("text-classification", robustness=get_args(TextChange))
    report, probes, page = measured(step, told, model, labelled)
    robustness = told_robustness(probes)
    assert [changed.change for changed in robustness.changes] == ["typos", "truncation", "case"]
    assert (robustness.metric, robustness.rows) == ("accuracy", 40)
    assert robustness.unchanged.value == report.metrics["test"]["accuracy"]
    assert (robustness.unchanged.low, robustness.unchanged.high) == report.intervals["accuracy"]

    fetch_model(step.store, model, tmp_path / "served")
    predictor = load_predictor(tmp_path / "served")
    test = open_dataset(step.store, labelled).table("test")
    for changed in robustness.changes:
        for level in changed.levels:
            asked = [
                perturb.changed_text(text, changed.change, level.strength, perturb.chance_of(changed.change, row))
                for row, text in zip(test["id"].to_pylist(), test["text"].to_pylist(), strict=True)
            ]
            right = predictor.predict(asked).argmax(axis=1) == test["label"].to_numpy()
            assert level.measured.value == pytest.approx(right.mean(), abs=1e-6)
            assert level.measured.low < level.measured.value < level.measured.high
            assert level.sample == asked[0]
    # Its tokenizer knows small letters only.
    assert {level.measured.value for level in robustness.changes[2].levels} == {robustness.unchanged.value}
    assert "How it fares with inputs that are not clean" in page


def test_a_text_models_tokens_add_up_to_what_moved_the_answer(step: Step, tmp_path: Path) -> None:
    model, labelled = save_tiny_model(step.store, tmp_path / "model", max_tokens=4), write_dataset(step.store)
    _, probes, page = measured(step, settings("text-classification", explain=6), model, labelled)
    explained = told_explanations(probes)
    assert [case.right for case in explained.cases] == [False] * 3 + [True] * 3
    known = {row["id"]: row["text"] for row in open_dataset(step.store, labelled).table("test").to_pylist()}
    for case in explained.cases:
        # Of three words two are read beside the frame.
        assert "".join(part.part for part in case.parts) == " ".join(known[case.id].split()[:2]) + " …"
        assert case.converged
        assert sum(part.by for part in case.parts) == pytest.approx(case.moved + case.delta, rel=1e-3)
        assert max(abs(part.weight) for part in case.parts) == 1
        assert (case.truth == case.answer) == case.right
    assert page.count('<mark class="') >= 6


def test_a_pairs_tokens_are_told_in_both_texts(step: Step, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_tiny_model(step.store, folder, max_tokens=16)
    facts = {"task": "pair-classification", "labels": list(samples.LABELS), "max_tokens": 16}
    model = save_model(step.store, folder, facts)
    made = [(text[:20], pair[:20], label) for text, pair, label in samples.pairs(40)]
    labelled = samples.write_pairs(step.store, {"train": made[:20], "test": made[20:]})
    told = settings("pair-classification", explain=2, robustness=["truncation"])
    _, probes, _ = measured(step, told, model, labelled)
    cut = told_robustness(probes).changes[0].levels[-1].sample
    (case, *_) = told_explanations(probes).cases
    whole = "".join(part.part for part in case.parts)
    first, second = whole.split("  |  ")
    known = {row["id"]: row for row in open_dataset(step.store, labelled).table("test").to_pylist()}
    assert (first.strip(), second.strip()) == (known[case.id]["text"].strip(), known[case.id]["pair"].strip())
    assert len(cut) < len(f"{made[20][0]} | {made[20][1]}")


def test_a_picture_model_is_measured_on_noisy_blurred_bright_and_turned_pictures(step: Step, tmp_path: Path) -> None:
    model, labelled = save_picture_model(step, tmp_path / "model"), write_pictures(step)
    told = settings("image-classification", robustness=[*get_args(PictureChange), "fgsm"], explain=4)
    _, probes, page = measured(step, told, model, labelled)
    robustness = told_robustness(probes)
    assert [changed.change for changed in robustness.changes] == [*get_args(PictureChange), "fgsm"]
    assert all(len(changed.levels) == 5 for changed in robustness.changes)
    shown = {level.picture for changed in robustness.changes for level in changed.levels} | {robustness.picture}
    # A blur of a fifth of a pixel is none.
    assert len(shown) == 25
    (plain, moved) = (
        np.asarray(Image.open(io.BytesIO(b64decode(one.partition(",")[2])))).astype(int)
        for one in (robustness.picture, robustness.changes[-1].levels[2].picture)
    )
    assert np.abs(plain - moved).max() == 4

    cases = told_explanations(probes).cases
    assert all(case.converged and case.overlay and case.picture and not case.parts for case in cases)
    assert page.count("<img") >= 26 + 2 * len(cases)


def test_one_step_against_the_gradient_raises_the_loss_of_most_pictures(step: Step, tmp_path: Path) -> None:
    from modelmill.models.adversarial import moved_pixels, picture_signs

    predictor = predictor_for(tmp_path / "model", PixelShape(size=16, channels=1, resize="crop", gray=True))
    assert isinstance(predictor, ImagePredictor)
    rows = pictures.halves(40)
    pixels = np.stack([picture for picture, _ in rows])[:, :, :, None]
    truth = np.array([label for _, label in rows])
    moved = moved_pixels(pixels, picture_signs(predictor, pixels, truth, batch_rows=16), 4 / 255)
    before, after = (
        predictor.predict([perturb.png(each) for each in made])[np.arange(40), truth] for made in (pixels, moved)
    )
    assert np.abs(moved.astype(int) - pixels).max() == 4
    assert (after < before).mean() > 0.95


@pytest.mark.parametrize("task", ["table-regression", "table-classification"])
def test_a_table_model_is_measured_on_noisy_and_missing_numbers(step: Step, tmp_path: Path, task: str) -> None:
    labels = tables.LABELS if task == "table-classification" else ()
    rows = tables.classed(SPLITS) if labels else SPLITS
    model, labelled = save(step, tmp_path / "model", labels), tables.write_table(step.store, rows, labels=labels)
    told = settings(task, robustness=[*get_args(TableChange), "fgsm"], explain=4)
    report, probes, page = measured(step, told, model, labelled)
    robustness = told_robustness(probes)
    main = "accuracy" if labels else "r2"
    assert robustness.metric == main
    assert robustness.unchanged.value == report.metrics["test"][main]
    assert [changed.change for changed in robustness.changes] == ["noise", "missing", "fgsm"]
    assert robustness.changes[0].hindrance == "3 of 5 columns hold no numbers, and stay."
    # The step is the worst of its size: no noise misleads as much, and a larger step misleads more.
    misled = [level.measured.value for level in robustness.changes[2].levels]
    assert misled == sorted(misled, reverse=True)
    assert misled[-1] < min(robustness.unchanged.value, robustness.changes[0].levels[2].measured.value)

    explained = told_explanations(probes)
    assert explained.unit == ("log-odds of the answer against all others, in nats" if labels else "price")
    for case in explained.cases:
        assert {part.part for part in case.parts} == {"area", "built", "garden", "rooms", "street"}
        assert sum(part.by for part in case.parts) == pytest.approx(case.moved, rel=0.05, abs=0.02)
        assert (case.probability is None) == (not labels)
    assert page.count('class="tip"') == 5 * len(explained.cases)


def test_a_linear_models_columns_are_told_exactly(step: Step, tmp_path: Path) -> None:
    from modelmill.models import attribution
    from modelmill.models.table_predictor import TablePredictor

    save(step, tmp_path / "model")
    fetched = tmp_path / "model"
    (fetched / "modelmill.json").write_text(json.dumps({"task": "table-regression", "target": "price"}))
    predictor = load_predictor(fetched)
    assert isinstance(predictor, TablePredictor)
    row = {name: SPLITS["test"][0][name] for name in tables.HOUSES}
    found = attribution.of_row(predictor, row, None)
    vectors, _ = predictor.transforms.of_rows([row, {}])
    blank = np.where([name.endswith("=missing") for name in predictor.transforms.names], 0, vectors[1])
    target = predictor.model.config.target
    assert target is not None
    (weight_1F,) = (each for name, each in predictor.model.state_dict().items() if name.endswith("weight"))
    expected = weight_1F[0].numpy() * (vectors[0] - blank) * target.unit
    assert found.weights == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert found.moved == pytest.approx(expected.sum(), rel=1e-4)


def test_cost_is_measured_and_held_against_thresholds(step: Step, tmp_path: Path) -> None:
    model, labelled = save_tiny_model(step.store, tmp_path / "model"), write_dataset(step.store)
    limits = {"latency_p99_ms": {"max": 60_000}, "size_mb": {"max": 0.001}}
    report, probes, page = measured(step, settings("text-classification", thresholds=limits), model, labelled)
    cost = probes.cost
    assert cost is not None
    assert [speed.batch for speed in cost.speeds] == [1, 32]
    for speed in cost.speeds:
        assert 0 < speed.p50_ms <= speed.p99_ms <= speed.p99_interval[1]
        assert speed.p99_interval[0] <= speed.p99_ms
        assert speed.rows_per_second > 0
    fetch_model(step.store, model, tmp_path / "served")
    assert cost.bytes == sum(path.stat().st_size for path in (tmp_path / "served").iterdir())
    predictor: Any = load_predictor(tmp_path / "served")
    assert cost.parameters == sum(each.numel() for each in predictor.model.parameters())
    assert cost.threads == torch.get_num_threads()
    assert cost.peak_memory_mb > 50
    checks = {check.metric: check for check in report.checks if check.kind == "threshold"}
    assert (checks["latency_p99_ms"].passed, checks["size_mb"].passed) == (True, False)
    assert checks["latency_p99_ms"].bound == cost.speeds[0].p99_interval[1]
    assert "which meets the wanted 60000 ms" in checks["latency_p99_ms"].sentence
    assert "above the wanted 0.001 MB" in checks["size_mb"].sentence
    assert cost.machine.split(",")[0] in page


def test_the_interval_of_a_percentile_holds_it_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    true = -np.log(0.01)
    spans = [quantile_interval(generator.exponential(size=400), 0.99) for _ in range(400)]
    held = [low <= true <= high for low, high in spans]
    assert 0.92 <= np.mean(held) <= 0.99


def test_what_is_asked_twice_is_told_alike(step: Step, tmp_path: Path) -> None:
    model, labelled = save_tiny_model(step.store, tmp_path / "model"), write_dataset(step.store)
    told = settings("text-classification", robustness=get_args(TextChange), explain=2)
    assert run(step, told, model, labelled).report == run(step, told, model, labelled).report


def test_progress_is_told_of_changed_rows_explanations_and_times(step: Step, tmp_path: Path) -> None:
    model, labelled = save_tiny_model(step.store, tmp_path / "model"), write_dataset(step.store)
    run(step, settings("text-classification", robustness=["typos"], explain=2, cost=True), model, labelled)
    assert step.events.path is not None
    events = [event for event in EventReader(step.events.path).new() if event["kind"] == "progress"]
    ends = {event["what"]: (event["done"], event["total"]) for event in events}
    assert ends["asking changed rows"] == (160, 160)
    assert ends["explaining answers"] == (2, 2)
    assert ends["timing answers"] == (2, 2)


def test_answers_that_are_not_finite_under_a_change_are_told(step: Step, tmp_path: Path) -> None:
    from components.evaluate.robustness import robustness_of
    from components.evaluate.subject import Subject

    class Fragile:
        """Answers a text with nothing that is a number, where it has a large letter."""

        def predict(self, asked: list[str]) -> Any:
            return np.array([[0.5, 0.5] if text.islower() else [np.nan, 1] for text in asked])

    subject = Subject(
        predictor=Fragile(), folder=tmp_path, inputs=["a", "b"], ids=["1", "2"], truth=np.array([0, 1]),
        answers=np.full((2, 2), 0.5), labels=("x", "y"),
    )  # fmt: skip
    with pytest.raises(ModelmillError, match=r"no finite answer to 2 of 2 test rows changed by case \(case upper\)"):
        robustness_of(step, ["case"], subject)
