"""Whether a model may take the champion's place, and why."""

from collections.abc import Sequence
from typing import Literal

from modelmill.evaluation.checks import Check
from modelmill.settings import Section

Decision = Literal["promote", "hold", "undecided"]


class Verdict(Section):
    """What was decided, with the reasons in sentences."""

    decision: Decision
    reasons: tuple[str, ...]


def verdict(checks: Sequence[Check], champion: str | None) -> Verdict:
    """Decide on a model from its checks.

    `champion` names the version in use, if there is another one than this model's. A failed check holds the model back
    in any case. Without a champion, passing them all promotes; beside a champion nothing is decided, as checks say
    nothing about which of two models is better.
    """
    failed = [check.sentence for check in checks if not check.passed]
    passed = [check.sentence for check in checks if check.passed]
    stays = [f"{champion} stays the champion."] if champion else []
    if failed:
        return Verdict(decision="hold", reasons=(*failed, *passed, *stays))
    if champion:
        reason = f"{champion} stays the champion: the two models have not been compared on the same rows."
        return Verdict(decision="undecided", reasons=(reason, *passed))
    return Verdict(decision="promote", reasons=("No other version is champion.", *passed))
