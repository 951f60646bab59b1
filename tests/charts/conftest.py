"""The real helm, unpacked once."""

from pathlib import Path

import pytest

from tests.charts.helm import CI, Helm, unpacked


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """The real helm: `.render(values)`, `.refusal(values)`."""
    return unpacked(tmp_path_factory.mktemp("helm"))


@pytest.fixture(params=sorted(CI.glob("*.yaml")), ids=lambda path: path.stem.removesuffix("-values"))
def values(request: pytest.FixtureRequest) -> Path:
    """Each set of values of the matrix."""
    path: Path = request.param
    return path
