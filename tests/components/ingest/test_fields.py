"""Rows of several texts: pairs, sources with targets, questions with answers that stand in their context."""

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.ingest.answers import found_again, read_answers
from components.ingest.parts import look
from components.ingest.run import IngestOutputs
from components.ingest.work_parts import Batch
from modelmill.dataset import open_dataset, read_made
from modelmill.errors import UserError
from modelmill.store import Store
from modelmill.text import clean
from tests.components.ingest.tools import ingest, write

WORDS = "old house river sold nobody before winter came snow fell on its roof garden wall stone bridge lamp".split()  # noqa: SIM905
QUESTIONS: dict[str, Any] = {"task": "question-answering"}
TARGETS: dict[str, Any] = {"task": "sequence-to-sequence"}
PAIRS: dict[str, Any] = {"task": "pair-classification"}


def text_of(number: int) -> str:
    return " ".join([*random.Random(number).choices(WORDS, k=12), f"no {number}"])


def jsonl(path: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"uri": str(write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)))}


def rows_of(outputs: IngestOutputs, store: Store) -> dict[str, list[dict[str, Any]]]:
    dataset = open_dataset(store, outputs.labelled)
    return {split: dataset.table(split).to_pylist() for split in dataset.splits}


def dropped(outputs: IngestOutputs, store: Store) -> dict[str, int]:
    files = read_made(store, outputs.made_labelled)["ledger"]["files"]
    return dict(sum((Counter(file["dropped"]) for file in files.values()), Counter()))


def squad(contexts: int, version: int = 1) -> dict[str, Any]:
    """A file as it is published, with two questions a context, and in the second version one that has no answer."""
    paragraphs = []
    for number in range(contexts):
        context = f"  {text_of(number)}. It was sold for {number} pounds  to Mr Smith&amp;Sons. "
        start = context.index(f"{number} pounds")
        price = {"text": f"{number} pounds", "answer_start": start}
        buyer = {"text": "Mr Smith&amp;Sons", "answer_start": context.index("Mr Smith")}
        asked: list[dict[str, Any]] = [
            {"id": f"a{number}", "question": f"How much was it, in {number}?", "answers": [price, price]},
            {"id": f"b{number}", "question": f"Who bought number {number}?", "answers": [buyer]},
        ]
        if version == 2:
            asked.append({"id": f"c{number}", "question": f"Why {number}?", "answers": [], "is_impossible": True})
        paragraphs.append({"context": context, "qas": asked})
    return {"version": f"{version}.0", "data": [{"title": "Houses", "paragraphs": paragraphs}]}


@pytest.mark.parametrize("version", [1, 2])
def test_squads_answers_stand_where_they_are_said_to_in_the_cleaned_context(version: int, tmp_path: Path) -> None:
    path = write(tmp_path / "dev.json", json.dumps(squad(60, version)))
    outputs, store = ingest(tmp_path, **QUESTIONS, labelled=[{"uri": str(path), "format": "squad"}])
    dataset = open_dataset(store, outputs.labelled)
    assert dataset.meta == {"kind": "labelled-questions"}
    assert dataset.schema.names == ["id", "question", "context", "answers"]
    rows = [row for part in rows_of(outputs, store).values() for row in part]
    assert len(rows) == 60 * (1 + version)
    for row in rows:
        assert row["context"] == clean(row["context"])
        for answer in row["answers"]:
            assert row["context"][answer["start"] :].startswith(answer["text"])
    assert {len(row["answers"]) for row in rows} == ({1} if version == 1 else {0, 1})
    assert "Mr Smith&Sons" in {answer["text"] for row in rows for answer in row["answers"]}


def test_no_context_is_in_two_splits_and_no_first_text_is(tmp_path: Path) -> None:
    path = write(tmp_path / "dev.json", json.dumps(squad(80)))
    outputs, store = ingest(tmp_path / "a", **QUESTIONS, labelled=[{"uri": str(path), "format": "squad"}])
    parts = rows_of(outputs, store)
    assert all(parts[split] for split in ("train", "validation", "test"))
    held = [{row["context"] for row in part} for part in parts.values()]
    assert sum(map(len, held)) == len(set.union(*held)) == 80
    # Short texts, which no run of words makes comparable, and many answers to each.
    told = [{"text": f"t {number % 50}", "target": f"answer {number}"} for number in range(400)]
    outputs, store = ingest(tmp_path / "b", **TARGETS, labelled=[jsonl(tmp_path / "b.jsonl", told)])
    parts = rows_of(outputs, store)
    assert sum(map(len, parts.values())) == 400
    held = [{row["text"] for row in part} for part in parts.values()]
    assert sum(map(len, held)) == len(set.union(*held)) == 50


def test_sources_and_targets_are_cleaned_and_told_apart_by_both(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = [{"say": text_of(number), "answer": f"answer  {number}\u0000"} for number in range(60)]
    told += [told[0], {"say": told[0]["say"], "answer": "another"}]
    told += [{"say": text_of(90)}, {"say": text_of(91), "answer": 7}, {"say": text_of(92), "answer": " \n"}]
    source = {**jsonl(tmp_path / "a.jsonl", told), "columns": {"text": "say", "target": "answer"}}
    outputs, store = ingest(tmp_path, **TARGETS, labelled=[source], max_bad_rows=0.1)
    dataset = open_dataset(store, outputs.labelled)
    assert dataset.meta == {"kind": "labelled-targets"}
    assert dataset.schema.names == ["id", "text", "target"]
    rows = [row for part in rows_of(outputs, store).values() for row in part]
    assert {(row["text"], row["target"]) for row in rows} == {
        *((text_of(number), f"answer {number}") for number in range(60)),
        (text_of(0), "another"),
    }
    assert dropped(outputs, store) == {"duplicate": 1, "missing_target": 2, "wrong_type": 1}


def test_pairs_have_a_class_and_equal_ones_with_two_classes_go(tmp_path: Path) -> None:
    told = [{"text": text_of(n), "pair": text_of(n + 1), "label": n % 2} for n in range(60)]
    told += [{**told[3], "label": 0}, {**told[3], "pair": "another"}]
    outputs, store = ingest(tmp_path, **PAIRS, labelled=[jsonl(tmp_path / "a.jsonl", told)])
    dataset = open_dataset(store, outputs.labelled)
    assert dataset.meta == {"kind": "labelled-pairs", "labels": ["0", "1"]}
    assert dataset.schema.names == ["id", "text", "pair", "label"]
    rows = [row for part in rows_of(outputs, store).values() for row in part]
    assert len(rows) == 60
    assert {row["label"] for row in rows if row["text"] == told[3]["text"]} == {1}
    assert dropped(outputs, store) == {"label_conflict": 2}


def test_a_pair_turned_round_is_in_the_split_of_the_pair(tmp_path: Path) -> None:
    told = [{"text": text_of(n), "pair": text_of(n + 1000), "label": n % 2} for n in range(200)]
    told += [{"text": text_of(n + 1000), "pair": text_of(n), "label": (n + 1) % 2} for n in range(200)]
    outputs, store = ingest(tmp_path, **PAIRS, labelled=[jsonl(tmp_path / "a.jsonl", told)])
    parts = rows_of(outputs, store)
    assert all(parts[split] for split in ("train", "validation", "test"))
    # No reason to drop either: what follows from what is another question the other way round.
    assert sum(map(len, parts.values())) == 400
    held = [{frozenset((row["text"], row["pair"])) for row in part} for part in parts.values()]
    assert sum(map(len, held)) == len(set.union(*held)) == 200


def test_a_question_asked_twice_is_one_row_with_all_answers_in_whatever_order_they_are_read(tmp_path: Path) -> None:
    one, other = {"text": "old", "answer_start": 4}, {"text": "old house", "answer_start": 4}
    early = {"text": "the", "answer_start": 0}
    rows: list[dict[str, Any]] = [{"question": f"Is it {n}?", "context": text_of(n), "answers": []} for n in range(60)]
    asked = {"question": "Which house?", "context": "the old house by the river"}
    rows += [{**asked, "answers": [other]}, {**asked, "answers": [one, early]}, {**asked, "answers": [other]}]
    rows.append(rows[0])
    addresses = set()
    for name, told in (("a", rows), ("b", rows[::-1])):
        outputs, store = ingest(tmp_path / name, **QUESTIONS, labelled=[jsonl(tmp_path / f"{name}.jsonl", told)])
        addresses.add(outputs.labelled)
        found = [row for part in rows_of(outputs, store).values() for row in part]
        assert len(found) == 61
        (row,) = [row for row in found if row["question"] == "Which house?"]
        assert row["answers"] == [
            {"text": "the", "start": 0},
            {"text": "old", "start": 4},
            {"text": "old house", "start": 4},
        ]
        assert dropped(outputs, store) == {"duplicate": 2, "answers_merged": 1}
    assert len(addresses) == 1


def test_a_question_that_has_an_answer_and_has_none_goes(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"question": f"Is it {n}?", "context": text_of(n), "answers": []} for n in range(60)]
    rows.append({**rows[7], "answers": [{"text": text_of(7).split()[0], "answer_start": 0}]})
    outputs, store = ingest(tmp_path, **QUESTIONS, labelled=[jsonl(tmp_path / "a.jsonl", rows)])
    assert sum(map(len, rows_of(outputs, store).values())) == 59
    assert dropped(outputs, store) == {"label_conflict": 2}


@pytest.mark.parametrize(
    ("spoil", "lost"),
    [("Is it 7", 1), ("no 7", 2), ("lamp 7", 1), ("title 7", 0)],
    ids=["question", "context", "answer", "title"],
)
def test_a_byte_that_is_not_utf8_costs_the_questions_that_it_is_a_part_of(
    spoil: str, lost: int, tmp_path: Path
) -> None:
    articles = [
        {
            "title": f"title {n}",
            "paragraphs": [
                {
                    "context": f"{text_of(n)}, lamp {n} and a \ufffd",
                    "qas": [
                        {"question": f"Is it {n}?", "answers": []},
                        {
                            "question": f"Which is {n}?",
                            "answers": [{"text": f"lamp {n}", "answer_start": len(text_of(n)) + 2}],
                        },
                    ],
                }
            ],
        }
        for n in range(60)
    ]
    content = json.dumps({"data": articles}, ensure_ascii=False).encode()
    at = content.index(b'"text": "lamp 7"') + 9 if spoil == "lamp 7" else content.index(spoil.encode())
    path = tmp_path / "dev.json"
    path.write_bytes(content[:at] + b"\xff" + content[at + 1 :])
    source = {"uri": str(path), "format": "squad"}
    outputs, store = ingest(tmp_path, **QUESTIONS, labelled=[source], max_bad_rows=0.1)
    found = [row for part in rows_of(outputs, store).values() for row in part]
    assert len(found) == 120 - lost
    # A sign of the file's own that something was lost before is no reason.
    assert all(row["context"].endswith("\ufffd") for row in found)
    assert dropped(outputs, store) == ({"invalid_encoding": lost} if lost else {})


def test_answers_beside_the_word_that_there_is_none_are_a_bad_row(tmp_path: Path) -> None:
    document = squad(60, 2)
    asked = document["data"][0]["paragraphs"][7]["qas"]
    asked[0]["is_impossible"] = True
    path = write(tmp_path / "dev.json", json.dumps(document))
    outputs, store = ingest(tmp_path, **QUESTIONS, labelled=[{"uri": str(path), "format": "squad"}])
    questions = {row["question"] for part in rows_of(outputs, store).values() for row in part}
    assert len(questions) == 179
    assert asked[0]["question"] not in questions
    assert dropped(outputs, store) == {"bad_answers": 1}


def test_workers_order_and_folder_do_not_show_in_the_address(tmp_path: Path) -> None:
    parts = [squad(30), squad(45)]
    addresses = set()
    for folder, names in (("a", "12"), ("b", "21")):
        for name, part in zip(names, parts if folder == "a" else parts[::-1], strict=True):
            write(tmp_path / folder / f"{name}.json", json.dumps(part))
        source = {"uri": str(tmp_path / folder / "*.json"), "format": "squad"}
        outputs, _ = ingest(tmp_path / f"run-{folder}", **QUESTIONS, labelled=[source])
        addresses.add(outputs.labelled)
    assert len(addresses) == 1


def test_a_corpus_has_no_run_of_words_of_any_text_that_is_held_out(tmp_path: Path) -> None:
    told = [{"text": f"what {n}", "target": text_of(n)} for n in range(80)]
    corpus = write(
        tmp_path / "c.txt", "".join(f"{text_of(number)} and {text_of(number + 200)}\n" for number in range(80))
    )
    outputs, store = ingest(
        tmp_path,
        **TARGETS,
        labelled=[jsonl(tmp_path / "a.jsonl", told)],
        corpus=[{"uri": str(corpus), "format": "text"}],
    )
    kept = open_dataset(store, outputs.corpus)
    assert kept.schema.names == ["id", "text"]
    texts = [text for split in kept.splits for text in kept.table(split)["text"].to_pylist()]
    parts = rows_of(outputs, store)
    held = [row["target"] for split in ("validation", "test") for row in parts[split]]
    assert held
    assert not [text for text in texts if any(target in text for target in held)]
    assert len(texts) == 80 - len(held)


def test_hugging_faces_layout_of_squad_is_read_from_parquet(tmp_path: Path) -> None:
    asked = [
        {"context": one["context"], "question": qa["question"], "answers": qa["answers"]}
        for one in squad(40)["data"][0]["paragraphs"]
        for qa in one["qas"]
    ]
    lists = [
        {"text": [a["text"] for a in one["answers"]], "answer_start": [a["answer_start"] for a in one["answers"]]}
        for one in asked
    ]
    table = pa.table({**{name: [one[name] for one in asked] for name in ("context", "question")}, "answers": lists})
    pq.write_table(table, tmp_path / "a.parquet")
    path = write(tmp_path / "dev.json", json.dumps(squad(40)))
    outputs, _ = ingest(tmp_path / "a", **QUESTIONS, labelled=[{"uri": str(tmp_path / "a.parquet")}])
    other, _ = ingest(tmp_path / "b", **QUESTIONS, labelled=[{"uri": str(path), "format": "squad"}])
    assert outputs.labelled == other.labelled


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"text": ["old"], "answer_start": [3, 4]}, "bad_answers"),
        ({"text": ["old"], "answer_start": ["4"]}, "bad_answers"),
        ({"text": [None], "answer_start": [4]}, "bad_answers"),
        ({"text": [" "], "answer_start": [3]}, "bad_answers"),
        ([1], "bad_answers"),
        (7, "bad_answers"),
        ("[{", "bad_answers"),
        ({"text": ["old"], "answer_start": [-4]}, "answer_not_in_context"),
        ({"text": ["old"], "answer_start": [10**9]}, "answer_not_in_context"),
        ({"text": ["new"], "answer_start": [4]}, "answer_not_in_context"),
        ("nowhere", "answer_not_in_context"),
        ([{"text": "old", "answer_start": 4}, {"text": "old", "start": 4}], ""),
        ('{"text": ["old"], "answer_start": [4]}', ""),
        ("house", ""),
        (None, "missing_answers"),
        ("", ""),
        ({"text": [], "answer_start": []}, ""),
    ],
)
def test_answers_are_read_or_have_a_reason(answers: Any, reason: str) -> None:
    found, said, detail = read_answers(answers, "the old house by the old river")
    assert said == reason
    assert bool(detail) is bool(reason)
    assert len(found) == len(dict.fromkeys(found)) <= 1


@given(
    before=st.text(max_size=20),
    answer=st.text(min_size=1, max_size=8),
    after=st.text(max_size=20),
    again=st.booleans(),
)
def test_an_answer_is_found_again_or_counted_as_lost(before: str, answer: str, after: str, again: bool) -> None:
    raw = before + answer + after + (answer if again else "")
    context = clean(raw)
    found, reason, _ = found_again([(answer, len(before))], raw, context, repaired=False)
    if reason:
        assert reason == "answer_lost"
        near = context[max(0, len(clean(before)) - 8) : len(clean(before)) + len(clean(answer)) + 8]
        assert clean(answer) == "" or clean(answer) not in near
    else:
        ((text, start),) = found
        assert context[start : start + len(text)] == text


def test_the_same_words_far_from_an_answers_place_are_not_taken_for_it() -> None:
    raw = "<b title='the lamp'>snow</b>" + " and roof" * 20 + " by the lamp."
    found = found_again([("the lamp", raw.index("the lamp"))], raw, clean(raw), repaired=False)
    assert found[:2] == ([], "answer_lost")
    place = raw.rindex("the lamp")
    ((text, start),), reason, _ = found_again([("the lamp", place)], raw, clean(raw), repaired=False)
    assert (text, start, reason) == ("the lamp", clean(raw).index("the lamp"), "")


def test_masked_answers_stand_in_the_masked_context(tmp_path: Path) -> None:
    context = "Write to jane@example.com for the keys of the tower."
    answers = [{"text": "jane@example.com", "answer_start": 9}, {"text": "the keys", "answer_start": 30}]
    rows: list[dict[str, Any]] = [{"question": f"Is it {n}?", "context": text_of(n), "answers": []} for n in range(60)]
    rows.append({"context": context, "question": "whose is jane@example.com?", "answers": answers})
    source = jsonl(tmp_path / "rows.jsonl", rows)
    outputs, store = ingest(tmp_path, **QUESTIONS, labelled=[source], labelled_personal={"action": "mask"})
    (row,) = [row for rows in rows_of(outputs, store).values() for row in rows if "keys" in row["context"]]
    assert (row["question"], row["context"]) == ("whose is [EMAIL]?", "Write to [EMAIL] for the keys of the tower.")
    assert row["answers"] == [{"text": "[EMAIL]", "start": 9}, {"text": "the keys", "start": 21}]


def test_a_column_of_answers_that_is_not_there_is_no_column_of_questions_without_answers(tmp_path: Path) -> None:
    rows = [{"question": f"What is {n}?", "context": text_of(n), "answer": []} for n in range(60)]
    with pytest.raises(UserError, match=r"60 of 60 rows are bad .*missing_answers"):
        ingest(tmp_path, **QUESTIONS, labelled=[jsonl(tmp_path / "rows.jsonl", rows)])


def test_a_journal_tells_batches_apart_by_every_text() -> None:
    def batch(target: str) -> Batch:
        return Batch(numbers=[1], texts=["a"], labels=[None], others={"target": [target]})

    assert look(batch("b")).digest != look(batch("c")).digest
    assert look(batch("b")) == look(batch("b"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (json.dumps(squad(3))[:-40], "not JSON"),
        ("[]", "no SQuAD file: it is an object with a list `data`"),
        ('{"data": [{"title": "x"}]}', "article 1 of 1 has no list of paragraphs"),
        ("[" * 100_000, "not JSON"),
        ("{" + '"d\udcffta": []}', "the key 'd\\\\udcffta' is not UTF-8"),
    ],
)
def test_what_is_no_squad_file_is_refused(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "dev.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=said):
        ingest(tmp_path, **QUESTIONS, labelled=[{"uri": str(path), "format": "squad"}])
