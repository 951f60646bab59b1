"""The fixture of the tests that wait for a TrainJob."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelmill.store import open_store
from tests.kubernetes_standin import kubernetes
from tests.modelmill.trainjob.play import Play
from tests.modelmill.trainjob.played import step_pod


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Play]:
    with kubernetes() as cluster, ThreadPoolExecutor(4) as threads:
        cluster.put("pods", step_pod())
        made = Play(cluster, open_store(str(tmp_path / "store")), threads)
        try:
            yield made
        finally:
            # A test that failed leaves no thread waiting.
            made.stop.ask(15)
