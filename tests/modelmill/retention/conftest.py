"""MLflow in a file, for all tests of a module, without a model at the start of each."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelmill.store import open_store
from tests.modelmill.registry.made import local_client
from tests.modelmill.retention.graphs import Grown


@pytest.fixture(scope="module")
def mlflow_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of MLflow's database."""
    return tmp_path_factory.mktemp("mlflow")


@pytest.fixture
def client(mlflow_file: Path) -> Iterator[Any]:
    """A client of that MLflow."""
    client = local_client(mlflow_file)
    yield client
    forget(client)


def forget(client: Any) -> None:
    """Delete all registered models."""
    for model in client.search_registered_models():
        client.delete_registered_model(model.name)


@pytest.fixture
def grown(tmp_path: Path) -> Grown:
    """A store that is empty but for its epoch."""
    store = open_store(str(tmp_path / "store"))
    store.epoch()
    return Grown(store=store)
