"""The script that makes questions from film dialogue."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "questions.py"


def made(tmp_path: Path, *more: str) -> Any:
    out = tmp_path / "made" / "film.json"
    subprocess.run([sys.executable, str(SCRIPT), str(out), "--questions", "300", *more], check=True)
    return out.read_bytes()


def test_answers_stand_where_the_file_says_and_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    written = made(tmp_path)
    assert made(tmp_path) == written
    content = json.loads(written)
    paragraphs = content["data"][0]["paragraphs"]
    questions = [(one["context"], question) for one in paragraphs for question in one["qas"]]
    assert content["version"] == "1.1"
    assert len({question["id"] for _, question in questions}) == len(questions) == 300
    for context, question in questions:
        (answer,) = question["answers"]
        assert context[answer["answer_start"] :].startswith(answer["text"])
        assert answer["text"] in context.split("\n")
        assert answer["text"] not in question["question"]


def test_a_share_of_questions_may_have_no_answer(tmp_path: Path) -> None:
    content = json.loads(made(tmp_path, "--unanswerable", "0.4"))
    assert content["version"] == "v2.0"
    questions = [question for one in content["data"][0]["paragraphs"] for question in one["qas"]]
    assert all(question["is_impossible"] == (not question["answers"]) for question in questions)
    assert 0.3 < sum(question["is_impossible"] for question in questions) / len(questions) < 0.5


def test_more_questions_than_the_dialogue_holds_are_refused_with_both_numbers(tmp_path: Path) -> None:
    told = [sys.executable, str(SCRIPT), str(tmp_path / "film.json"), "--questions", "90000"]
    done = subprocess.run(told, check=False, capture_output=True, text=True)
    assert done.returncode != 0
    assert "such questions, and 90000 were asked for" in done.stderr
    with pytest.raises(subprocess.CalledProcessError):
        made(tmp_path, "--stretch", "1")
