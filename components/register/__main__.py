"""The register step as a command."""

import json
import sys

from components.register.settings import RegisterSettings
from modelmill.command import Result, main
from modelmill.step import Step

INPUTS = [
    "report",
    "comparison",
    "champion",
    "champion_version",
    "model",
    "corpus",
    "labelled",
    "made_corpus",
    "made_labelled",
]
SUMMARIES = ["pretrain_summary", "finetune_summary"]


def _call(step: Step, settings: RegisterSettings, **inputs: str) -> Result:
    from components.register.run import Evidence, run

    fault = json.loads(inputs["champion_summary"] or "{}").get("why_not", "")
    evidence = Evidence(**{name: inputs[name] for name in INPUTS}, champion_fault=fault)
    summaries = {name.removesuffix("_summary"): json.loads(inputs[name]) for name in SUMMARIES if inputs[name]}
    made = run(step, settings, evidence, summaries)
    outputs = {"verdict": made.verdict, "version": made.version, "final_report": made.report}
    return Result(outputs=outputs, summary=made.summary)


if __name__ == "__main__":
    sys.exit(main("register", RegisterSettings, [*INPUTS, "champion_summary", *SUMMARIES], _call))
