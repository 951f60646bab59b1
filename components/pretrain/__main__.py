"""The pretrain step as a command."""

import sys

from components.pretrain.settings import PretrainSettings
from modelmill.command import Result, main
from modelmill.step import Step
from modelmill.training.launch import launch


def _call(step: Step, settings: PretrainSettings, corpus: str, base: str) -> Result:
    from components.pretrain.run import run

    made = run(step, settings, corpus, base)
    return Result(outputs={"model": made.model}, summary=made.summary)


if __name__ == "__main__":
    sys.exit(main("pretrain", PretrainSettings, ["corpus", "base"], _call, launch=launch))
