"""The preprocess step as a command."""

import sys

from components.preprocess.settings import PreprocessSettings
from modelmill.command import Result, main
from modelmill.step import Step


def _call(step: Step, settings: PreprocessSettings, corpus: str, labelled: str, base: str) -> Result:
    from components.preprocess.run import run

    made = run(step, settings, corpus, labelled, base)
    return Result(outputs={"corpus_tokens": made.corpus, "labelled_tokens": made.labelled}, summary=made.summary)


if __name__ == "__main__":
    sys.exit(main("preprocess", PreprocessSettings, ["corpus", "labelled", "base"], _call))
