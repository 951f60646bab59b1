"""Resumable training state in the store: tensors first, then the manifest that makes them count."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from modelmill.digest import digest
from modelmill.errors import ModelmillError
from modelmill.store import Store
from modelmill.training.divided import like

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
    _kept: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict, init=False, repr=False)
    """Parts that need not be written again while their number stays, as a manifest names them."""

    def save(
        self,
        step: int,
        state: Mapping[str, Any],
        tensors: Mapping[str, Tensors],
        numbers: Mapping[str, int] | None = None,
    ) -> None:
        """Commit the state after a step; one that is there already is the same and stays.

        A part with a number is written only where the number is another than that of the last part of this name.

        Raises:
            ModelmillError: the store cannot be written.
        """
        key = self._key(step)
        if self.store.has_manifest(key):
            return
        files = {part: self._put(part, named, (numbers or {}).get(part)) for part, named in tensors.items() if named}
        content = {"step": step, "state": dict(state), "files": files}
        self.store.put_manifest(key, {**content, "digest": digest(content)})
        log.info("checkpoint after step %d: %s", step, self.store.place(key))

    def steps(self) -> list[int]:
        """Return the steps after which the state was saved, whole or not, the newest first."""
        prefix = f"checkpoints/{self.run_key}/step-"
        names = [key.removeprefix(prefix).removesuffix(".json") for key in self.store.keys(prefix)]
        return sorted((int(name) for name in names if name.isdecimal()), reverse=True)

    def newest(self) -> Checkpoint | None:
        """Return the newest whole checkpoint; a damaged one is named in the log and passed over."""
        return next(self.whole(), None)

    def whole(self) -> Iterator[Checkpoint]:
        """Yield the whole checkpoints, the newest first; a damaged one is named in the log and passed over."""
        for step in self.steps():
            try:
                yield self.load(step)
            except (ModelmillError, SafetensorError, AttributeError, KeyError, TypeError) as error:
                self.pass_over(step, error)

    def pass_over(self, step: int, error: Exception) -> None:
        """Say that a checkpoint is of no use."""
        place = self.store.place(self._key(step))
        log.warning("%s: cannot be resumed from, trying an older one: %s", place, error)

    def load(self, step: int) -> Checkpoint:
        """Return the state after a step.

        Raises:
            ModelmillError: it is not there, or not what was saved.
        """
        key = self._key(step)
        manifest = self.store.get_manifest(key)
        if manifest.pop("digest", "") != digest(manifest):
            raise ModelmillError(f"{self.store.place(key)}: was changed")
        return Checkpoint(
            step=manifest["step"], state=manifest["state"], tensors=dict(self._fetched(manifest["files"]))
        )

    def keep(self, newest: int, also: int | None = None) -> None:
        """Delete all checkpoints but the newest ones, and one more by its step."""
        for step in self.steps()[newest:]:
            if step != also:
                self.store.delete_checkpoint(self._key(step))

    def drop_after(self, step: int) -> None:
        """Delete the checkpoints of steps that are to be done again in another way."""
        for later in self.steps():
            if later > step:
                self.store.delete_checkpoint(self._key(later))
        self._kept.clear()

    def _put(self, part: str, named: Tensors, number: int | None) -> dict[str, Any]:
        last, entry = self._kept.get(part, (None, {}))
        if number is not None and number == last and self.store.has_blob(entry["sha256"]):
            return entry
        path = self.scratch / f"{part}.safetensors"
        # With the run key in it, a checkpoint's file is that of no other training, nor of a model.
        save_file({name: tensor.contiguous() for name, tensor in named.items()}, path, {"run": self.run_key})
        blob = self.store.put_blob_file(path)
        path.unlink()
        entry = {"sha256": blob.sha256, "bytes": blob.bytes}
        if number is not None:
            self._kept[part] = (number, entry)
        return entry

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


def check_tensors(own: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor]) -> None:
    """Check that tensors can take the place of a model's.

    Raises:
        ModelmillError: the names, shapes or types are not those of the model.
    """
    if own.keys() != tensors.keys():
        odd = sorted(own.keys() ^ tensors.keys())
        raise ModelmillError(f"{len(odd)} weights of the checkpoint and the model do not pair up, as {odd[0]!r}")
    for name, tensor in tensors.items():
        theirs, ours = (f"{tuple(each.shape)} {each.dtype}" for each in (tensor, own[name]))
        if theirs != ours:
            raise ModelmillError(f"{name!r} is {theirs} in the checkpoint and {ours} in the model")


def load_model_tensors(model: torch.nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put back what `model_tensors` gave, in place.

    Raises:
        ModelmillError: the names, shapes or types are not those of the model.
    """
    own = model_tensors(model)
    check_tensors(own, tensors)
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(like(tensor, tensors[name]))


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
