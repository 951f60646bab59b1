"""The KFP specification of pretrain."""

from kfp import dsl

from modelmill.images import image


@dsl.container_component
def pretrain(
    settings: str,
    corpus: str,
    base: str,
    where: str,
    model: dsl.OutputPath(str),  # type: ignore[valid-type]
    summary: dsl.OutputPath(str),  # type: ignore[valid-type]
    weights: dsl.Output[dsl.Model],
) -> dsl.ContainerSpec:
    """Trains on the unlabelled text."""
    return dsl.ContainerSpec(
        image=image("train"),
        command=["python3", "-m", "components.pretrain"],
        args=[
            "--settings", settings,
            "--corpus", corpus,
            "--base", base,
            "--where", where,
            "--executor-input", "{{$}}",
        ],
    )  # fmt: skip
