"""From clean rows to what a model reads: by what the datasets hold."""

from collections.abc import Callable, Mapping

from components.preprocess import images, questions, tables, text
from components.preprocess.outputs import Inputs, PreprocessOutputs
from components.preprocess.settings import PreprocessSettings
from modelmill.dataset import open_dataset
from modelmill.errors import ModelmillError
from modelmill.step import Step

_KINDS: Mapping[str, Callable[[Step, PreprocessSettings, Inputs], PreprocessOutputs]] = {
    "text": text.run,
    "labelled-text": text.run,
    "labelled-pairs": text.run,
    "labelled-targets": text.run,
    "images": images.run,
    "labelled-images": images.run,
    "labelled-questions": questions.run,
    "labelled-table": tables.run,
}
"""By what ingest's dataset holds."""


def run(step: Step, settings: PreprocessSettings, corpus: str, labelled: str, base: str) -> PreprocessOutputs:
    """Make the datasets at two addresses, '' for none, what a model reads; `base` is the base model's pin.

    Raises:
        UserError: the data do not fit the settings or the base model.
        ModelmillError: a dataset or the base model is not what it was.
    """
    address = labelled or corpus
    kind = open_dataset(step.store, address).meta["kind"]
    if kind not in _KINDS:
        raise ModelmillError(f"{address}: holds {kind}, and preprocessing reads {', '.join(_KINDS)}")
    made = _KINDS[kind](step, settings, Inputs(corpus=corpus, labelled=labelled, base=base))
    step.figures({key: float(value) for key, value in made.summary.items() if isinstance(value, int | float)})
    return made
