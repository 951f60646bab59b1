"""What a run came to: the object that `--json` prints and the lines that a person reads."""

import json
import shlex
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from modelmill.dataset import read_made
from modelmill.evaluation.checks import BASELINE_WORDS, fixed, main_metric
from modelmill.evaluation.document import CrossValidation, Report
from modelmill.models.folder import read_files
from modelmill.registry.versions import CHAMPION
from modelmill.store import open_store
from pipelines.run import Run
from pipelines.view import duration, final_table

_ASKED = {
    "causal-lm": '"I don\'t know what"',
    "masked-lm": '"a [MASK] film"',
    "word-embeddings": '"money"',
    "image-classification": "picture.png",
}
"""What a person may ask a model for a task, where it is not told by the report."""
_DECISION_STYLES = {"promote": "green", "hold": "yellow", "undecided": "yellow"}


def keep(run: Run, seconds: float) -> dict[str, Any]:
    """Write `run.json` and, if there is a report, its page into the run's folder; return what `run.json` holds."""
    report = _report(run)
    outputs = run.outputs
    result: dict[str, Any] = {
        "run": run.name,
        "recipe": run.recipe.name,
        "state": run.state,
        "seconds": round(seconds, 1),
        "steps": [
            {
                "name": step.name,
                "state": step.state,
                "seconds": round(step.seconds, 1),
                "cached": step.state == "cached",
            }
            for step in run.steps.values()
        ],
        "datasets": {
            "ingest": _addresses(outputs.get("ingest", {}), corpus="corpus", labelled="labelled"),
            "preprocess": _addresses(outputs.get("preprocess", {}), corpus="corpus_tokens", labelled="labelled_tokens"),
        },
        "metrics": _metrics(report) if report else {},
        "verdict": report.verdict.decision if report and report.verdict else None,
        "model": report.registered.model_dump(mode="json") if report and report.registered else None,
        "report": str(run.folder / "report.html") if report else None,
        "data_report": _data_report(run),
    }
    (run.folder / "run.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def show(run: Run, result: dict[str, Any], console: Console) -> None:
    """Print how a run ended: a table of its steps, the verdict, and what to do next."""
    console.print(
        Text.assemble(
            (run.recipe.name, "bold"), f"  {run.state} in {duration(result['seconds'])}", (f"  run {run.name}", "dim")
        )
    )
    console.print()
    console.print(final_table(run))
    report = _report(run) if result["report"] else None
    if report is None:
        if run.state == "done":
            console.print(
                f"\ndatasets  {', '.join(filter(None, result['datasets']['ingest'].values()))}", soft_wrap=True
            )
            console.print(_line("data", _near(Path(result["data_report"]))), soft_wrap=True)
        return
    console.print()
    for line in _lines(report, result):
        console.print(line, soft_wrap=True)


def _lines(report: Report, result: dict[str, Any]) -> list[Text]:
    test = report.metrics["test"]
    main = main_metric(test)
    low, high = report.intervals[main]
    others = {**report.metrics, **report.comparisons}
    beside = [f"{name} {fixed(metrics[main])}" for name, metrics in others.items() if name != "test"]
    figure = f"{test[main]:.3f}  (95 %: {low:.3f} to {high:.3f}, {report.test_rows:,} test rows)"
    lines = [_line(main, f"{figure}  beside {', '.join(beside)}" if beside else figure)]
    if report.cross_validation is not None:
        lines.append(_line("folds", _folds(report.cross_validation, main)))
    for name in ("tfidf", "linear"):
        if name in report.metrics and report.metrics[name][main] >= test[main]:
            said = f"{BASELINE_WORDS[name]} is as good or better; this model is not worth its cost"
            lines.append(_line("warning", said, "bold red"))
    if report.verdict is not None:
        decision = report.verdict.decision
        lines.append(_line("verdict", decision, _DECISION_STYLES[decision]))
        lines += [_line("", reason, "dim") for reason in report.verdict.reasons]
    lines.append(_line("data", _near(Path(result["data_report"]))))
    lines.append(_line("report", _near(Path(result["report"]))))
    if report.registered is not None:
        registered = report.registered
        lines.append(
            _line("model", f"{registered.name} version {registered.version} ({', '.join(registered.aliases)})")
        )
        if report.verdict is not None and report.verdict.decision == "promote" and CHAMPION not in registered.aliases:
            lines.append(_line("next", f"modelmill models promote {registered.name} {registered.version}", "bold"))
        asked = shlex.quote(report.ask) if report.ask else _ASKED.get(report.task, '"a dull, lifeless film"')
        lines.append(_line("try it", f"modelmill predict {registered.name}@challenger {asked}", "bold"))
    return lines


def _metrics(report: Report) -> dict[str, Any]:
    """Every figure by who has it: the model on the test rows, the baselines, the comparisons, the folds."""
    folds = report.cross_validation
    found: dict[str, Any] = {**report.metrics, **report.comparisons}
    return {**found, "cross_validation": folds.model_dump(mode="json")} if folds is not None else found


def _folds(folds: CrossValidation, main: str) -> str:
    figures = {who: each[main] for who, each in folds.by_merit(main)}
    said = [f"{who} {fixed(each.mean)} ± {fixed(each.deviation)}" for who, each in figures.items()]
    return f"{', '.join(said)}  ({main} over {folds.folds} folds of {folds.rows:,} rows)"


def _line(name: str, value: str, style: str = "") -> Text:
    return Text.assemble((f"{name:<11}", "dim"), (value, style))


def _near(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _data_report(run: Run) -> str | None:
    """Write the page on the data into the run's folder, and return where it lies; None before ingest is done."""
    outputs = run.outputs.get("ingest", {})
    address = outputs.get("made_labelled") or outputs.get("made_corpus")
    if not address:
        return None
    store = open_store()
    path = run.folder / "data.html"
    path.write_bytes(store.get_blob(read_made(store, address)["report"]["sha256"]))
    return str(path)


def _addresses(outputs: dict[str, str], **names: str) -> dict[str, str | None]:
    return {name: outputs.get(key) or None for name, key in names.items()}


def _report(run: Run) -> Report | None:
    """The final report, or, where the run ended at evaluate, the one without a verdict."""
    address = run.outputs.get("register", {}).get("final_report") or run.outputs.get("evaluate", {}).get("report")
    if not address:
        return None
    files, _ = read_files(open_store(), address)
    (run.folder / "report.html").write_bytes(files["report.html"])
    return Report.read(files["report.json"])
