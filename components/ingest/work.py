"""What is done to a batch of texts wherever it is done: cleaned, judged, and made comparable. Reads and writes nothing.

A batch goes to a worker and what it came to comes back; no batch knows of another one, so their order and the number of
workers cannot show in the result.
"""

# N texts kept, M of them with words, B bands

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from components.ingest.changed import Changed, changes
from components.ingest.fields import Cleaning, Fields, cleaned, first_text_hashes, joined, payload_columns
from components.ingest.labels import label_text, labeller
from components.ingest.payload import TEXT
from components.ingest.settings import LabelRule
from components.ingest.text.c4 import without_bad_lines
from components.ingest.text.language import Language, detector
from components.ingest.text.minhash import band_keys
from components.ingest.text.personal import Personal, mask
from components.ingest.text.quality import judge
from components.ingest.text.repair import repair
from components.ingest.text.settings import NearDuplicates, Quality
from components.ingest.text.words import Words
from components.ingest.work_parts import Batch, Dropped
from modelmill.text import clean

Places = npt.NDArray[np.int64]
# Markup may make a page many times as long as its text.
_RAW_LIMIT = 20

ID_BYTES = 16
"""Of the SHA-256 of a text: two texts of 10^9 share an id with a chance of 10^-21."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be done with the texts of one source."""

    labelled: bool
    label: LabelRule | None
    min_chars: int
    max_chars: int
    sample: float
    quality: Quality | None
    """For documents; labelled rows are never judged."""
    near: NearDuplicates
    repair: bool
    personal: Personal
    language: Language | None
    by_time: bool
    """Whether a labelled row without a time is a bad one."""
    fields: Fields | None = None
    """What the task's labelled rows hold beside their text."""
    classes: bool = True
    """Whether labelled rows have a class."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Worked:
    """What a batch came to."""

    numbers: npt.NDArray[np.int64]
    payload: pa.Table
    """What the rows hold, in columns."""
    labels: list[str | None]
    """The class of each row, None where it has none."""
    group_N: npt.NDArray[np.uint64]
    """A hash of each row's group, 0 where it has none."""
    time_N: npt.NDArray[np.float64]
    """Each row's time, in seconds since 1970 or as it stands there; NaN where it has none."""
    ids: bytes
    """The id of each text, one after the other."""
    keys_MB: npt.NDArray[np.uint64]
    """The keys under which texts meet those that are nearly the same."""
    hash_N: npt.NDArray[np.uint64]
    """The perceptual hash of each picture, or a hash of the text that rows with more texts share; 0 where there is none
    to compare by."""
    having_M: npt.NDArray[np.int64]
    """Which of the texts have keys, by their places."""
    masked: Counter[str]
    """Personal data found, by kind."""
    noted: Counter[str]
    """What else was found in rows that may be kept, by kind."""
    dropped: Dropped
    unlabelled: Dropped
    """Rows without a usable label: lost as labelled rows, and still texts."""
    changed: list[Changed] = field(default_factory=list)
    """Some of the rows that cleaning has changed."""


def content_id(text: str) -> bytes:
    """Return the id of a cleaned text: the first 16 bytes of its SHA-256."""
    return sha256(text.encode()).digest()[:ID_BYTES]


def group_hash(group: Any) -> int:
    """Return a hash of a group's name, 0 for none."""
    name = label_text(group)
    return int.from_bytes(sha256(b"group:" + name.encode()).digest()[:8], "big") or 1 if name else 0


def seconds(time: Any) -> float:
    """Return a time as a number: ISO 8601 in seconds since 1970 (UTC where it names no zone), a number as it is."""
    if isinstance(time, datetime):
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    try:
        return float(time)
    except (TypeError, ValueError):
        pass
    try:
        found = datetime.fromisoformat(str(time).strip())
    except ValueError:
        return math.nan
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def work(order: Order, batch: Batch) -> Worked:
    """Clean, judge and hash the texts of a batch."""
    dropped, unlabelled = Dropped(personal=order.personal), Dropped(personal=order.personal)
    marks: dict[str, set[int]] = {}
    kept, masked = _masked(order, _cleaned(order, batch, dropped, marks), dropped, marks)
    kept = _spoken(order, kept, dropped)
    if order.fields is not None and order.labelled:
        how = Cleaning(repair=order.repair, max_chars=order.max_chars, personal=order.personal)
        kept = cleaned(order.fields, how, kept, dict(zip(batch.numbers, batch.texts, strict=True)), dropped, masked)
    good = np.arange(len(kept.texts))
    keys_MB, having_M = np.zeros((0, 0), dtype=np.uint64), np.zeros(0, dtype=np.int64)
    if order.quality is not None or order.near.action != "off":
        words = Words.of(kept.texts)
        if order.quality is not None:
            good = _judged(order.quality, kept, words, dropped)
        if order.near.action != "off":
            keys_MB, having_M = _among(good, *band_keys(words, order.near))
    if len(good) < len(kept.texts):
        kept = kept.chosen(good.tolist())
    return Worked(
        numbers=np.array(kept.numbers, dtype=np.int64),
        payload=_payload(order, kept),
        labels=_named(order, kept, unlabelled) if order.labelled else [None] * len(kept.texts),
        group_N=np.array([group_hash(group) for group in kept.groups] or [0] * len(kept.texts), dtype=np.uint64),
        time_N=np.array([seconds(time) for time in kept.times] or [np.nan] * len(kept.texts)),
        ids=b"".join(map(content_id, _whole(order, kept))),
        keys_MB=keys_MB,
        having_M=having_M,
        hash_N=np.zeros(len(kept.texts), dtype=np.uint64) if order.fields is None else first_text_hashes(kept.texts),
        masked=masked,
        noted=Counter(),
        dropped=dropped,
        unlabelled=unlabelled,
        changed=changes(
            dict(zip(batch.numbers, batch.texts, strict=True)),
            zip(kept.numbers, kept.texts, strict=True),
            marks=marks,
            personal=order.personal,
        ),
    )


def _whole(order: Order, kept: Batch) -> Sequence[str]:
    """Return what each row is told from others by."""
    return joined(kept, order.fields) if order.fields is not None and kept.others else kept.texts


def _payload(order: Order, kept: Batch) -> pa.Table:
    texts = pa.array(kept.texts, pa.large_string())
    if order.fields is None:
        return pa.table([texts], schema=TEXT.columns)
    columns = [texts, *payload_columns(order.fields, kept)]
    return pa.table(columns, schema=pa.schema([*TEXT.columns, *order.fields.columns]))


def _cleaned(order: Order, batch: Batch, dropped: Dropped, marks: dict[str, set[int]]) -> Batch:
    """Return the clean texts that are not too short or long; `marks` takes the rows that underwent a kind of change."""
    good = []
    # What is far too long is not cleaned first to find that out.
    endless = {place for place, raw in enumerate(batch.texts) if len(raw) > _RAW_LIMIT * order.max_chars}
    raw_texts: Sequence[str] = ["" if place in endless else raw for place, raw in enumerate(batch.texts)]
    if order.repair:
        raw_texts, repaired_N = repair(raw_texts)
        marks["mojibake"] = {batch.numbers[place] for place in np.flatnonzero(repaired_N).tolist()}
    cleaned = [clean(text) for text in raw_texts]
    if order.quality is not None and order.quality.c4 is not None:
        whole, cleaned = cleaned, without_bad_lines(cleaned, order.quality.c4)
        rows = zip(batch.numbers, whole, cleaned, strict=True)
        marks["bad_lines"] = {number for number, one, other in rows if one is not other}
    for place, (number, raw, text) in enumerate(zip(batch.numbers, batch.texts, cleaned, strict=True)):
        if place in endless:
            said = f"{len(raw)} characters as it stands there, max_chars is {order.max_chars}"
            dropped.add(number, "too_long", raw, said)
        elif not order.min_chars <= len(text) <= order.max_chars:
            dropped.add(number, *_wrong_length(order, raw, text))
        elif order.sample < 1 and draw(text.encode()) >= order.sample:
            dropped.add(number, "not_sampled", text, f"sample is {order.sample:g}")
        else:
            good.append(place)
    return replace(batch, texts=cleaned).chosen(good)


def _masked(order: Order, batch: Batch, dropped: Dropped, marks: dict[str, set[int]]) -> tuple[Batch, Counter[str]]:
    """Return the batch without personal data, and how much there was of each kind."""
    if order.personal.action == "keep":
        return batch, Counter()
    found = mask(batch.texts, order.personal)
    marks["personal_data"] = {batch.numbers[place] for place in np.flatnonzero(found.hit).tolist()}
    masked = replace(batch, texts=found.texts)
    if order.personal.action == "drop":
        for place in np.flatnonzero(found.hit).tolist():
            dropped.add(batch.numbers[place], "personal_data", found.texts[place], "ingest.personal.action is drop")
        masked = masked.chosen(np.flatnonzero(~found.hit).tolist())
    return masked, Counter({str(kind): count for kind, count in found.counts.items()})


def _spoken(order: Order, batch: Batch, dropped: Dropped) -> Batch:
    """Return the texts of the languages that are wanted."""
    if order.language is None:
        return batch
    good = []
    for place, found in enumerate(_detector(order.language.model_dump_json())(batch.texts)):
        if order.language.keeps(found):
            good.append(place)
        else:
            detail = f"{found[0]} with confidence {found[1]:.2f}; wanted is {', '.join(order.language.keep)}"
            dropped.add(batch.numbers[place], "language", batch.texts[place], detail)
    return batch.chosen(good)


@lru_cache(maxsize=1)
def _detector(settings: str) -> Callable[[Sequence[str]], list[tuple[str, float]]]:
    return detector(Language.model_validate_json(settings))


def _wrong_length(order: Order, raw: str, text: str) -> tuple[str, str, str]:
    """Return reason, text and detail."""
    if len(text) > order.max_chars:
        return "too_long", text, f"{len(text)} characters after cleaning, max_chars is {order.max_chars}"
    reason = "too_short" if text else "empty"
    return reason, raw, f"{len(text)} characters after cleaning, min_chars is {order.min_chars}"


def _judged(quality: Quality, batch: Batch, words: Words, dropped: Dropped) -> Places:
    """Return the places of the texts that no rule drops."""
    judged = judge(batch.texts, words, quality)
    for place in np.flatnonzero(judged.rule_N >= 0).tolist():
        reason, detail = judged.reason(place)
        dropped.add(batch.numbers[place], reason, batch.texts[place], detail)
    return np.flatnonzero(judged.rule_N < 0)


def _among(good: Places, keys_MB: npt.NDArray[np.uint64], having_M: Places) -> tuple[npt.NDArray[np.uint64], Places]:
    """Return the keys of the good texts that have any, and which of the good ones these are."""
    place_M = np.searchsorted(good, having_M)
    there = np.flatnonzero((place_M < len(good)) & (np.append(good, -1)[place_M] == having_M))
    return keys_MB[there], place_M[there]


def _named(order: Order, batch: Batch, unlabelled: Dropped) -> list[str | None]:
    """Return the class of each row; one without a class is lost as a labelled row."""
    label_of = labeller(order.label)
    names = []
    for place, (number, text, label) in enumerate(zip(batch.numbers, batch.texts, batch.labels, strict=True)):
        name, reason, detail = label_of(label) if order.classes else (_answerable(order, batch, place), "", "")
        if order.by_time and name is not None and math.isnan(seconds(batch.times[place])):
            name, reason, detail = (
                None,
                "bad_time",
                f"{str(batch.times[place])[:40]!r} is no time of ISO 8601, and no number",
            )
        if name is None:
            unlabelled.add(number, reason, text, detail)
        names.append(name)
    return names


def _answerable(order: Order, batch: Batch, place: int) -> str:
    """Return what a row without a class may not be beside the same row: a question has answers, or it has none."""
    if order.fields is None or not order.fields.answers:
        return ""
    return "answered" if batch.others["answers"][place] else "unanswered"


def draw(content: bytes) -> float:
    """Return a number from 0 to 1 by a row's content; salted, so that it says nothing about the row's split."""
    return int.from_bytes(sha256(b"sample:" + content).digest()[:7], "big") / 2**56
