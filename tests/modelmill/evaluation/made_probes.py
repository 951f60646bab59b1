"""What models were probed with, made up for the tests of the page."""

from typing import Literal

import numpy as np

from modelmill.evaluation.ladders import Ladder, picture_ladders, table_ladders, text_ladders
from modelmill.evaluation.probes import (
    Case,
    Changed,
    ChangedLevel,
    Cost,
    Explanations,
    Measured,
    Moved,
    Probes,
    Robustness,
    Speed,
)
from modelmill.pictures.overlay import data_uri, overlay

Kind = Literal["text", "picture", "table"]


def probes(kind: Kind, text: str = "a dull, lifeless film", value: float = 0.8) -> Probes:
    """Return all that may be found out about a model of texts, pictures or tables."""
    ladders = {
        "text": lambda: text_ladders(["typos", "truncation", "case"]),
        "picture": lambda: picture_ladders(["noise", "blur", "brightness", "rotation", "fgsm"], 16),
        "table": lambda: table_ladders(["noise", "missing", "fgsm"]),
    }[kind]()
    shown = {"picture": picture()} if kind == "picture" else {"sample": text}
    return Probes(
        robustness=Robustness(
            metric="r2" if kind == "table" else "accuracy",
            rows=200,
            unchanged=Measured(value=value, low=value - 0.05, high=value + 0.05),
            changes=tuple(changed(ladder, value, shown) for ladder in ladders),
            **shown,
        ),
        explanations=Explanations(
            kind=kind, unit="log-odds", blank="nothing", cases=(case(kind, text, True), case(kind, text, False))
        ),
        cost=cost(),
    )


def changed(ladder: Ladder, value: float, shown: dict[str, str]) -> Changed:
    """Return how the figure falls, to below 0 at the end."""
    levels = tuple(
        ChangedLevel(
            strength=level.strength,
            word=level.word,
            measured=Measured(value=value - 0.2 * number, low=value - 0.2 * number - 0.3, high=value - 0.1 * number),
            **shown,
        )
        for number, level in enumerate(ladder.levels, 1)
    )
    return Changed(change=ladder.change, said=ladder.said, unit=ladder.unit, levels=levels)


def picture() -> str:
    """Return a small picture."""
    return data_uri(np.arange(256, dtype=np.uint8).reshape(16, 16, 1))


def case(kind: Kind, text: str, right: bool) -> Case:
    """Return an answer and what moved it."""
    weights = np.linspace(-1, 1, 256).reshape(16, 16)
    parts = [(word + " ", "", 1.0 - number / 2) for number, word in enumerate(text.split()[:5])]
    columns = [("a_column_of_some_length", "12.5", 2.5), ("other", "north", -1.0)]
    chosen = {"text": parts, "table": columns, "picture": []}[kind]
    most = max((abs(by) for *_, by in chosen), default=1.0)
    drawn = data_uri(overlay(np.full((16, 16, 1), 90, dtype=np.uint8), weights)) if kind == "picture" else ""
    return Case(
        id="a" * 32,
        right=right,
        truth="positive",
        answer="positive" if right else "negative",
        probability=0.9,
        moved=1.5,
        delta=0.001 if right else 0.7,
        steps=64 if right else 512,
        converged=right,
        parts=tuple(Moved(part=part, value=value, by=by, weight=by / most) for part, value, by in chosen),
        picture=picture() if kind == "picture" else "",
        overlay=drawn,
    )


def cost(p99_ms: float = 12.0, size: int = 2_000_000, calls: int = 400) -> Cost:
    """Return what a small model costs."""
    return Cost(
        machine="2 cores of a processor, Linux, torch 2.14.1",
        device="cpu",
        threads=2,
        warm_up=3,
        speeds=tuple(
            Speed(
                batch=batch,
                calls=calls,
                p50_ms=p99_ms / 2,
                p99_ms=p99_ms,
                p99_interval=(p99_ms * 0.9, p99_ms * 1.25),
                rows_per_second=2000 * batch / p99_ms,
            )
            for batch in (1, 32)
        ),
        bytes=size,
        parameters=500_000,
        peak_memory_mb=612.5,
        peak_of="answering",
    )
