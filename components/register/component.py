"""The KFP specification of register."""

from kfp import dsl

from modelmill.images import image


@dsl.container_component
def register(
    settings: str,
    report: str,
    comparison: str,
    champion: str,
    champion_version: str,
    champion_summary: str,
    model: str,
    corpus: str,
    labelled: str,
    made_corpus: str,
    made_labelled: str,
    pretrain_summary: str,
    finetune_summary: str,
    where: str,
    verdict: dsl.OutputPath(str),  # type: ignore[valid-type]
    version: dsl.OutputPath(str),  # type: ignore[valid-type]
    final_report: dsl.OutputPath(str),  # type: ignore[valid-type]
    summary: dsl.OutputPath(str),  # type: ignore[valid-type]
    registered: dsl.Output[dsl.Model],
) -> dsl.ContainerSpec:
    """Decides, and makes the model a version in the registry."""
    return dsl.ContainerSpec(
        image=image("data"),
        command=["python3", "-m", "components.register"],
        args=[
            "--settings", settings,
            "--report", report,
            "--comparison", comparison,
            "--champion", champion,
            "--champion-version", champion_version,
            "--champion-summary", champion_summary,
            "--model", model,
            "--corpus", corpus,
            "--labelled", labelled,
            "--made-corpus", made_corpus,
            "--made-labelled", made_labelled,
            "--pretrain-summary", pretrain_summary,
            "--finetune-summary", finetune_summary,
            "--where", where,
            "--executor-input", "{{$}}",
        ],
    )  # fmt: skip
