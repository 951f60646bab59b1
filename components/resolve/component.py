"""The KFP specification of resolve."""

from kfp import dsl

from modelmill.images import image


@dsl.container_component
def resolve(
    settings: str,
    sources: dsl.OutputPath(str),  # type: ignore[valid-type]
    base: dsl.OutputPath(str),  # type: ignore[valid-type]
    where: dsl.OutputPath(str),  # type: ignore[valid-type]
    summary: dsl.OutputPath(str),  # type: ignore[valid-type]
) -> dsl.ContainerSpec:
    """Pins whatever can change under a name: sources, the base model, and where the run reads and writes."""
    return dsl.ContainerSpec(
        image=image("data"),
        command=["python3", "-m", "components.resolve"],
        args=[
            "--settings", settings,
            "--executor-input", "{{$}}",
        ],
    )  # fmt: skip
