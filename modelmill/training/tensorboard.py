"""Curves for TensorBoard, where MODELMILL_TENSORBOARD names a folder: beside MLflow, not instead of it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelmill.step import Figures, Step
from modelmill.tracking import RUN_VARIABLE

FOLDER_VARIABLE = "MODELMILL_TENSORBOARD"


@contextmanager
def drawn(step: Step) -> Iterator[None]:
    """Let a step's figures go to `<folder>/<run>/<step>` too, if a folder is named."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        yield
        return
    before = step.figures_to
    board = _Board(folder=Path(folder) / os.environ.get(RUN_VARIABLE, "run") / step.name, others=before)
    step.figures_to = board
    try:
        yield
    finally:
        step.figures_to = before
        board.close()


@dataclass(kw_only=True)
class _Board:
    folder: Path
    others: Figures | None
    """Where the figures go besides."""
    _writer: Any = None

    def log(self, values: Mapping[str, float], at: int | None) -> None:
        """Record figures by name; those of no training step make no curve."""
        if self.others is not None:
            self.others.log(values, at)
        if at is None:
            return
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            # A training that goes on may tell again what it told before it was stopped: what is new counts.
            self._writer = SummaryWriter(str(self.folder), purge_step=at)
        for name, value in values.items():
            self._writer.add_scalar(name, value, at)
        self._writer.flush()

    def close(self) -> None:
        """Write what is not written yet."""
        if self._writer is not None:
            self._writer.close()
