"""What a person sees: times, figures, and the steps' states as their events say."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipelines.recipe_file import load
from pipelines.run import Run, StepState, _error
from pipelines.steps import step_names
from pipelines.view import View, _panel, duration, figures, final_table, short

RECIPE = Path(__file__).resolve().parents[2] / "pipelines" / "recipes" / "reviews.yaml"


def _run(tmp_path: Path) -> Run:
    recipe = load(RECIPE)
    return Run(name="r", folder=tmp_path, recipe=recipe, steps={name: StepState(name) for name in step_names(recipe)})


def _progress(step: str, at: float, done: int, total: int, unit: str, what: str = "") -> dict[str, Any]:
    said = {"what": what or step, "done": done, "total": total, "unit": unit}
    return {"step": step, "kind": "progress", "time": at, **said}


def _drawn(run: Run, width: int, terminal: bool = True) -> str:
    console = Console(file=io.StringIO(), width=width, height=30, force_terminal=terminal)
    with View(console) as view:
        view(run)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.04, "0.0 s"), (9.96, "10.0 s"), (10, "10 s"), (59.6, "1:00"), (61, "1:01"), (3725, "1:02:05")],
)
def test_durations_read_as_a_person_says_them(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_a_steps_figures_leave_out_what_it_does_not_have() -> None:
    step = StepState("finetune-from-scratch", summary={"validation_accuracy": 0.81234, "precision": "fp32"})
    assert figures(step) == "validation accuracy 0.812, fp32"
    assert figures(StepState("ingest", summary={"labelled_kept": 9, "labelled_read": 1000})) == (
        "9 of 1,000 labelled rows kept"
    )


def test_of_rows_without_tokens_the_rows_are_told() -> None:
    rates = {"samples_per_second": 223.17}
    assert figures(StepState("pretrain", summary=rates)) == "223 rows/s"
    assert figures(StepState("pretrain", summary={**rates, "tokens_per_second": 14431.6})) == "14,432 tokens/s"


def test_progress_tells_rate_and_time_left(tmp_path: Path) -> None:
    run = _run(tmp_path)
    run.take({"step": "pretrain", "kind": "started", "time": 100.0, "pid": 1})
    for at, done in ((100.0, 0), (110.0, 20)):
        run.take(_progress("pretrain", at, done, 100, "steps"))
    run.take({"step": "pretrain", "kind": "figures", "time": 110.0, "values": {"loss": 2.5}, "at": 20})
    drawn = _drawn(run, 120)
    assert "20/100 steps" in drawn
    assert "2 steps/s" in drawn
    assert "40 s left" in drawn
    assert "loss 2.500" in drawn


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal_and_no_name_is_cut(tmp_path: Path, width: int) -> None:
    run = _run(tmp_path)
    run.take({"step": "ingest", "kind": "started", "time": 1.0, "pid": 1})
    run.take(_progress("ingest", 9.0, 5, 9, "B", what="reading " + "x" * 90))
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(_panel(run, width))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    for name in run.steps:
        assert any(name in line for line in lines)


def test_a_step_that_never_started_in_a_whole_run_was_cached(tmp_path: Path) -> None:
    run = _run(tmp_path)
    for name in ("resolve", "evaluate-champion", "register"):
        run.take({"step": name, "kind": "started", "time": 1.0, "pid": 1})
        run.take({"step": name, "kind": "done", "time": 2.0, "summary": {}})
    run.state = "done"
    run.finish()
    assert {name for name, step in run.steps.items() if step.state == "cached"} == {
        "ingest", "preprocess", "pretrain", "finetune", "evaluate"
    }  # fmt: skip
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(final_table(run))
    assert console.export_text().count("cached") == 5


def test_a_step_is_known_as_cached_as_soon_as_one_that_needs_it_starts(tmp_path: Path) -> None:
    recipe = load(RECIPE, ["evaluate.compare=[from_scratch]"])
    run = Run(name="r", folder=tmp_path, recipe=recipe, steps={name: StepState(name) for name in step_names(recipe)})
    for name in ("resolve", "finetune-from-scratch"):
        run.take({"step": name, "kind": "started", "time": 1.0, "pid": 1})
    assert {name for name, step in run.steps.items() if step.state == "cached"} == {"ingest", "preprocess"}
    run.take({"step": "evaluate", "kind": "started", "time": 1.0, "pid": 1})
    assert {name for name, step in run.steps.items() if step.state == "cached"} == {
        "ingest", "preprocess", "pretrain", "finetune"
    }  # fmt: skip


def test_of_a_step_that_was_killed_what_is_known_is_told(tmp_path: Path) -> None:
    run = _run(tmp_path)
    run.steps["ingest"].state = run.state = "failed"
    ended = "ingest: the process ended without a word (killed, or out of memory)"
    log = tmp_path / "ingest.log"
    assert str(_error(run)) == f"{ended}\n(there is no {log})"
    log.touch()
    run.take(_progress("ingest", 1.0, done=1200, total=0, unit="rows", what="reading"))
    assert str(_error(run)) == f"{ended}; last seen at 1,200 rows (reading)\n(nothing is in {log})"
    log.write_text("said\n")
    run.take(_progress("ingest", 2.0, done=7, total=5000, unit="groups"))
    assert str(_error(run)) == f"{ended}; last seen at 7 of 5,000 groups\n  | said"


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0.25, "0.2"), (3.0, "3"), (9.5, "9.5"), (176, "176"), (1000, "1,000"), (12345, "12.3k"), (1.5e6, "1.5M")],
)
def test_amounts_are_short(number: float, shown: str) -> None:
    assert short(number) == shown


def test_elsewhere_than_on_a_terminal_a_line_tells_each_change_once(tmp_path: Path) -> None:
    run = _run(tmp_path)
    console = Console(file=io.StringIO(), width=120)
    with View(console) as view:
        view(run)
        run.take({"step": "ingest", "kind": "started", "time": 1.0, "pid": 1})
        view(run)
        view(run)
        run.take(
            {
                "step": "ingest",
                "kind": "failed",
                "time": 3.0,
                "exit_code": 2,
                "message": "a.csv: bad",
                "interrupted": False,
            }
        )
        view(run)
    assert isinstance(console.file, io.StringIO)
    assert [line.split() for line in console.file.getvalue().splitlines()] == [
        ["≡", "resolve", "cached"],
        ["●", "ingest", "running"],
        ["✗", "ingest", "failed", "a.csv:", "bad"],
    ]
