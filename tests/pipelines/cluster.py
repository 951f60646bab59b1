"""A profile of the stand-ins, and a recipe with a file of this machine, for tests of what speaks to a cluster."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from modelmill.profile import Profile
from pipelines import cli
from pipelines.cluster.connection import Connection
from pipelines.recipe import Recipe
from tests.pipelines.recipes import RIGHT, read

CSV = "review,label\n" + "".join(f"text {n},{'good' if n % 2 else 'bad'}\n" for n in range(20))


def profile(host: str, store: str = "s3://bucket/store", **known: Any) -> Profile:
    """Return a profile of a server, with two kinds of nodes."""
    kinds = {
        "small": {"price_per_hour": 0.36},
        "gpu": {"device": "nvidia.com/gpu", "count": 2, "price_per_hour": 3.6},
    }
    kfp = {"host": host, "namespace": "modelmill", **known.pop("kfp", {})}
    data = {"name": "test", "store": store, "mlflow": "http://127.0.0.1:9", "kfp": kfp, "nodes": kinds, **known}
    return Profile.model_validate_json(json.dumps({"default_node": "small", **data}))


def profile_file(folder: Path, made: Profile) -> Path:
    """Write a profile, as the command line takes it."""
    path = folder / "profile.yaml"
    path.write_text(json.dumps(made.model_dump(mode="json", exclude_unset=True)))
    return path


def recipe(folder: Path, *overrides: str) -> Recipe:
    """Return a recipe whose one source is a file in a folder."""
    (folder / "shop.csv").write_text(CSV)
    return read(folder, RIGHT, "resources.finetune=gpu", *overrides)


def connection(made: Profile, **known: Any) -> Connection:
    """Return a connection that waits no longer than a test can."""
    defaults: dict[str, Any] = {"patience": 20.0, "sleep": lambda _: None}
    return Connection(profile=made, **{**defaults, **known})


def modelmill(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: Sequence[object]
) -> tuple[int, str, str]:
    """Run a command in this process; return its exit code, what it answered, and what it said beside."""
    monkeypatch.setattr("sys.argv", ["modelmill", *map(str, arguments)])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    return int(str(ended.value.code)), said.out, said.err


def stepwise(*steps: Callable[[], object]) -> Callable[[float], None]:
    """Return a way to sleep in which one thing after another happens, each once."""
    left = list(steps)

    def sleep(_: float) -> None:
        if left:
            left.pop(0)()

    return sleep


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No cluster of this machine's, and no variable that outlives a test."""
    for name in ("MODELMILL_STORE", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "KFP_TOKEN"):
        # Set first, so that it is gone again whatever sets it.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
