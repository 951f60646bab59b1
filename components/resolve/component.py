"""The KFP specification of resolve."""

from kfp import dsl

from modelmill.images import image


@dsl.container_component
def resolve(
    settings: str,
    sources: dsl.OutputPath(str),  # type: ignore[valid-type]
    base: dsl.OutputPath(str),  # type: ignore[valid-type]
    teacher: dsl.OutputPath(str),  # type: ignore[valid-type]
    before: dsl.OutputPath(str),  # type: ignore[valid-type]
    champion: dsl.OutputPath(str),  # type: ignore[valid-type]
    champion_version: dsl.OutputPath(str),  # type: ignore[valid-type]
    where: dsl.OutputPath(str),  # type: ignore[valid-type]
    summary: dsl.OutputPath(str),  # type: ignore[valid-type]
) -> dsl.ContainerSpec:
    """Pins whatever can change under a name: sources, base model, champion, a table's past, and where a run reads."""
    return dsl.ContainerSpec(
        image=image("data"),
        command=["python3", "-m", "components.resolve"],
        args=[
            "--settings", settings,
            "--executor-input", "{{$}}",
        ],
    )  # fmt: skip
