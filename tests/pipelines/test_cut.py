"""Commands on the registry whose servers are gone at any request: told, and done once when they are repeated."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import unquote

import pytest

from modelmill.errors import ModelmillError
from modelmill.registry.promotion import Promotions
from modelmill.store import open_store
from modelmill.tracking import mlflow_client
from pipelines import models as commands
from tests.modelmill.registry.loadable import loadable_version
from tests.modelmill.registry.made import promotions, state, version
from tests.way import Way, way_to

ANSWER_LOST = pytest.param(True, id="answer-lost")
ADVICE = {"mlflow": "MLFLOW_TRACKING_URI", "s3": "AWS_ENDPOINT_URL"}


def models(name: str = "") -> Promotions:
    return promotions(mlflow_client(), open_store(), name)


def one_of_many(method: str, path: str) -> bool:
    """Of the files of a version that are fetched one counts, and one of a history, which grows."""
    file = unquote(path.partition("?")[0])
    if "/artifacts/" in file:
        return file.endswith("/modelmill.json")
    return method != "GET" or "/promotions/" not in file or file.endswith("/000000.json")


@pytest.fixture
def way(
    request: pytest.FixtureRequest, mlflow_on: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Way, str]]:
    """A way to the server that a test's parameter names, by which this process goes; and what advice names it."""
    variable = ADVICE[request.param]
    # Each request once: a client that asks again finds the way still cut.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr("modelmill.store.s3._ATTEMPTS", 1)
    with ExitStack() as stack:
        uri, way = stack.enter_context(way_to(mlflow_on[variable], Way(counts=one_of_many)))
        monkeypatch.setenv(variable, uri)
        yield way, variable


def at_any_request(way: Way, acted: bool, prepare: Callable[[], str], command: Callable[[str], object]) -> list[str]:
    """Cut the way at each request of a command in turn, mend it and repeat the command; return what was told.

    `prepare` makes what the command is about, and returns its name; of all together the history must have one entry
    more than before, with the alias where it ends.
    """
    told: list[str] = []
    for at in range(1, 100):
        name = prepare()
        before = state(models(name))[1]
        way.mend(at, acted=acted)
        try:
            command(name)
        except ModelmillError as error:
            told.append(str(error))
        cut = way.cut
        way.mend(0, acted=acted)
        # The history never tells of half a thing, and another command finds the champion that it tells of.
        alias, moves = state(models(name))
        assert moves[: len(before)] == before, at
        assert len(moves) - len(before) in {0, 1}, at
        command(name)
        alias, moves = state(models(name))
        assert (len(moves) - len(before), alias) == (1, moves[-1][2]), at
        if not cut:
            assert len(told) == at - 1
            return told
    raise AssertionError("100 requests were not enough")


@pytest.mark.parametrize("mlflow_on", ["sqlite"], indirect=True)
@pytest.mark.parametrize("way", ["mlflow", pytest.param("s3", marks=pytest.mark.slow)], indirect=True)
@pytest.mark.parametrize("acted", [pytest.param(False, marks=pytest.mark.slow, id="before-it-acts"), ANSWER_LOST])
@pytest.mark.parametrize("force", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["by-verdict", "by-force"])
def test_a_promotion_that_loses_a_server_at_any_request_is_repeated(
    way: tuple[Way, str], acted: bool, force: bool
) -> None:
    def prepare() -> str:
        of = models()
        of.promote(version(of), who="ann")
        version(of, beside="1")
        return of.registry.name

    told = at_any_request(
        way[0], acted, prepare, lambda name: commands.promote(name, "2", force=force, reason="x" if force else "")
    )
    assert len(told) >= 4
    assert [said for said in told if way[1] not in said] == []


@pytest.mark.slow
# Some 25 rollbacks, each of which fetches a version twice and loads it.
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("way", "mlflow_on"),
    [("mlflow", "sqlite"), pytest.param("mlflow", "postgresql", marks=pytest.mark.system), ("s3", "sqlite")],
    indirect=True,
)
@pytest.mark.parametrize("acted", [pytest.param(False, id="before-it-acts"), ANSWER_LOST])
def test_a_rollback_that_loses_a_server_at_any_request_is_repeated(
    way: tuple[Way, str], acted: bool, tmp_path: Path
) -> None:
    of = models()
    of.promote(loadable_version(of, tmp_path / "model"), who="ann")
    version(of, beside="1")

    def prepare() -> str:
        models(of.registry.name).promote("2", who="ann", force=True, reason="to come back from")
        return of.registry.name

    told = at_any_request(way[0], acted, prepare, commands.rollback)
    assert len(told) >= 4
    assert [said for said in told if way[1] not in said] == []
