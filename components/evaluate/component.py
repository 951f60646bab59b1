"""The KFP specification of evaluate."""

from kfp import dsl

from modelmill.images import image


@dsl.container_component
def evaluate(
    settings: str,
    model: str,
    labelled: str,
    challenger: str,
    step: str,
    where: str,
    report: dsl.OutputPath(str),  # type: ignore[valid-type]
    summary: dsl.OutputPath(str),  # type: ignore[valid-type]
    metrics: dsl.Output[dsl.Metrics],
    classes: dsl.Output[dsl.ClassificationMetrics],
    page: dsl.Output[dsl.HTML],
) -> dsl.ContainerSpec:
    """Measures one model on the held-out test rows, beside simple baselines."""
    return dsl.ContainerSpec(
        image=image("train"),
        command=["python3", "-m", "components.evaluate"],
        args=[
            "--settings", settings,
            "--model", model,
            "--labelled", labelled,
            "--challenger", challenger,
            "--step", step,
            "--where", where,
            "--executor-input", "{{$}}",
        ],
    )  # fmt: skip
