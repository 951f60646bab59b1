"""From a reader's batch to the pictures that can be used, with all that is known of each, and those that cannot."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from components.ingest.images.decode import Looked, look_all
from components.ingest.images.features import ANIMATED, BLANK, FLAGS, Features, measure
from components.ingest.images.pictures import Pictures
from components.ingest.images.settings import Images
from modelmill.ledger import Rejected
from modelmill.pictures.faults import Fault


@dataclass(frozen=True, kw_only=True, eq=False)
class Examined:
    """The usable pictures of a batch, in order."""

    numbers: Sequence[int]
    names: Sequence[str]
    labels: Sequence[Any]
    looked: Sequence[Looked]
    """Bytes, width, height, mode and id of each."""
    features: Features
    """Hash, brightness, contrast, sharpness and flags of each; all zero where pictures are not checked."""
    comparable_N: npt.NDArray[np.bool_]
    """Which may be near-duplicates of others: large enough, and not blank."""
    bad: Sequence[Rejected]
    """The reader's, and those that the looking found, in the order of their numbers."""


def examine(pictures: Pictures, settings: Images) -> Examined:
    """Look at each picture of a batch, and measure all that are found right."""
    places, looked, bad = [], [], list(pictures.bad)
    for place, found in enumerate(look_all(pictures.data, settings)):
        if isinstance(found, Fault):
            bad.append(_rejected(pictures, place, found))
        else:
            places.append(place)
            looked.append(found)
    features = measure(looked, settings) if settings.check else Features.nothing(len(looked))
    if settings.flagged == "drop":
        # An animation's first picture is as good as any.
        kept = np.flatnonzero(features.flags_N & ~np.uint8(ANIMATED) == 0).tolist()
        dropped = sorted(set(range(len(looked))).difference(kept))
        bad += [_rejected(pictures, places[row], _flagged(features, row, settings)) for row in dropped]
        places, looked, features = [places[row] for row in kept], [looked[row] for row in kept], features.take(kept)
    return Examined(
        numbers=[pictures.numbers[place] for place in places],
        names=[pictures.names[place] for place in places],
        labels=[pictures.labels[place] for place in places],
        looked=looked,
        features=features,
        comparable_N=_comparable(looked, features, settings),
        bad=sorted(bad, key=lambda row: row.row),
    )


def flag_names(flags: int) -> list[str]:
    """Return the names of a picture's flags."""
    return [name for bit, name in enumerate(FLAGS) if flags >> bit & 1]


def _comparable(looked: Sequence[Looked], features: Features, settings: Images) -> npt.NDArray[np.bool_]:
    if not settings.check or settings.near_duplicates is None:
        return np.zeros(len(looked), dtype=np.bool_)
    side_N = np.fromiter((min(each.width, each.height) for each in looked), dtype=np.int64, count=len(looked))
    comparable_N: npt.NDArray[np.bool_] = (side_N >= settings.near_min_side) & (features.flags_N & BLANK == 0)
    return comparable_N


def _flagged(features: Features, row: int, settings: Images) -> Fault:
    # The last flag says most: a blank picture may be dark too.
    reason = flag_names(int(features.flags_N[row]))[-1]
    details = {
        "dark": f"mean gray level {features.brightness_N[row]:.1f}; 99 % are below {settings.dark}",
        "bright": f"mean gray level {features.brightness_N[row]:.1f}; 99 % are above {settings.bright}",
        "blurry": f"variance of the Laplacian {features.sharpness_N[row]:.2f}, blurry is {settings.blurry:g}",
        "blank": f"standard deviation of gray {features.contrast_N[row]:.2f}, blank is {settings.blank:g}",
    }
    return Fault(reason, details[reason])


def _rejected(pictures: Pictures, place: int, fault: Fault) -> Rejected:
    number, name = pictures.numbers[place], pictures.names[place]
    return Rejected(row=number, reason=fault.reason, text=name, detail=fault.detail)
