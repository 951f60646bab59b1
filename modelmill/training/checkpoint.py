"""Resumable training state in the store: tensors first, then the manifest that makes them count."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from modelmill.digest import digest
from modelmill.errors import ModelmillError
from modelmill.store import Store

log = logging.getLogger(__name__)

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Training as it was after a number of steps."""

    step: int
    state: dict[str, Any]
    tensors: dict[str, Tensors]
    """By part: weights, optimiser and so on."""


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """The checkpoints of one training: everything that decides its outcome is in the run key."""

    store: Store
    run_key: str
    """Digest of settings, input addresses and code, 64 hexadecimal digits."""
    scratch: Path

    def save(self, step: int, state: Mapping[str, Any], tensors: Mapping[str, Tensors]) -> None:
        """Commit the state after a step; one that is there already is the same and stays.

        Raises:
            ModelmillError: the store cannot be written.
        """
        key = self._key(step)
        if self.store.has_manifest(key):
            return
        files = {part: self._put(part, named) for part, named in tensors.items() if named}
        content = {"step": step, "state": dict(state), "files": files}
        self.store.put_manifest(key, {**content, "digest": digest(content)})
        log.info("checkpoint after step %d: %s", step, self.store.place(key))

    def newest(self) -> Checkpoint | None:
        """Return the newest whole checkpoint; a damaged one is named in the log and passed over."""
        for key in sorted(self.store.keys(f"checkpoints/{self.run_key}/"), reverse=True):
            try:
                return self._load(key)
            except (ModelmillError, KeyError, TypeError) as error:
                log.warning("%s: cannot be resumed from, trying an older one: %s", self.store.place(key), error)
        return None

    def _put(self, part: str, named: Tensors) -> dict[str, Any]:
        path = self.scratch / f"{part}.safetensors"
        # With the run key in it, a checkpoint's file is that of no other training, nor of a model.
        save_file({name: tensor.contiguous() for name, tensor in named.items()}, path, {"run": self.run_key})
        blob = self.store.put_blob_file(path)
        path.unlink()
        return {"sha256": blob.sha256, "bytes": blob.bytes}

    def _load(self, key: str) -> Checkpoint:
        manifest = self.store.get_manifest(key)
        if manifest.pop("digest", "") != digest(manifest):
            raise ModelmillError(f"{self.store.place(key)}: was changed")
        return Checkpoint(
            step=manifest["step"], state=manifest["state"], tensors=dict(self._fetched(manifest["files"]))
        )

    def _fetched(self, files: Mapping[str, Any]) -> Iterator[tuple[str, Tensors]]:
        for part, blob in files.items():
            path = self.scratch / f"{part}.safetensors"
            self.store.fetch_blob(blob["sha256"], path)
            yield part, load_file(path)
            path.unlink()

    def _key(self, step: int) -> str:
        return f"checkpoints/{self.run_key}/step-{step:08d}.json"


def model_tensors(model: torch.nn.Module) -> Tensors:
    """Return a model's weights and buffers by name, each once: tied weights have one name."""
    named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {name: tensor.detach() for name, tensor in named.items()}


def load_model_tensors(model: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put back what `model_tensors` gave, in place.

    Raises:
        ModelmillError: the names are not those of the model.
    """
    own = model_tensors(model)
    if own.keys() != tensors.keys():
        odd = sorted(own.keys() ^ tensors.keys())
        raise ModelmillError(f"{len(odd)} weights of the checkpoint and the model do not pair up, as {odd[0]!r}")
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def random_state() -> Tensors:
    """Return the state of torch's random generators; all others are seeded anew for every step."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_random_state(states: Mapping[str, torch.Tensor]) -> None:
    """Put back what `random_state` gave."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
