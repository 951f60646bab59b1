"""How a run ended, as a person reads it: short enough to be sent whole, and without secrets."""

import pytest

from modelmill.registry.ending import Ending


def test_a_long_error_and_many_lines_leave_room_for_each_other() -> None:
    told = Ending(
        recipe="r", run="1", state="failed", error="e" * 9000, lines=["x" * 290] * 20 + ["the last"], page="p"
    )
    text = told.happened().text
    # Slack's and an e-mail's text are cut after 3000.
    assert len(text) < 3000
    assert text.endswith("the last")
    assert "\np\n" in text


def test_facts_have_what_is_known_alone() -> None:
    facts = Ending(recipe="r", run="1", state="done", verdict="hold", version="2").happened().facts
    assert facts == {"recipe": "r", "run": "1", "state": "done", "verdict": "hold", "version": "2"}


@pytest.mark.parametrize(
    ("seconds", "cost", "text"),
    [
        (5.2, None, "r: run 1 finished after 5 s"),
        (3600.0, 0.004, "r: run 1 finished after 60 min, at a cost of less than 0.01 USD"),
        (90_000.0, 12.0, "r: run 1 finished after 25 h 0 min, at a cost of 12.00 USD"),
        (None, None, "r: run 1 finished"),
    ],
)
def test_time_and_cost_are_said_where_they_are_known(seconds: float | None, cost: float | None, text: str) -> None:
    assert Ending(recipe="r", run="1", state="done", seconds=seconds, cost=cost, currency="USD").happened().text == text


def test_no_secret_of_the_environment_and_no_password_of_an_address_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "marker-secret")
    monkeypatch.setenv("MODELMILL_NOTIFY", "https://hooks.example.org/marker-hook smtp://a:b@mail/?to=x")
    error = "r: at http://me:pass@host with marker-secret and https://hooks.example.org/marker-hook"
    happened = Ending(recipe="r", run="1", state="failed", error=error, lines=["marker-secret"]).happened()
    told = happened.text + str(happened.facts)
    assert not [word for word in ("marker", "pass@", "me:") if word in told]
