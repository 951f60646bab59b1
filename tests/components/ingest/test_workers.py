"""The same datasets come out wherever the work is done: here, in processes beside, on a real Ray cluster."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from components.ingest import delimited, feed
from components.ingest import run as ingest_run
from components.ingest.workers import Beside, Here, OnRay, workers
from modelmill.errors import ModelmillError
from tests.components.ingest.tools import csv_of, ingest, write

TEXTS = [
    f"text number {number} of so many words that each one has its own place {number * 7}" for number in range(3000)
]


def addresses(folder: Path) -> tuple[str, str]:
    corpus = write(folder / "corpus.txt", "\n".join([*TEXTS[::2], *(text.upper() for text in TEXTS[:40])]))
    rows = write(folder / "rows.csv", csv_of([(text, "xy"[number % 2]) for number, text in enumerate(TEXTS[1000:])]))
    outputs, _ = ingest(
        folder,
        corpus=[{"uri": str(corpus), "format": "text"}, {"labelled": "train"}],
        labelled=[{"uri": str(rows)}],
        quality={"repetition": {}},
    )
    return outputs.corpus, outputs.labelled


def table_address(folder: Path) -> str:
    lines = [f"{n % 7},{n * 37 % 1000 / 10},{'xyz'[n % 3]},{n * 13 % 997}" for n in range(3000)]
    rows = write(folder / "table.csv", "".join(f"{line}\n" for line in ["a,b,c,y", *lines]))
    outputs, _ = ingest(folder, task="table-regression", labelled=[{"uri": str(rows)}], table={"target": "y"})
    return outputs.labelled


@pytest.fixture
def many_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "_BATCH_CHARS", 10_000)
    monkeypatch.setattr(delimited, "BATCH_ROWS", 500)


@pytest.fixture(scope="session")
def ray_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Ray cluster of two workers on this machine."""
    program = (
        "import ray, sys, time\n"
        "found = ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=200_000_000)\n"
        "print(found.address_info['gcs_address'], flush=True)\n"
        "sys.stdin.read()\n"
    )
    # Who may use the cluster; it is asked for by default.
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    env = {**os.environ, "PYTHONPATH": str(Path.cwd()), "RAY_USAGE_STATS_ENABLED": "0"}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    ) as cluster:
        assert cluster.stdout is not None
        yield cluster.stdout.readline().strip()
        cluster.terminate()
    del os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN"]


@pytest.mark.usefixtures("many_batches")
def test_two_processes_make_what_one_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = addresses(tmp_path / "alone"), table_address(tmp_path / "alone table")
    monkeypatch.setattr(ingest_run, "_LITTLE", 0)
    monkeypatch.setattr(ingest_run, "usable_cores", lambda: 2)
    assert (addresses(tmp_path / "two"), table_address(tmp_path / "two table")) == alone


@pytest.mark.usefixtures("many_batches")
def test_a_ray_cluster_makes_what_one_process_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ray_address: str
) -> None:
    alone = addresses(tmp_path / "alone"), table_address(tmp_path / "alone table")
    monkeypatch.setenv("RAY_ADDRESS", ray_address)
    assert (addresses(tmp_path / "ray"), table_address(tmp_path / "ray table")) == alone
    with workers(little=True, cores=1) as found:
        assert type(found) is OnRay


def test_a_ray_cluster_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://127.0.0.1:1")
    with pytest.raises(ModelmillError, match=r"RAY_ADDRESS ray://127\.0\.0\.1:1"), workers(little=True, cores=1):
        pass


def test_who_works_hangs_on_the_work_and_the_cores() -> None:
    for little, cores, kind in ((True, 2, Here), (False, 1, Here), (False, 2, Beside)):
        with workers(little=little, cores=cores) as found:
            assert type(found) is kind


def _double(number: int) -> int:
    time.sleep(0.02 if number % 3 == 0 else 0)
    return 2 * number


def _die(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_results_come_in_the_order_of_the_work_and_little_is_under_way_at_a_time() -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(30):
            taken.append(number)
            yield number

    with workers(little=False, cores=2) as found:
        for place, result in enumerate(found.map(_double, numbers())):
            assert result == 2 * place
            assert len(taken) <= place + 5


def test_workers_do_not_outlive_a_killed_parent() -> None:
    program = (
        "import os, time\n"
        "from components.ingest.workers import workers\n"
        "if __name__ == '__main__':\n"
        "    with workers(little=False, cores=2) as hands:\n"
        "        print(*set(hands.map(whose, range(8))), flush=True)\n"
        "        time.sleep(600)\n"
    )
    # A function that the workers can import.
    program = program.replace("whose", "__import__('tests.components.ingest.test_workers', fromlist=['whose']).whose")
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        children = list(map(int, parent.stdout.readline().split()))
        assert children
        parent.kill()

    until = time.monotonic() + 60
    while (left := [child for child in children if psutil.pid_exists(child)]) and time.monotonic() < until:
        time.sleep(0.1)
    assert not left


def whose(_: int) -> int:
    return os.getpid()


def test_a_killed_worker_is_an_error_and_not_a_silence() -> None:
    with pytest.raises(ModelmillError, match="a worker process of ingest was killed"):  # noqa: SIM117
        with workers(little=False, cores=2) as found:
            list(found.map(_die, range(10)))
