"""The script that makes pairs of lines from film dialogue."""

import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "tools" / "pairs.py"


def made(tmp_path: Path, pairs: int) -> str:
    out = tmp_path / "made" / "pairs.csv"
    subprocess.run([sys.executable, str(SCRIPT), str(out), "--pairs", str(pairs)], check=True)
    return out.read_text(encoding="utf-8")


def test_half_of_the_statements_have_their_reply_and_half_that_of_another(tmp_path: Path) -> None:
    written = made(tmp_path, 500)
    assert made(tmp_path, 500) == written
    rows = list(csv.DictReader(written.splitlines()))
    assert Counter(row["belongs"] for row in rows) == {"yes": 250, "no": 250}
    lines = [row[name] for row in rows for name in ("statement", "reply")]
    assert len(set(lines)) == len(lines) == 1000
    assert min(len(line.split()) for line in lines) >= 4


def test_more_pairs_than_the_dialogue_has_are_refused_with_both_numbers(tmp_path: Path) -> None:
    out = tmp_path / "pairs.csv"
    told = [sys.executable, str(SCRIPT), str(out), "--pairs", "99999"]
    done = subprocess.run(told, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "--pairs is 99999, and may be from 4 to 32229" in done.stderr
    assert not out.exists()
