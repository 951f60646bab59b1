"""The KFP specification of finetune."""

from kfp import dsl

from modelmill.images import image


@dsl.container_component
def finetune(
    settings: str,
    labelled: str,
    model: str,
    base: str,
    teacher: str,
    step: str,
    where: str,
    tuned: dsl.OutputPath(str),  # type: ignore[valid-type]
    summary: dsl.OutputPath(str),  # type: ignore[valid-type]
    weights: dsl.Output[dsl.Model],
) -> dsl.ContainerSpec:
    """Trains on the labelled rows."""
    return dsl.ContainerSpec(
        image=image("train"),
        command=["python3", "-m", "components.finetune"],
        args=[
            "--settings", settings,
            "--labelled", labelled,
            "--model", model,
            "--base", base,
            "--teacher", teacher,
            "--step", step,
            "--where", where,
            "--executor-input", "{{$}}",
        ],
    )  # fmt: skip
