"""Tables through the whole step: what is a row, what is kept of it, what may not be stored, and what has moved."""

import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.ingest.run import IngestOutputs, run
from components.ingest.settings import IngestSettings
from components.resolve.run import run as resolve
from components.resolve.settings import ResolveSettings
from modelmill.dataset import Dataset, open_dataset, read_made
from modelmill.errors import ModelmillError, UserError
from modelmill.sources import pin
from modelmill.store import Store, open_store
from tests.components.ingest.tables.tools import sklearn_data
from tests.components.ingest.tools import make_step, write

Row = dict[str, Any]


def houses(count: int = 300, seed: int = 0) -> list[Row]:
    """Return rows of a table with a number to be predicted."""
    drawn = random.Random(seed)
    return [
        {
            "rooms": drawn.randrange(1, 9),
            "area": round(drawn.uniform(20, 200), 2),
            "street": drawn.choice(["north", "south", "west"]),
            "built": f"{drawn.randrange(1900, 2020)}-05-01",
            "price": round(drawn.uniform(50, 500), 1),
        }
        for _ in range(count)
    ]


def csv_of(rows: Sequence[Row]) -> str:
    lines = [",".join(rows[0]), *(",".join(str(value) for value in row.values()) for row in rows)]
    return "".join(f"{line}\n" for line in lines)


def table(
    folder: Path, *paths: Path, task: str = "table-regression", store: Store | None = None, **recipe: Any
) -> tuple[Dataset, IngestOutputs]:
    """Run the step on the files, and return the dataset."""
    told = {"target": "price", **recipe.pop("table", {})}
    source = recipe.pop("source", {})
    chosen = IngestSettings.model_validate(
        {"task": task, "labelled": [{"uri": str(path), **source} for path in paths], "table": told, **recipe}
    )
    step = make_step(folder, store)
    pins, name = pin(chosen.uris), recipe.get("name", "houses")
    before = resolve(step, ResolveSettings(sources=tuple(chosen.uris), table=name)).before
    outputs = run(step, chosen, pins, before)
    return open_dataset(step.store, outputs.labelled), outputs


def rows_of(dataset: Dataset) -> list[Row]:
    return [{"split": split, **row} for split in dataset.splits for row in dataset.table(split).to_pylist()]


def test_a_table_becomes_a_dataset_of_typed_features_and_a_number_to_be_predicted(tmp_path: Path) -> None:
    rows = houses()
    dataset, outputs = table(tmp_path, write(tmp_path / "a.csv", csv_of(rows)))

    assert dataset.meta == {
        "kind": "labelled-table",
        "target": "price",
        "features": {"area": "number", "built": "date", "rooms": "integer", "street": "category"},
    }
    found = rows_of(dataset)
    assert sorted(row["target"] for row in found) == sorted(row["price"] for row in rows)
    assert Counter(row["features"]["street"] for row in found) == Counter(row["street"] for row in rows)
    assert outputs.summary["labelled_kept"] == 300
    assert "labels" not in outputs.summary
    assert all(dataset.rows(split) for split in ("train", "validation", "test"))


def test_the_classes_of_a_table_are_labels_as_those_of_texts_are(tmp_path: Path) -> None:
    rows = [{**row, "price": "high" if row["price"] > 275 else "low"} for row in houses()]
    dataset, outputs = table(tmp_path, write(tmp_path / "a.csv", csv_of(rows)), task="table-classification")

    assert dataset.meta["labels"] == outputs.summary["labels"] == ["high", "low"]
    assert dataset.schema.field("label").type == pa.int32()
    assert "target" not in dataset.schema.names


def test_a_number_is_cut_into_classes_by_bins(tmp_path: Path) -> None:
    dataset, _ = table(
        tmp_path,
        write(tmp_path / "a.csv", csv_of(houses())),
        task="table-classification",
        label={"bins": {"cheap": [50, 200], "dear": [200, 500]}},
    )

    assert dataset.meta["labels"] == ["cheap", "dear"]


def test_files_in_any_order_folder_and_format_give_the_same_address(tmp_path: Path) -> None:
    rows = houses()
    halves = [rows[:150], rows[150:]]
    ours = [write(tmp_path / "one" / f"{n}.csv", csv_of(half)) for n, half in enumerate(halves)]
    theirs = [write(tmp_path / "two" / f"{9 - n}.csv", csv_of(half[::-1])) for n, half in enumerate(halves)]
    lines = write(tmp_path / "three.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "four.parquet")

    addresses = {
        table(tmp_path / f"run{n}", *paths)[0].address
        for n, paths in enumerate([ours, theirs[::-1], [lines], [tmp_path / "four.parquet"]])
    }

    assert len(addresses) == 1


def test_rows_with_equal_features_and_other_targets_scatter_and_stay_in_one_split(tmp_path: Path) -> None:
    rows = [{**row, "price": row["price"] + shift} for row in houses(100) for shift in (0, 1, 2)]
    dataset, outputs = table(tmp_path, write(tmp_path / "a.csv", csv_of([*rows, *rows[:50]])))

    assert outputs.summary["labelled_dropped"] == {"duplicate": 50}
    splits: dict[str, set[str]] = {}
    for row in rows_of(dataset):
        splits.setdefault(str(row["features"]), set()).add(row["split"])
    assert len(splits) == 100
    assert all(len(found) == 1 for found in splits.values())


def test_of_classes_equal_features_with_different_labels_all_go(tmp_path: Path) -> None:
    rows = [{**row, "price": "high" if row["price"] > 275 else "low"} for row in houses()]
    clash = [{**rows[0], "price": "high"}, {**rows[0], "price": "low"}]
    _, outputs = table(tmp_path, write(tmp_path / "a.csv", csv_of([*rows[1:], *clash])), task="table-classification")

    assert outputs.summary["labelled_dropped"] == {"label_conflict": 2}


def test_rows_of_one_group_never_part_and_the_group_is_no_feature(tmp_path: Path) -> None:
    rows = [{**row, "owner": f"owner {n % 40}"} for n, row in enumerate(houses())]
    dataset, _ = table(tmp_path, write(tmp_path / "a.csv", csv_of(rows)), table={"group": "owner"})

    assert "owner" not in dataset.meta["features"]
    owner = {(row["area"], row["price"]): row["owner"] for row in rows}
    splits: dict[str, set[str]] = {}
    for row in rows_of(dataset):
        splits.setdefault(owner[row["features"]["area"], row["target"]], set()).add(row["split"])
    assert len(splits) == 40
    assert all(len(found) == 1 for found in splits.values())


def test_by_time_the_newest_rows_are_the_test_and_the_time_is_no_feature(tmp_path: Path) -> None:
    rows = [{**row, "sold": f"2020-01-01T{n // 60:02}:{n % 60:02}:00"} for n, row in enumerate(houses())]
    path = write(tmp_path / "a.csv", csv_of([*rows, {**houses(1, seed=1)[0], "sold": ""}]))
    dataset, outputs = table(tmp_path, path, table={"time": "sold"}, split={"by": "time"})

    assert "sold" not in dataset.meta["features"]
    assert outputs.summary["labelled_dropped"] == {"bad_time": 1}
    newest = {row["price"] for row in rows[-30:]}
    assert {row["target"] for row in rows_of(dataset) if row["split"] == "test"} == newest


@pytest.mark.parametrize(
    ("change", "told", "message"),
    [
        ({"price": "?"}, {}, r"target: column 'price' is missing in all 300 rows"),
        ({"price": "inf"}, {}, "target: column 'price' has 1 value in all 300 rows"),
        ({"price": 7}, {}, r"target: column 'price' has 1 value in all 300 rows"),
        ({"price": "dear"}, {}, r"target: column 'price' has 1 value"),
        ({}, {"target": "prize"}, r"target: no column 'prize' among 5; did you mean 'price'\?"),
        ({}, {"columns": {"aera": {"min": 0}}}, r"columns\.aera: no column 'aera' among 5; did you mean 'area'\?"),
        ({}, {"ignore": ["areas"]}, r"ignore names 'areas', which is no column; did you mean 'area'\?"),
        ({}, {"columns": {"area": {"max": 100, "out_of_range": "fail"}}}, r"column 'area', row \d+: .* out of range"),
        ({"area": ""}, {"missing": "fail"}, r"column 'area': \d+ of \d+ values of a batch are missing, the first in"),
        ({"rooms": "four"}, {"columns": {"rooms": {"kind": "integer"}}}, r"wrong_type 300.*row 2: .*column 'rooms'"),
    ],
)
def test_a_table_that_cannot_be_learned_is_refused_with_nothing_in_the_store(
    tmp_path: Path, change: Row, told: dict[str, Any], message: str
) -> None:
    path = write(tmp_path / "a.csv", csv_of([{**row, **change} for row in houses()]))

    with pytest.raises(UserError, match=message):
        table(tmp_path, path, table=told)

    # Where a run reads and writes is told by the store's mark, which is made by the first step.
    assert list(open_store(str(tmp_path / "store")).keys("")) == ["epoch.json"]


def test_a_target_of_names_is_no_number_to_be_predicted(tmp_path: Path) -> None:
    rows = [{**row, "price": "high" if row["price"] > 275 else "low"} for row in houses()]

    with pytest.raises(UserError, match=r"column 'price' is of kind category, and table-regression predicts a number"):
        table(tmp_path, write(tmp_path / "a.csv", csv_of(rows)))


def test_a_feature_that_tells_the_target_fails_the_step_before_anything_is_stored(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", csv_of([{**row, "tax": round(row["price"] * 0.19, 3)} for row in houses()]))

    with pytest.raises(UserError, match=r"column 'tax' goes with \(Pearson's r .*the target 'price' in \d+ rows"):
        table(tmp_path, path)
    assert list(open_store(str(tmp_path / "store")).keys("datasets/")) == []

    dataset, outputs = table(tmp_path / "warned", path, table={"leaks": "warn"})
    assert "column &#39;tax&#39; goes with" in page(outputs, dataset)


def test_constant_columns_are_left_out_and_ids_are_warned_of(tmp_path: Path) -> None:
    rows = [{"number": n * 7, "country": "NL", **row} for n, row in enumerate(houses())]
    dataset, outputs = table(tmp_path, write(tmp_path / "a.csv", csv_of(rows)))

    assert set(dataset.meta["features"]) == {"area", "built", "number", "rooms", "street"}
    shown = page(outputs, dataset)
    assert "says the same in every row, and is left out" in shown
    assert "column &#39;number&#39; has another value in each of" in shown


def page(outputs: IngestOutputs, dataset: Dataset) -> str:
    report = read_made(dataset.store, outputs.made_labelled)["report"]
    return dataset.store.get_blob(report["sha256"]).decode()


def test_outliers_are_marked_where_the_recipe_says_so(tmp_path: Path) -> None:
    rows = [*houses(), {**houses(1, seed=1)[0], "area": 1e6}]
    dataset, outputs = table(tmp_path, write(tmp_path / "a.csv", csv_of(rows)), table={"outliers": "flag"})

    assert [row["features"]["area"] for row in rows_of(dataset) if row["outlier"]] == [1e6]
    assert "1 rows with an outlier" in page(outputs, dataset)


def test_files_whose_columns_differ_are_refused(tmp_path: Path) -> None:
    ours = write(tmp_path / "a.csv", csv_of(houses()))
    theirs = write(tmp_path / "b.csv", csv_of([{**row, "garden": 1} for row in houses(seed=1)]))

    with pytest.raises(UserError, match=r"a\.csv: no column 'garden', which .*b\.csv has \(5 columns in .*, 6 in "):
        table(tmp_path, ours, theirs)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_columns_are_renamed_so_that_sources_agree(tmp_path: Path, ending: str) -> None:
    rows, theirs = (
        houses(150),
        [{"m2" if name == "area" else name: v for name, v in row.items()} for row in houses(150, 1)],
    )
    ours = write(tmp_path / "ours.csv", csv_of(rows))
    other = tmp_path / f"theirs.{ending}"
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(theirs), other)
    else:
        write(other, csv_of(theirs) if ending == "csv" else "".join(f"{json.dumps(row)}\n" for row in theirs))
    chosen = IngestSettings.model_validate(
        {
            "task": "table-regression",
            "labelled": [{"uri": str(ours)}, {"uri": str(other), "rename": {"m2": "area"}}],
            "table": {"target": "price"},
        }
    )
    step = make_step(tmp_path / "run")

    outputs = run(step, chosen, pin(chosen.uris))

    dataset = open_dataset(step.store, outputs.labelled)
    assert sorted(row["features"]["area"] for row in rows_of(dataset)) == sorted(
        row["area"] for row in [*rows, *houses(150, 1)]
    )
    assert set(dataset.meta["features"]) == {"area", "built", "rooms", "street"}


def test_a_column_to_be_renamed_must_be_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", csv_of(houses()))

    with pytest.raises(UserError, match=r"a\.csv: rename names 'aera', which is no column; did you mean 'area'\?"):
        table(tmp_path, path, source={"rename": {"aera": "size"}})


def test_lines_before_the_header_are_skipped(tmp_path: Path) -> None:
    dataset, _ = table(
        tmp_path,
        sklearn_data("breast_cancer.csv"),
        task="table-classification",
        source={"skip_rows": 1, "header": [*(f"f{n}" for n in range(30)), "malignant"]},
        table={"target": "malignant"},
    )

    assert sum(map(dataset.rows, dataset.splits)) == 569
    assert dataset.meta["labels"] == ["0", "1"]


def moved(rows: list[Row]) -> list[Row]:
    return [{**row, "area": row["area"] * 3} for row in rows]


def test_a_table_that_has_moved_is_named_with_column_and_both_figures(tmp_path: Path) -> None:
    path, store = tmp_path / "a.csv", open_store(str(tmp_path / "store"))
    table(tmp_path / "first", write(path, csv_of(houses())), store=store)
    write(path, csv_of(moved(houses(seed=1))))

    with pytest.raises(
        UserError, match=r"moved from the one before in \d ways: column 'area': .*largest value 5\d\d\.?\d*, was 19\d"
    ):
        table(tmp_path / "second", path, store=store, table={"drift": {"action": "fail"}})

    dataset, outputs = table(tmp_path / "third", path, store=store)
    assert "column &#39;area&#39;: population stability index" in page(outputs, dataset)

    # What was warned of is accepted, and is what the next one is compared with.
    write(path, csv_of(moved(houses(seed=2))))
    table(tmp_path / "fourth", path, store=store, table={"drift": {"action": "fail"}})


def test_the_same_table_is_always_compared_with_the_same_one(tmp_path: Path) -> None:
    path, store = tmp_path / "a.csv", open_store(str(tmp_path / "store"))
    told: list[str] = []

    def asked(folder: str) -> str:
        source = ResolveSettings(sources=(str(path),), table="houses")
        return resolve(make_step(tmp_path / folder, store), source).before

    for n, rows in enumerate([houses(), houses(seed=1), houses()]):
        write(path, csv_of(rows))
        told.append(asked(f"asked{n}"))
        table(tmp_path / f"run{n}", path, store=store)
        assert asked(f"again{n}") == told[-1]

    assert json.loads(told[0])["schema"] == ""
    assert json.loads(told[1])["schema"].startswith("schemas/")


def test_a_column_that_is_not_read_any_more_is_not_lost(tmp_path: Path) -> None:
    path, store = write(tmp_path / "a.csv", csv_of(houses())), open_store(str(tmp_path / "store"))
    table(tmp_path / "first", path, store=store)
    write(path, csv_of(houses(seed=1)))

    table(tmp_path / "second", path, store=store, table={"ignore": ["street"], "drift": {"action": "fail"}})


CELL = st.sampled_from(["1", "2.5", "-3", "x", "", "NA", "inf", "9" * 25])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(CELL, CELL, CELL), max_size=12),
    st.sampled_from(["table-regression", "table-classification"]),
)
def test_every_row_of_any_table_is_kept_or_counted(
    tmp_path_factory: pytest.TempPathFactory, odd: list[tuple[str, str, str]], task: str
) -> None:
    folder = tmp_path_factory.mktemp("table")
    plain = [(str(n), str(n % 5), str(n % 3)) for n in range(60)]
    rows = [dict(zip(("a", "b", "price"), row, strict=True)) for row in [*plain, *odd]]

    dataset, outputs = table(
        folder,
        write(folder / "a.csv", csv_of(rows)),
        task=task,
        max_bad_rows=1.0,
        split={"by": "label"},
        table={"leaks": "keep"},
    )

    ledger = read_made(dataset.store, outputs.made_labelled)["ledger"]
    assert ledger["read"] == len(rows)
    assert ledger["kept"] + sum(ledger["dropped"].values()) == len(rows)
    assert ledger["kept"] == sum(map(dataset.rows, dataset.splits))
    if task == "table-regression":
        assert all(np.isfinite(row["target"]) for row in rows_of(dataset))


def test_a_changed_file_is_noticed_in_the_first_pass(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", csv_of(houses()))
    chosen = IngestSettings.model_validate(
        {"task": "table-regression", "labelled": [{"uri": str(path)}], "table": {"target": "price"}}
    )
    pins = pin(chosen.uris)
    write(path, csv_of(houses(seed=1)))

    with pytest.raises(ModelmillError, match=r"a\.csv.*changed"):
        run(make_step(tmp_path), chosen, pins)


def test_rows_that_may_not_be_torn_apart_have_one_number_of_their_group(tmp_path: Path) -> None:
    rows = [{**row, "price": 50.5 + place, "owner": f"owner {place % 40}"} for place, row in enumerate(houses(120))]
    dataset, _ = table(tmp_path, write(tmp_path / "a.csv", csv_of(rows)), table={"group": "owner"})
    owner_of = {row["price"]: row["owner"] for row in rows}
    groups: dict[str, set[int]] = {}
    for row in rows_of(dataset):
        groups.setdefault(owner_of[row["target"]], set()).add(row["group"])
    assert {len(numbers) for numbers in groups.values()} == {1}
    assert len({next(iter(numbers)) for numbers in groups.values()}) > 30


def test_without_a_group_rows_with_the_same_features_are_one(tmp_path: Path) -> None:
    rows = houses(60)
    twice = [*rows, *({**row, "price": row["price"] + 1} for row in rows[:10])]
    dataset, _ = table(tmp_path, write(tmp_path / "a.csv", csv_of(twice)))
    found = rows_of(dataset)
    numbers = Counter(row["group"] for row in found)
    assert sorted(numbers.values()) == [1] * 50 + [2] * 10
    assert len({(row["group"], row["split"]) for row in found}) == 60
