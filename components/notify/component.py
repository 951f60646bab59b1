"""The KFP specification of notify."""

from kfp import dsl

from modelmill.images import image


@dsl.container_component
def notify(
    settings: str,
    began: str,
    status: dsl.PipelineTaskFinalStatus,
) -> dsl.ContainerSpec:
    """Tells people how a run ended, whatever became of its steps."""
    return dsl.ContainerSpec(
        image=image("data"),
        command=["python3", "-m", "components.notify"],
        args=[
            "--settings", settings,
            "--began", began,
            "--status", status,
        ],
    )  # fmt: skip
