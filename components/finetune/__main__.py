"""The finetune step as a command."""

import sys

from components.finetune.settings import FinetuneSettings
from modelmill.command import Result, main
from modelmill.step import Step
from modelmill.training.launch import launch


def _call(step: Step, settings: FinetuneSettings, labelled: str, model: str, base: str, teacher: str) -> Result:
    from components.finetune.run import run

    made = run(step, settings, labelled, model, base, teacher)
    return Result(outputs={"tuned": made.model}, summary=made.summary)


if __name__ == "__main__":
    sys.exit(main("finetune", FinetuneSettings, ["labelled", "model", "base", "teacher"], _call, launch=launch))
