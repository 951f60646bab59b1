"""`modelmill models export` and `quantize`: a model in another form, checked or measured before it is kept."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from modelmill.scratch import scratch_folder
from pipelines.saying import Json, say

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="NAME@ALIAS, models:/NAME/VERSION, models/<address> or a folder.")
]
Rows = Annotated[
    str | None, typer.Option(help="A file of rows to try it with; left out, test rows of its dataset, or its example.")
]
Column = Annotated[
    list[str] | None, typer.Option(metavar="NAME=COLUMN", help="The file's column for one of the model's.")
]


def export(
    reference: Model,
    output: Annotated[Path, typer.Argument(help="A folder that is not there yet.")],
    form: Annotated[str, typer.Option("--format", help="onnx or torchscript.")] = "onnx",
    opset: Annotated[int | None, typer.Option(help="Of ONNX; 18 if left out.")] = None,
    rows: Rows = None,
    column: Column = None,
    as_json: Json = False,
) -> None:
    """Write a model as one graph for other runtimes, which answers rows as the model does, or is not kept."""
    from modelmill.scoring.golden import Wanted
    from pipelines.predict import named

    wanted = Wanted(rows=rows, columns=named(column or (), "--column"))
    told = _exported(reference, output, form, opset, wanted)
    parity = told["parity"]
    said = (
        f"{output}: {told['file']} reads {told['reads']}\n{parity['rows']} rows ({told['rows']}) are answered as the "
        f"model answers them, to {parity['largest_difference']:.1g} ({parity['tolerance']:g} is allowed)"
    )
    say(as_json, told, lambda: said)


def _exported(reference: str, output: Path, form: str, opset: int | None, wanted: Any) -> dict[str, Any]:
    from modelmill.models.folder import MODEL_FILE
    from modelmill.models.interface import interface
    from modelmill.models.reference import model_folder
    from modelmill.scoring.golden import golden_rows
    from modelmill.store import open_store
    from pipelines.predict import be_quiet

    be_quiet()
    with scratch_folder("export") as scratch:
        folder = model_folder(reference, scratch)
        facts = json.loads((folder / MODEL_FILE).read_text())
        served = interface(facts)
        from modelmill.models.export import export as write
        from modelmill.models.export import graph_of
        from modelmill.models.predict import load_predictor

        predictor = load_predictor(folder)
        # A task that allows no graph is told before rows are looked for.
        graph_of(predictor, facts["task"])
        golden = golden_rows(wanted, open_store(), folder, facts, served)
        told = write(predictor, folder, output, form, opset, golden.inputs)
    return {**told, "rows": golden.source, "output_folder": str(output)}


def quantize(
    reference: Model,
    rows: Rows = None,
    label: Annotated[str | None, typer.Option(metavar="COLUMN", help="The file's column with the truth.")] = None,
    column: Column = None,
    output: Annotated[
        Path | None, typer.Option(help="A folder for the model too; it always goes to the store.")
    ] = None,
    most: Annotated[int, typer.Option("--most-rows", help="Rows that are measured on, at most.")] = 10_000,
    as_json: Json = False,
) -> None:
    """Make the linear layers of a model int8, which is smaller and faster, and state what accuracy that costs."""
    from modelmill.scoring.golden import Wanted
    from pipelines.predict import named

    columns = named(column or (), "--column")
    wanted = Wanted(rows=rows, columns=columns, label=label, most=most, truth=True)
    report = _quantized(reference, wanted, output)
    say(as_json, report, lambda: _quantized_text(report))


def _quantized(reference: str, wanted: Any, output: Path | None) -> dict[str, Any]:
    import shutil

    from modelmill.errors import UserError
    from modelmill.models.folder import MODEL_FILE
    from modelmill.models.interface import interface
    from modelmill.models.reference import model_folder
    from modelmill.scoring.golden import golden_rows
    from modelmill.store import open_store
    from pipelines.predict import be_quiet

    if output is not None and output.exists():
        raise UserError(f"{output}: is there already; name a folder that is not")
    be_quiet()
    with scratch_folder("quantize") as scratch:
        folder = model_folder(reference, scratch / "model")
        facts = json.loads((folder / MODEL_FILE).read_text())
        from modelmill.models.quantize import check_task
        from modelmill.models.quantize import quantize as make

        check_task(facts["task"])
        store = open_store()
        golden = golden_rows(wanted, store, folder, facts, interface(facts))
        report = make(store, folder, scratch / "int8", golden)
        if output is not None:
            shutil.copytree(scratch / "int8", output)
    return report


def _quantized_text(report: dict[str, Any]) -> str:
    lost, size, times = report["lost"], report["bytes"], report["milliseconds"]
    metric = lost["metric"]
    before, after = (report["metrics"][side][metric] for side in ("before", "after"))
    between = "" if lost["interval"] is None else f" (95 %: {lost['interval'][0]:+.4g} to {lost['interval'][1]:+.4g})"
    figures = f"{metric} {before:.4f} → {after:.4f}, lost {lost['value']:+.4g}{between}"
    speed = [f"batch of {rows} {of['before']:.1f} → {of['after']:.1f} ms" for rows, of in times.items()]
    lines = [
        f"{report['quantized']}: {report['layers']} linear layers in int8",
        f"{figures} on {report['rows']:,} rows ({report['measured_on']})",
        f"{size['before'] / 1e6:.1f} MB → {size['after'] / 1e6:.1f} MB; {', '.join(speed)}",
        f"report {report['report']}",
    ]
    return "\n".join(lines)
