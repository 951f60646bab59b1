import json
import uuid
from pathlib import Path

import pytest

from modelmill.errors import ModelmillError, UserError
from modelmill.models.base import address_of, base_folder, check_base, pin_base
from modelmill.models.folder import save_model
from modelmill.registry.versions import CHAMPION, Registry
from modelmill.store import open_store
from modelmill.tracking import Tracking
from tests import samples
from tests.modelmill.web_server import Repository, WebServer
from tests.servers import MlflowServer

FILES = {
    "config.json": b'{"model_type": "bert"}',
    "model.safetensors": b"weights",
    "tokenizer.json": b"{}",
    "vocab.txt": b"a",
    "README.md": b"# small",
    "pytorch_model.bin": b"a pickle",
    "onnx/model.onnx": b"another library's",
}


@pytest.fixture
def hub(empty_hub: WebServer) -> WebServer:
    """A small stand-in that answers as the Hub does."""
    empty_hub.repositories["models/us/small"] = Repository(dict(FILES), large={"model.safetensors"})
    return empty_hub


def write(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_a_pinned_folder_is_found_again(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert base_folder(samples.pinned(tmp_path)) == tmp_path


def test_a_folder_that_changed_or_went_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text("{}")
    pin = samples.pinned(tmp_path)
    file.write_text('{"a": 1}')
    with pytest.raises(ModelmillError, match="the base model changed since the run began"):
        base_folder(pin)
    file.unlink()
    with pytest.raises(UserError, match="0 files"):
        base_folder(pin)


def test_a_model_of_the_hub_is_pinned_to_its_commit_and_fetched_without_what_is_not_read(
    hub: WebServer, tmp_path: Path
) -> None:
    pin = pin_base(open_store(str(tmp_path / "store")), "hf://us/small@main")
    assert json.loads(pin)["uri"] == f"hf://us/small@{'c' * 40}"
    hub.asked.clear()
    folder = base_folder(pin)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        name: FILES[name] for name in ("config.json", "model.safetensors", "tokenizer.json", "vocab.txt")
    }
    assert not any(asked.path.endswith((".bin", ".onnx")) for asked in hub.asked)
    asked = len(hub.asked)
    assert base_folder(pin) == folder
    assert len(hub.asked) == asked


def test_what_the_hub_holds_at_a_commit_may_not_change(hub: WebServer, tmp_path: Path) -> None:
    moving = hub.repositories["models/us/moving"] = Repository(dict(FILES))
    pin = pin_base(open_store(str(tmp_path / "store")), "hf://us/moving")
    moving.files["config.json"] = b'{"model_type": "other"}'
    with pytest.raises(ModelmillError, match=r"us/moving@c{40}: the base model changed since .*pinned [0-9a-f]{12}"):
        base_folder(pin)


def test_a_pickle_is_refused_wherever_it_lies_and_before_it_is_fetched(hub: WebServer, tmp_path: Path) -> None:
    only = {name: FILES[name] for name in ("config.json", "pytorch_model.bin")}
    hub.repositories["models/us/old"] = Repository(dict(only))
    store = open_store(str(tmp_path / "store"))
    for uri in ("hf://us/old", str(write(tmp_path / "old", only))):
        with pytest.raises(UserError, match=r"pytorch_model.bin, a pickle.*refused; 0 of its 2 files are safetensors"):
            pin_base(store, uri)
    with pytest.raises(UserError, match=r"no model\.safetensors among its 1 files"):
        pin_base(store, str(write(tmp_path / "none", {"config.json": b"{}"})))
    with pytest.raises(UserError, match=r"no config\.json among its 1 files"):
        pin_base(store, str(write(tmp_path / "bare", {"model.safetensors": b"w"})))


def test_the_hub_is_not_asked_where_it_is_switched_off(
    hub: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelmillError, match="HF_HUB_OFFLINE is set; unset it, or name a local copy"):
        pin_base(open_store(str(tmp_path / "store")), "hf://us/small")
    assert not hub.asked


def test_a_model_of_our_own_store_is_a_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELMILL_STORE", str(tmp_path / "store"))
    store = open_store()
    address = save_model(store, write(tmp_path / "made", FILES), {"task": "masked-lm", "lineage": {"corpus": "x"}})
    assert address_of(tmp_path / "made") == address
    folder = base_folder(pin_base(store, address))
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert address_of(folder) == address
    with pytest.raises(UserError, match="has no such model; name another, or set MODELMILL_STORE"):
        pin_base(store, f"models/{'0' * 64}")


def test_a_registered_model_is_pinned_to_its_version_and_content(
    mlflow_server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)
    monkeypatch.setenv("MODELMILL_RUN", uuid.uuid4().hex)
    store = open_store(str(tmp_path / "store"))
    registry = Registry(client=Tracking.connect().client, name=f"model-{uuid.uuid4().hex[:8]}")
    run = Tracking.connect().open_step("register")
    addresses = []
    for number in (1, 2):
        folder = write(tmp_path / str(number) / "model", {**FILES, "model.safetensors": str(number).encode()})
        addresses.append(save_model(store, folder, {"task": "text-classification"}))
        registry.set_alias(CHAMPION, registry.add(addresses[-1], folder, run=run, example="a film", tags={}))
    pin = pin_base(store, f"models:/{registry.name}@{CHAMPION}")
    assert json.loads(pin) == {"uri": f"models:/{registry.name}/2", "fingerprint": addresses[1]}
    registry.set_alias(CHAMPION, "1")
    assert (base_folder(pin) / "model.safetensors").read_bytes() == b"2"
    other = json.dumps({"uri": f"models:/{registry.name}/1", "fingerprint": addresses[1]})
    with pytest.raises(ModelmillError, match="changed since the run began"):
        base_folder(other)
    with pytest.raises(UserError, match="its aliases are champion"):
        pin_base(store, f"models:/{registry.name}@nobody")
    # An artifact of a run is pinned by its content.
    plain = write(tmp_path / "plain", FILES)
    registry.client.log_artifacts(run, str(plain), "exported")
    pin = pin_base(store, f"runs:/{run}/exported")
    assert (base_folder(pin) / "config.json").read_bytes() == FILES["config.json"]
    with pytest.raises(UserError, match="no such artifact"):
        pin_base(store, f"runs:/{run}/nothing")


def test_what_is_no_model_is_refused_without_asking() -> None:
    for uri, message in (
        (f"checkpoints/{'0' * 64}/step-5", "a checkpoint holds weights without their shape"),
        ("https://example.org/model.safetensors", "one file of the web is no model"),
        ("hf://datasets/us/reviews", "a dataset is no model; write hf://owner/name"),
    ):
        with pytest.raises(UserError, match=message):
            check_base(uri)
