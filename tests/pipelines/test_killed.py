"""MLflow's server, or the object store, killed between any two calls of a command and begun again: it goes on.

A server's state changes with the requests that write alone, so a death before each of them and one after it are all.
"""

import itertools
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import pytest

from components.register.run import run as register
from modelmill.errors import ModelmillError
from modelmill.registry.promotion import Promotions
from modelmill.registry.versions import CHALLENGER, CHAMPION
from modelmill.store import open_store
from modelmill.tracking import mlflow_client
from pipelines import models as commands
from tests import samples, servers
from tests.components.register.made import evidence, settings
from tests.modelmill.registry.loadable import loadable_version
from tests.modelmill.registry.made import promotions, state, version
from tests.postgresql import BACKENDS, postgresql
from tests.way import Way, way_to

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.parametrize("mortals", BACKENDS, indirect=True)]
Server = TypeVar("Server")


@dataclass
class Mortal(Generic[Server]):
    """A server that can be killed, and begun again with all that it had."""

    begin: Callable[[Server | None], AbstractContextManager[Server]]
    server: Server
    stack: ExitStack = field(default_factory=ExitStack)

    @classmethod
    @contextmanager
    def of(cls, begin: Callable[[Server | None], AbstractContextManager[Server]]) -> Iterator["Mortal[Server]"]:
        with ExitStack() as stack:
            yield cls(begin, stack.enter_context(begin(None)), stack)

    def kill(self) -> None:
        self.stack.close()

    def again(self) -> None:
        self.server = self.stack.enter_context(self.begin(self.server))


@dataclass
class Mortals:
    """Both servers, and the way by which this process goes to each."""

    servers: dict[str, Mortal[servers.MlflowServer] | Mortal[servers.S3Server]]
    ways: dict[str, Way]

    def deaths(self, server: str, command: Callable[[], object], every: int = 1) -> Iterator[tuple[int, list[str]]]:
        """Kill a server at the writes of a command in turn, before or after it acted, and begin it again.

        Yields, for each death, the number of the write and what the command told, if it told anything; then the
        command is to be repeated. Ends where a command does without so many writes.
        """
        way = self.ways[server]
        # Not by itertools.product, which would first count to the end.
        for write, acted in ((write, acted) for write in itertools.count(1, every) for acted in (False, True)):
            way.mend(write, acted=acted)
            told = []
            try:
                command()
            except ModelmillError as error:
                told.append(str(error))
            cut = way.cut
            way.mend(0, acted=acted)
            if not cut:
                return
            self.servers[server].again()
            yield write, told


def writes(method: str, path: str) -> bool:
    """Whether a request changes what a server holds."""
    return method not in {"GET", "HEAD"} and not path.partition("?")[0].endswith("search")


@pytest.fixture(scope="module")
def mortals(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mortals]:
    """Servers of the tests' own, MLflow on the back end that the parameter names and with its artifacts in S3."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("mlflow", "s3")}
    with ExitStack() as stack:
        backend = stack.enter_context(postgresql()) if request.param == "postgresql" else ""
        s3 = stack.enter_context(Mortal.of(partial(servers.seaweedfs, folders["s3"])))

        def mlflow(before: servers.MlflowServer | None) -> AbstractContextManager[servers.MlflowServer]:
            return servers.mlflow(folders["mlflow"], backend=backend, s3=s3.server, before=before)

        mlflow_server = stack.enter_context(Mortal.of(mlflow))
        told = {"mlflow": (mlflow_server.server.uri, mlflow_server.kill), "s3": (s3.server.endpoint, s3.kill)}
        ways: dict[str, Way] = {}
        addresses: dict[str, str] = {}
        for name, (uri, kill) in told.items():
            addresses[name], ways[name] = stack.enter_context(way_to(uri, Way(counts=writes, kill=kill)))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        env = {**s3.server.env, "AWS_ENDPOINT_URL": addresses["s3"], "MLFLOW_TRACKING_URI": addresses["mlflow"]}
        env |= {"MODELMILL_STORE": f"s3://{s3.server.new_bucket()}/store", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
        for name, value in env.items():
            patch.setenv(name, value)
        patch.setattr("modelmill.store.s3._ATTEMPTS", 1)
        yield Mortals({"mlflow": mlflow_server, "s3": s3}, ways)


def models(name: str = "") -> Promotions:
    return promotions(mlflow_client(), open_store(), name)


@pytest.mark.parametrize("server", ["mlflow", "s3"])
def test_a_promotion_and_a_rollback_outlive_the_servers(mortals: Mortals, server: str, tmp_path: Path) -> None:
    of = models()
    name = of.registry.name
    of.promote(loadable_version(of, tmp_path / "model"), who="ann")
    version(of, beside="1")
    moves = state(of)[1]
    promote, back = partial(commands.promote, name, "2", force=True, reason="x"), partial(commands.rollback, name)
    for command, then, move in ((promote, back, ("force", "1", "2")), (back, promote, ("rollback", "2", "1"))):
        for write, told in mortals.deaths(server, command):
            assert len(told) == 1, f"write {write}"
            command()
            moves.append(move)
            assert state(models(name)) == (move[2], moves), f"write {write}"
            then()
            moves = state(models(name))[1]
        moves = state(models(name))[1]


@pytest.mark.parametrize(("server", "every"), [("mlflow", 4), ("s3", 2)])
def test_registering_outlives_the_servers(
    mortals: Mortals, server: str, every: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = evidence(open_store(), tmp_path)
    names = (f"model-{uuid.uuid4().hex[:10]}" for _ in itertools.count())
    name = next(names)

    def command() -> None:
        folder = tmp_path / uuid.uuid4().hex
        register(samples.step_of(open_store(), folder, "register"), settings(name), given, {})

    monkeypatch.setenv("MODELMILL_RUN", uuid.uuid4().hex)
    for write, told in mortals.deaths(server, command, every):
        assert len(told) <= 1, f"write {write}"
        command()
        of = models(name)
        assert state(of) == ("1", [("first", None, "1")]), f"write {write}"
        assert of.registry.aliases("1") == (CHALLENGER, CHAMPION)
        assert len(of.registry.client.search_model_versions(f"name = '{name}'")) == 1
        name = next(names)
        monkeypatch.setenv("MODELMILL_RUN", uuid.uuid4().hex)
