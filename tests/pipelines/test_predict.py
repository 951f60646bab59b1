"""Whole files scored from the command line: killed in the middle, gone on with, told as JSON."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.progress import said
from tests import answering, samples, servers
from tests.commands import BIN, modelmill

TEXTS = [text for text, _ in samples.reviews(3000, seed=9)]


@pytest.fixture(scope="module")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return answering.text_model(tmp_path_factory.mktemp("text"))


def _killed(arguments: list[str], folder: Path, after: Path, env: dict[str, str]) -> None:
    """Start a command and end it by SIGKILL as soon as a file is there."""
    process = subprocess.Popen([str(BIN), *arguments], cwd=folder, env=env, stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 120
        while not after.exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        assert process.wait(30) == -signal.SIGKILL
        assert process.stderr is not None
        process.stderr.close()


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_command_that_was_killed_goes_on_and_ends_in_the_same_bytes(text_model: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("".join(f"{text}\n" for text in TEXTS))
    command = ["predict", str(text_model), "--input", "rows.txt", "--shard-rows", "100"]
    whole = modelmill(*command, "--output", "whole", "--json", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    told = json.loads(whole.stdout)
    assert (told["rows"], told["answered"], told["refused"], told["parts"], told["scored"]) == (
        3000,
        3000,
        {},
        30,
        3000,
    )
    _killed(
        [*command, "--output", "broken"], tmp_path, tmp_path / "broken" / "_shards" / "00002.json", dict(os.environ)
    )
    assert not (tmp_path / "broken" / "_manifest.json").exists()
    done = json.loads(modelmill(*command, "--output", "broken", "--json", cwd=tmp_path).stdout)
    assert 0 < done["scored"] <= 2700
    assert (done["rows"], done["answered"]) == (3000, 3000)
    assert _files(tmp_path / "broken") == _files(tmp_path / "whole")
    again = modelmill(*command, "--output", "broken", cwd=tmp_path)
    assert "3,000 rows = 3,000 answered + 0 refused" in again.stdout
    assert "3,000 were done before" in again.stdout


def test_a_bucket_is_scored_into_a_bucket_by_a_command_that_is_killed(
    text_model: Path, s3: servers.S3Server, tmp_path: Path
) -> None:
    bucket, client = s3.new_bucket(), s3.client()
    lines = ["id,review", *(f"{place},{text}" for place, text in enumerate(TEXTS))]
    client.put_object(Bucket=bucket, Key="in/rows.csv", Body="\n".join([*lines, "ragged"]).encode())
    command = ["predict", str(text_model), "--input", f"s3://{bucket}/in/rows.csv", "--shard-rows", "100"]
    command += ["--column", "text=review", "--keep", "id"]
    process = subprocess.Popen(
        [str(BIN), *command, "--output", f"s3://{bucket}/out"], cwd=tmp_path, env={**os.environ, **s3.env}
    )
    deadline = time.monotonic() + 120
    while "Contents" not in client.list_objects_v2(Bucket=bucket, Prefix="out/_shards/00001"):
        assert process.poll() is None
        assert time.monotonic() < deadline
    process.kill()
    assert process.wait(30) == -signal.SIGKILL
    done = modelmill(*command, "--output", f"s3://{bucket}/out", "--json", cwd=tmp_path, env=s3.env)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["scored"] < 3001
    assert (told["rows"], told["answered"], told["refused"]) == (3001, 3000, {"ragged": 1})
    whole = modelmill(*command, "--output", "whole", cwd=tmp_path, env=s3.env)
    assert whole.returncode == 0, whole.stderr
    for name, data in _files(tmp_path / "whole").items():
        assert client.get_object(Bucket=bucket, Key=f"out/{name}")["Body"].read() == data
    table = pq.read_table(tmp_path / "whole")
    assert table.column_names[:3] == ["source_file", "source_row", "id"]
    assert "review" not in table.column_names


def test_wrong_input_ends_with_2_and_one_message(text_model: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("fine\n")
    for arguments, message in (
        (["--input", "rows.txt"], "need both --input and --output"),
        (["--output", "out"], "need both --input and --output"),
        (["a text", "--input", "rows.txt", "--output", "out"], "no rows beside them"),
        (["--input", "gone.txt", "--output", "out"], "gone.txt"),
        (["--input", "rows.txt", "--output", "out", "--column", "text"], "write NAME=COLUMN"),
        (["--input", "rows.txt", "--output", "rows.txt"], "--output must be a folder"),
        (["--input", "rows.txt", "--output", "gs://bucket/out"], "neither a folder nor s3://"),
    ):
        done = modelmill("predict", str(text_model), *arguments, cwd=tmp_path)
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr
        assert "Traceback" not in done.stderr


def test_memory_does_not_grow_with_the_input(text_model: Path, tmp_path: Path) -> None:
    """A file of 200 MB, most of which one column is, is scored by a process that holds a part of it."""
    with (tmp_path / "rows.csv").open("w") as file:
        file.write("text,ballast\n")
        for place in range(400):
            file.write(f"{TEXTS[place]},{str(place) * 1000 * (500_000 // 1000 // len(str(place)))}\n")
    code = (
        "import resource, sys; from pipelines.cli import main\n"
        "try: main()\nexcept SystemExit as end: code = end.code\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr); sys.exit(code)"
    )
    peaks = []
    for source, rows in (("few.csv", 2), ("rows.csv", 401)):
        if source == "few.csv":
            with (tmp_path / "rows.csv").open() as file:
                (tmp_path / source).write_text("".join(next(file) for _ in range(rows)))
        command = [
            sys.executable,
            "-c",
            code,
            "predict",
            str(text_model),
            "--input",
            source,
            "--output",
            f"out-{source}",
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        peaks.append(int(done.stderr.splitlines()[-1]))
    assert peaks[1] - peaks[0] < 600, peaks


def test_progress_tells_share_rate_and_time_left() -> None:
    assert said(25.0, 100, 500, 10.0, 25.0) == "25%  500 rows  50 rows/s  30 s left"
    assert said(75.0, 100, 5, 10.0, 25.0) == "75%  5 rows  2.0 s/row  10 s left"
    assert said(0.0, 100, 0, 0.1, 0.0) == "0%  0 rows"
    assert said(100.0, 100, 12_345, 10.0, 50.0) == "100%  12.3k rows  1,234 rows/s"
