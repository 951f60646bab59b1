"""Checkpoints written by a thread while training goes on."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelmill.training.checkpoint import Checkpoints, Tensors

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Writer:
    """Copies a state, then writes the copy aside; one at a time."""

    checkpoints: Checkpoints
    newest: int
    """Checkpoints that stay."""
    every: int | None
    """Steps between those that training may go back to; the last of them stays too."""
    seconds: float = field(default=0.0, init=False)
    """Time that training waited for copies and for earlier writes."""
    _thread: threading.Thread | None = field(default=None, init=False)
    _error: BaseException | None = field(default=None, init=False)

    @property
    def busy(self) -> bool:
        """Whether a state is being written."""
        return self._thread is not None and self._thread.is_alive()

    def save(self, step: int, state: Mapping[str, Any], tensors: Mapping[str, Tensors], **numbers: int) -> None:
        """Copy a state and begin to write it; `numbers` are those of `Checkpoints.save`.

        Raises:
            ModelmillError: the last one could not be written.
        """
        began = time.perf_counter()
        self.wait()
        # A part with a number is changed by no one: it is another tensor when its number is another.
        copied = {
            part: named if part in numbers else {name: tensor.to("cpu", copy=True) for name, tensor in named.items()}
            for part, named in tensors.items()
        }

        def write() -> None:
            self.checkpoints.save(step, state, copied, numbers)
            self.checkpoints.keep(self.newest, None if self.every is None else step // self.every * self.every)

        self._thread = threading.Thread(target=self._run, args=(write,), name="checkpoint", daemon=True)
        self._thread.start()
        self.seconds += time.perf_counter() - began

    def wait(self) -> None:
        """Wait until nothing is being written.

        Raises:
            ModelmillError: the last state could not be written.
        """
        self.close()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def close(self) -> None:
        """Wait until nothing is being written; an error stays for `wait`."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, write: Callable[[], None]) -> None:
        try:
            write()
        except BaseException as error:  # noqa: BLE001  it is raised again by `wait`
            self._error = error
            log.warning("the checkpoint could not be written: %s", error)
