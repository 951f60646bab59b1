"""The KFP specification of preprocess."""

from kfp import dsl

from modelmill.images import image


@dsl.container_component
def preprocess(
    settings: str,
    corpus: str,
    labelled: str,
    base: str,
    where: str,
    corpus_tokens: dsl.OutputPath(str),  # type: ignore[valid-type]
    labelled_tokens: dsl.OutputPath(str),  # type: ignore[valid-type]
    summary: dsl.OutputPath(str),  # type: ignore[valid-type]
    dataset: dsl.Output[dsl.Dataset],
) -> dsl.ContainerSpec:
    """Text to tokens, whole texts of them: the length of a row is a matter of training."""
    return dsl.ContainerSpec(
        image=image("data"),
        command=["python3", "-m", "components.preprocess"],
        args=[
            "--settings", settings,
            "--corpus", corpus,
            "--labelled", labelled,
            "--base", base,
            "--where", where,
            "--executor-input", "{{$}}",
        ],
    )  # fmt: skip
