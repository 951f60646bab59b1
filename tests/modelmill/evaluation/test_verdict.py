import pytest

from modelmill.evaluation.checks import Check
from modelmill.evaluation.verdict import verdict


def check(passed: bool) -> Check:
    sentence = "it holds" if passed else "it fails"
    return Check(kind="must_beat", metric="accuracy", value=0.8, wanted=0.7, passed=passed, sentence=sentence)


@pytest.mark.parametrize(
    ("outcomes", "champion", "decision", "reasons"),
    [
        ([True], None, "promote", ("No other version is champion.", "it holds")),
        ([True, False], None, "hold", ("it fails", "it holds")),
        ([False], "version 3", "hold", ("it fails", "version 3 stays the champion.")),
        (
            [True],
            "version 3",
            "undecided",
            ("version 3 stays the champion: the two models have not been compared on the same rows.", "it holds"),
        ),
    ],
)
def test_a_verdict_follows_from_the_checks_and_the_champion(
    outcomes: list[bool], champion: str | None, decision: str, reasons: tuple[str, ...]
) -> None:
    found = verdict([check(passed) for passed in outcomes], champion)
    assert (found.decision, found.reasons) == (decision, reasons)
