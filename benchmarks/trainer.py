"""transformers.Trainer as the peer of two benchmarks, with what both leave out: saving, reports and a bar."""

import argparse
from pathlib import Path
from typing import Any


def arguments(folder: Path, given: argparse.Namespace, **own: Any) -> Any:
    """Return the arguments of a Trainer in the precision and with the seed of a benchmark's options."""
    import torch
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(folder / f"trainer-{given.seed}"),
        max_steps=given.steps,
        adam_epsilon=1e-6,
        bf16=given.precision == "bf16",
        use_cpu=not torch.cuda.is_available(),
        seed=given.seed,
        save_strategy="no",
        logging_steps=50,
        report_to=[],
        disable_tqdm=True,
        dataloader_num_workers=0,
        **own,
    )


def clock() -> Any:
    """Return a callback of a Trainer that notes in `ends` when each step ended."""
    import time

    from transformers import TrainerCallback

    class Clock(TrainerCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.ends: list[float] = []

        def on_step_end(self, *_args: Any, **_others: Any) -> None:
            self.ends.append(time.perf_counter())

    return Clock()
