"""The model card: one page of Markdown from facts alone, for whoever finds the model in the registry.

Nothing in it was written by hand, and no clock, host or chance is in it: the same report makes the same bytes.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from modelmill.evaluation.checks import LOWER_IS_BETTER, METRIC_WORDS, capital
from modelmill.evaluation.compare import deciding
from modelmill.evaluation.document import Report, SliceFigures
from modelmill.evaluation.plots import amount, signed_amount
from modelmill.evaluation.report import ROW_WORDS, fact, flat, measured
from modelmill.evaluation.slices import FEWEST
from modelmill.models.interface import interface
from modelmill.page.markdown import code, table, text

FILE = "model_card.md"
# Of slices and labels.
_WORST = 3


def card(report: Report, facts: Mapping[str, Any], name: str) -> str:
    """Return the card of a model from its report, what its `modelmill.json` says, and its name in the registry.

    Raises:
        UserError: the model is for a task that answers nothing.
    """
    parts = (
        _head(report, name),
        _calling(report, facts, name),
        _figures(report),
        _weakest(report),
        _limits(report),
        _cost(report),
        _data(report),
        _training(report),
        _lineage(report),
    )
    return "\n".join(line for part in parts for line in part) + "\n"


def description(report: Report) -> str:
    """Return what MLflow's page of a version says of it: two or three sentences."""
    main = deciding(report)
    word, value = capital(METRIC_WORDS[main]), report.metrics["test"][main]
    said = f"{word} {measured(value, main)}{_span(report.intervals.get(main), main, ' (95 % interval {})')}"
    others = [
        f"{ROW_WORDS[who]} {measured(figures[main], main)}"
        for who, figures in report.metrics.items()
        if who != "test" and main in figures
    ]
    beside = f"; {', '.join(others)}" if others else ""
    champion = ""
    if report.comparison is not None:
        one = report.comparison.main
        figures = f"{measured(one.challenger, one.metric)} beside its {measured(one.champion, one.metric)}"
        champion = f" Beside version {report.comparison.version}: {METRIC_WORDS[one.metric]} {figures}."
    verdict = f"Verdict: {report.verdict.decision}. " if report.verdict else ""
    return f"{verdict}{said} on {report.test_rows:,} rows{beside}.{champion} Its card is {FILE} among its files."


def _head(report: Report, name: str) -> Iterator[str]:
    yield f"# {text(name)}"
    yield ""
    kind = report.task.replace("-", " ")
    if report.labels:
        shown = ", ".join(map(text, report.labels[:20])) + (" …" if len(report.labels) > 20 else "")
        kind += f" into {len(report.labels)} labels: {shown}"
    elif report.regression is not None:
        kind += f": {text(report.regression.target)}"
    yield f"A model for {kind}."
    if report.verdict is not None:
        yield ""
        yield f"Verdict when this was written: **{report.verdict.decision}**."
        yield ""
        yield from (f"- {text(reason)}" for reason in report.verdict.reasons)


def _calling(report: Report, facts: Mapping[str, Any], name: str) -> Iterator[str]:
    served = interface({"task": report.task, **facts})
    version = report.registered.version if report.registered else "VERSION"
    row = _asked(report) or dict.fromkeys(served.columns, "…")
    shown = ", ".join(f"{json.dumps(key, ensure_ascii=False)}: {_python(key, value)}" for key, value in row.items())
    answers = [column for column in (served.text, *served.record) if column]
    if served.classes:
        answers = ["label", "probability", "probabilities"]
    yield from ("", "## How to load and call it", "", "```python", "import mlflow, pandas", "")
    yield f'model = mlflow.pyfunc.load_model("models:/{name}/{version}")'
    yield f"model.predict(pandas.DataFrame([{{{shown}}}]))"
    yield from ("```", "")
    yield f"From the command line: `modelmill predict models:/{name}/{version} INPUT`."
    yield ""
    columns = ", ".join(f"{text(column)} ({kind})" for column, kind in served.columns.items())
    yield f"It takes raw input: {columns}{'; any may be missing' if served.optional else ''}."
    yield f"It answers with {', '.join(answers or ['prediction'])}; `requirements.txt` names the libraries it needs."


def _asked(report: Report) -> dict[str, Any]:
    """Return the row that the report says the model may be asked about; {} where that is a text."""
    try:
        found = json.loads(report.ask)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _python(column: str, value: Any) -> str:
    return 'open("picture.png", "rb").read()' if column == "image" else repr(value)


def _figures(report: Report) -> Iterator[str]:
    test = report.metrics["test"]
    comparison = {one.metric: one for one in report.comparison.differences} if report.comparison else {}
    champion = f"champion, version {report.comparison.version}" if report.comparison else ""
    others = {**{who: found for who, found in report.metrics.items() if who != "test"}, **report.comparisons}
    yield from ("", "## Figures", "", f"On {report.test_rows:,} rows that took no part in training.", "")
    heads = ["figure", "this model", "95 % interval", *(ROW_WORDS[who] for who in others)]
    rows = []
    for name in _named(test):
        cells = [_word(name), measured(test[name], name), _span(report.intervals.get(name), name)]
        cells += [measured(found[name], name) if name in found else "" for found in others.values()]
        if champion:
            cells.append(measured(comparison[name].champion, name) if name in comparison else "")
        rows.append(cells)
    yield from table([*heads, *([champion] if champion else [])], rows)
    if report.comparison is not None:
        main = report.comparison.main
        between = f"{signed_amount(main.low)} to {signed_amount(main.high)}"
        yield ""
        yield (
            f"{capital(METRIC_WORDS[main.metric])} beside the champion's on the same {report.comparison.rows:,} rows: "
            f"{signed_amount(main.difference)} ({100 * report.comparison.asked.confidence:g} % interval {between})."
        )


def _named(figures: Mapping[str, float]) -> list[str]:
    """Return the names of figures in the report's order; those of single labels stand by label."""
    return [name for name in METRIC_WORDS if name in figures]


def _word(name: str) -> str:
    return METRIC_WORDS[name] + (" (lower is better)" if name in LOWER_IS_BETTER else "")


def _weakest(report: Report) -> Iterator[str]:
    labels = sorted((one for one in report.per_class if one.rows), key=lambda one: (one.f1, one.label))[:_WORST]
    parts = [one for one in report.slices if not one.few and one.main in one.metrics]
    if not labels and not parts:
        return
    yield from ("", "## Where it is weakest", "")
    if labels:
        rows = [
            [text(one.label), f"{one.rows:,}", *(f"{value:.3f}" for value in (one.precision, one.recall, one.f1)),
             _span(one.intervals.get("f1"), "f1")]
            for one in labels
        ]  # fmt: skip
        yield from table(["label", "rows", "precision", "recall", "F1", "its 95 % interval"], rows)
    if labels and parts:
        yield ""
    if parts:
        main = parts[0].main
        rows = [
            [text(f"{part.column}: {part.value}"), f"{part.rows:,}", measured(part.metrics[main], main),
             _span(part.interval, main)]
            for part in _worst(parts)
        ]  # fmt: skip
        yield from table(["slice", "rows", _word(main), "95 % interval"], rows)


def _worst(parts: Sequence[SliceFigures]) -> list[SliceFigures]:
    sign = -1 if parts[0].main in LOWER_IS_BETTER else 1
    return sorted(parts, key=lambda part: (sign * part.metrics[part.main], part.column, part.value))[:_WORST]


def _limits(report: Report) -> Iterator[str]:
    yield from ("", "## Limits", "")
    yield from (f"- {text(said)}" for said in _limiting(report))


def _limiting(report: Report) -> Iterator[str]:
    main = deciding(report)
    compared = report.comparison
    if compared is not None and compared.smallest is not None:
        word = METRIC_WORDS[compared.metric]
        yield (
            f"The smallest gain in {word} over the champion that these {compared.rows:,} rows show four times in five "
            f"is {amount(compared.smallest)}."
        )
    elif compared is not None:
        yield f"These {compared.rows:,} rows can show no difference to the champion."
    if main in report.intervals:
        low, high = report.intervals[main]
        yield (
            f"{capital(METRIC_WORDS[main])} is known to within {amount((high - low) / 2)} from {report.test_rows:,} "
            "test rows (half of its 95 % interval): what is less cannot be told from luck."
        )
    few = [one for one in report.per_class if one.rows < FEWEST]
    if few:
        named = ", ".join(f"{one.label} ({one.rows:,})" for one in few[:20]) + (" …" if len(few) > 20 else "")
        yield f"Labels with fewer than {FEWEST} test rows, of which the figures say little: {named}."
    small = [part for part in report.slices if part.few]
    if small:
        named = ", ".join(f"{part.column} is {part.value} ({part.rows:,})" for part in small[:20])
        yield f"Slices with too few rows to be judged: {named}{' …' if len(small) > 20 else ''}."
    for label, why in report.areas_undefined.items():
        yield f"The areas under ROC and precision-recall curve are undefined for {label}: {why}."
    if report.probes is not None and report.probes.robustness is not None:
        yield from _frail(report)
    yield from (check.sentence for check in report.checks if not check.passed)
    missing = list(_unmeasured(report))
    if missing:
        yield f"Not measured: {', '.join(missing)}."


def _frail(report: Report) -> Iterator[str]:
    """Yield what the worst of each change to the inputs leaves of the main figure."""
    assert report.probes is not None
    robustness = report.probes.robustness
    assert robustness is not None
    word = METRIC_WORDS[robustness.metric]
    for changed in robustness.changes:
        if changed.levels:
            worst = min(changed.levels, key=lambda level: level.measured.value)
            yield (
                f"Under {changed.change} ({changed.unit} {worst.word}) its {word} is {worst.measured.value:.3f}, not "
                f"{robustness.unchanged.value:.3f}, on {robustness.rows:,} rows."
            )


def _unmeasured(report: Report) -> Iterator[str]:
    probes = report.probes
    if report.comparison is None:
        yield "how it compares with a champion on the same rows"
    if not report.slices:
        yield "how parts of the rows fare (slices)"
    if probes is None or probes.robustness is None:
        yield "how it fares with inputs that are not clean (robustness)"
    if probes is None or probes.explanations is None:
        yield "what moves its answers (explanations)"
    if probes is None or probes.cost is None:
        yield "time and memory for an answer (cost)"


def _cost(report: Report) -> Iterator[str]:
    cost = report.probes.cost if report.probes else None
    if cost is None:
        return
    yield from ("", "## Cost", "")
    device = "" if cost.device == "cpu" else f" and {cost.device}"
    threads = "1 thread" if cost.threads == 1 else f"{cost.threads} threads"
    yield f"Measured once, on {text(cost.machine)} with {threads}{text(device)}, from raw input to answer."
    yield ""
    rows = (
        (str(one.batch), f"{amount(one.p50_ms)} ms", f"{amount(one.p99_ms)} ms", amount(one.rows_per_second))
        for one in cost.speeds
    )
    yield from table(["rows at once", "median", "99th percentile", "rows a second"], rows)
    yield ""
    size = f"Files {amount(cost.bytes / 1e6)} MB, {cost.parameters:,} parameters, "
    yield f"{size}peak memory {amount(cost.peak_memory_mb)} MB with all libraries."


def _data(report: Report) -> Iterator[str]:
    data = report.data
    if data is None:
        return
    yield from ("", "## Data", "")
    if data.sources:
        rows = (
            (code(one.name), one.dataset, f"{one.read:,}", f"{one.kept:,}", text(one.licence) or "not stated")
            for one in data.sources
        )
        yield from table(["source", "for", "rows read", "rows kept", "licence"], rows)
        yield ""
    by_label = {
        name: ", ".join(f"{text(label)} {count:,}" for label, count in split.labels.items())
        for name, split in data.splits.items()
    }
    splits = ((name, f"{split.rows:,}", by_label[name]) for name, split in data.splits.items())
    yield from table(["split", "rows", "rows by label"], splits)


def _training(report: Report) -> Iterator[str]:
    if not report.training:
        return
    yield from ("", "## Training", "")
    rows = (
        (text(step), text(name), text(fact(value)))
        for step, told in report.training.items()
        for name, value in flat(told)
    )
    yield from table(["step", "fact", "value"], rows)


def _lineage(report: Report) -> Iterator[str]:
    yield from ("", "## Lineage", "")
    found = flat({"model": report.model, "measured on": report.dataset, **report.lineage})
    yield from table(["what", "address"], ((text(name), code(fact(value))) for name, value in found if value))


def _span(interval: tuple[float, float] | None, name: str, around: str = "{}") -> str:
    if interval is None:
        return ""
    return around.format(f"{measured(interval[0], name)} to {measured(interval[1], name)}")
