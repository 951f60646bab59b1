"""MLflow in a file, for all tests of a module, without a model at the start of each."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.modelmill.registry.made import local_client


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
