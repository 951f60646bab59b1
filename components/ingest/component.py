"""The KFP specification of ingest."""

from kfp import dsl

from modelmill.images import image


@dsl.container_component
def ingest(
    settings: str,
    sources: str,
    before: str,
    where: str,
    corpus: dsl.OutputPath(str),  # type: ignore[valid-type]
    labelled: dsl.OutputPath(str),  # type: ignore[valid-type]
    made_corpus: dsl.OutputPath(str),  # type: ignore[valid-type]
    made_labelled: dsl.OutputPath(str),  # type: ignore[valid-type]
    summary: dsl.OutputPath(str),  # type: ignore[valid-type]
    dataset: dsl.Output[dsl.Dataset],
) -> dsl.ContainerSpec:
    """Raw files to clean, deduplicated, split Parquet, every row accounted for."""
    return dsl.ContainerSpec(
        image=image("data"),
        command=["python3", "-m", "components.ingest"],
        args=[
            "--settings", settings,
            "--sources", sources,
            "--before", before,
            "--where", where,
            "--executor-input", "{{$}}",
        ],
    )  # fmt: skip
