"""How a model fares on the same rows where they are changed: mistyped, cut, noisy, turned, or moved to mislead it."""

from collections.abc import Sequence

import numpy as np

from components.evaluate.changes import changes_of
from components.evaluate.subject import Answers, NoAnswers, Subject
from modelmill.evaluation.ladders import Ladder
from modelmill.evaluation.probes import Changed, ChangedLevel, Robustness
from modelmill.step import Step

# Rows between two signs of progress, and between two looks at the wish to stop.
_CHUNK = 256


def robustness_of(step: Step, names: Sequence[str], subject: Subject) -> Robustness:
    """Return the main figure on the first test rows, as they are and under each change at each strength.

    Raises:
        NoAnswers: an answer to a changed row is not finite.
    """
    changes = changes_of(subject, names)
    rows = changes.rows
    total, done = rows * sum(len(ladder.levels) for ladder in changes.ladders), 0
    found = []
    for ladder in changes.ladders:
        levels = []
        for level in ladder.levels:
            answers = []
            for start in range(0, rows, _CHUNK):
                step.check_stop()
                step.progress("asking changed rows", done + start, total, "rows")
                batch = slice(start, min(start + _CHUNK, rows))
                answers.append(changes.answers(ladder, level.strength, batch))
            done += rows
            levels.append(
                ChangedLevel(
                    strength=level.strength,
                    word=level.word,
                    measured=subject.measured(_finite(ladder, level.word, np.concatenate(answers))),
                    **changes.example(ladder, level.strength),
                )
            )
        found.append(
            Changed(
                change=ladder.change,
                said=ladder.said,
                unit=ladder.unit,
                levels=tuple(levels),
                hindrance=changes.hindrance(ladder),
            )
        )
    step.progress("asking changed rows", total, total, "rows")
    return Robustness(
        metric=subject.metric,
        rows=rows,
        unchanged=subject.measured(subject.answers[:rows]),
        changes=tuple(found),
        **changes.example(None, 0.0),
    )


def _finite(ladder: Ladder, word: str, answers: Answers) -> Answers:
    bad = int((~np.isfinite(answers)).reshape(len(answers), -1).any(axis=1).sum())
    if bad:
        raise NoAnswers(
            f"the model gives no finite answer to {bad:,} of {len(answers):,} test rows changed by {ladder.change} "
            f"({ladder.unit} {word}): its training diverged; lower finetune.lr, or leave {ladder.change} out of "
            "evaluate.robustness"
        )
    return answers
