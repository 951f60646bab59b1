"""The ingest step as a command."""

import sys

from components.ingest.settings import IngestSettings
from modelmill.command import Result, main
from modelmill.step import Step


def _call(step: Step, settings: IngestSettings, sources: str, before: str) -> Result:
    from components.ingest.run import run

    made = run(step, settings, sources, before)
    return Result(
        outputs={
            "corpus": made.corpus,
            "labelled": made.labelled,
            "made_corpus": made.made_corpus,
            "made_labelled": made.made_labelled,
        },
        summary=made.summary,
    )


if __name__ == "__main__":
    sys.exit(main("ingest", IngestSettings, ["sources", "before"], _call))
