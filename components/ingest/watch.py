"""What a person will want to see of the rows, noted while they go by: lengths, pictures, clusters, and the proof."""

# N rows by number

import io
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from components.ingest.index import Index
from components.ingest.languages import Languages
from components.ingest.payload import Payload
from components.ingest.report.facts import Cluster, Clusters, Histogram, Member, Picture, Pictures, Proof, data_uri
from components.ingest.settle import KEPT, REASONS, Settled
from components.ingest.splits import SPLITS

Integers = npt.NDArray[np.int64]

_EXAMPLES, _MEMBERS, _TEXT_CHARS = 10, 6, 300
_PICTURES, _THUMBNAIL = 60, 96


_GONE_THROUGH = (
    "Gone through were all {:,} kept labelled rows, by id, by cluster of near-duplicates and by group, after the "
    "splits were drawn."
)
_GROUPS = (
    "A group is a cluster of rows that are nearly the same, joined with all rows of the same group key where the "
    "recipe names one; it has one split."
)


@dataclass(kw_only=True)
class Watch:
    """Notes of one ingest."""

    index: Index
    settled: Settled
    near_N: Integers
    group_N: Integers
    payload: Payload
    files: list[str]
    _lengths: dict[str, Integers] = field(default_factory=dict, init=False)
    _members: dict[int, list[Member]] = field(default_factory=lambda: defaultdict(list), init=False)
    _flags: Counter[str] = field(default_factory=Counter, init=False)
    _pictures: list[Picture] = field(default_factory=list, init=False)
    _kept_pictures: int = field(default=0, init=False)
    languages: Languages = field(default_factory=Languages, init=False)

    def __post_init__(self) -> None:
        """Choose the clusters to be shown: the largest ones."""
        distinct = np.unique(np.stack((self.near_N, self.settled.same_N)), axis=1)[0]
        self._size_N = np.bincount(self.near_N, minlength=self.index.rows)
        texts_N = np.bincount(distinct, minlength=self.index.rows)
        self._clusters = np.flatnonzero(texts_N > 1)
        order = np.lexsort((self.index.high_N[self._clusters], -self._size_N[self._clusters]))
        self._shown = self._clusters[order[:_EXAMPLES]]

    def bucket(self, table: Any, in_corpus: dict[str, Integers], as_labelled: dict[str, Integers]) -> None:
        """Note what is worth it of a bucket, given which of its rows are kept and dropped."""
        number = table["number"].to_numpy()
        self._count("corpus", table.take(in_corpus["kept"]))
        split = self.settled.split_N[number[as_labelled["kept"]]]
        for position, name in enumerate(SPLITS):
            self._count(name, table.take(as_labelled["kept"][split == position]))
        rows = np.flatnonzero(np.isin(self.near_N[number], self._shown))
        self._note_members(table.take(rows), number[rows])
        if self.payload.kind == "text":
            self._note_languages(table, "corpus", in_corpus["kept"], None)
            self._note_languages(table, "labelled", as_labelled["kept"], split)
        if self.payload.kind == "image":
            self._note_pictures(table, as_labelled["kept"] if len(as_labelled["kept"]) else in_corpus["kept"])

    def histograms(self) -> tuple[Histogram, ...]:
        """Return how the rows' own figure is distributed: their length, their size, or what they are to predict."""
        counts = {name: tuple(map(int, found)) for name, found in self._lengths.items() if found.any()}
        measure = self.payload.measure
        if measure is None or not counts:
            return ()
        last = max(max(np.flatnonzero(found)) for found in counts.values())
        counts = {name: found[: last + 1] for name, found in counts.items()}
        return (Histogram(name=measure.name, unit=measure.unit, edges=measure.edges[: last + 2], counts=counts),)

    def clusters(self) -> Clusters:
        """Return the clusters of rows that are nearly the same."""
        sizes = Counter(self._size_N[self._clusters].tolist())
        examples = tuple(
            Cluster(size=int(self._size_N[root]), members=tuple(self._members[int(root)])) for root in self._shown
        )
        rows = sum(size * count for size, count in sizes.items())
        return Clusters(count=len(self._clusters), rows=rows, sizes=tuple(sorted(sizes.items())), examples=examples)

    def pictures(self) -> Pictures | None:
        """Return some of the pictures, and the flags of all."""
        if self.payload.kind != "image":
            return None
        return Pictures(total=self._kept_pictures, flags=dict(self._flags), shown=tuple(self._pictures))

    def proof(self, dropped: Counter[str] | None) -> Proof:
        """Return what going through the kept labelled rows once more, after the splits were drawn, has found.

        `dropped` are the rows of the corpus by reason, None where there is no corpus.
        """
        kept = np.flatnonzero(self.settled.labelled_N == KEPT)
        split = self.settled.split_N[kept]
        straddling, groups = _across(self.group_N[kept], split)
        equal, _ = _across(self.settled.same_N[kept], split)
        near, _ = _across(self.near_N[kept], split)
        return Proof(
            groups=groups,
            rows={name: int((split == position).sum()) for position, name in enumerate(SPLITS)},
            straddling=straddling,
            equal=equal,
            near=near,
            held_out=None if dropped is None else dropped["held_out"],
            contaminated=None if dropped is None else dropped["contaminated"],
            sentences=(_GONE_THROUGH.format(len(kept)), _GROUPS),
        )

    def _count(self, name: str, kept: Any) -> None:
        measure = self.payload.measure
        if measure is None or not kept.num_rows:
            return
        found = np.histogram(measure.of(kept), bins=measure.edges)[0]
        self._lengths[name] = self._lengths.get(name, np.zeros(len(found), dtype=np.int64)) + found

    def _note_languages(self, table: Any, dataset: str, kept: Integers, split: Integers | None) -> None:
        rows = kept[: self.languages.wanted(dataset)]
        names = ["corpus"] * len(rows) if split is None else [SPLITS[each] for each in split[: len(rows)]]
        self.languages.add(dataset, names, table["text"].take(rows).to_pylist())

    def _note_members(self, table: Any, number: Integers) -> None:
        columns = (table["file"].to_pylist(), table["row"].to_pylist(), self.payload.show(table))
        for row, file, place, text in zip(number.tolist(), *columns, strict=True):
            members = self._members[int(self.near_N[row])]
            if len(members) == _MEMBERS:
                continue
            fate = int(self.settled.labelled_N[row] or self.settled.corpus_N[row])
            members.append(
                Member(
                    file=self.files[file],
                    row=place,
                    text=text[:_TEXT_CHARS],
                    split=SPLITS[self.settled.split_N[row]] if self.index.labelled_N[row] else "corpus",
                    reason=REASONS.get(fate, ""),
                )
            )

    def _note_pictures(self, table: Any, kept: Integers) -> None:
        from components.ingest.images.examine import flag_names

        flags = table["flags"].to_numpy()[kept]
        self._kept_pictures += len(kept)
        for flag, count in zip(*np.unique(flags, return_counts=True), strict=True):
            for name in flag_names(int(flag)):
                self._flags[name] += int(count)
        for row in kept[: max(0, _PICTURES - len(self._pictures))].tolist():
            split = SPLITS[self.settled.split_N[table["number"][row].as_py()]]
            self._pictures.append(
                Picture(
                    source=data_uri(_thumbnail(table["image"][row].as_py())),
                    name=table["name"][row].as_py(),
                    label=table["label"][row].as_py() or "",
                    split=split if table["labelled"][row].as_py() else "corpus",
                    flags=tuple(flag_names(int(table["flags"][row].as_py()))),
                )
            )


def _across(cluster: Integers, split: npt.NDArray[np.int8]) -> tuple[int, dict[str, int]]:
    """Return how many clusters have rows in several splits, and how many have rows in each."""
    pairs = np.unique(np.stack((cluster, split.astype(np.int64))), axis=1)
    several = pairs.shape[1] - len(np.unique(pairs[0]))
    return int(several), {name: int((pairs[1] == position).sum()) for position, name in enumerate(SPLITS)}


def _thumbnail(image: bytes) -> bytes:
    from PIL import Image

    with Image.open(io.BytesIO(image)) as picture:
        picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
        small = io.BytesIO()
        picture.save(small, "PNG")
    return small.getvalue()
