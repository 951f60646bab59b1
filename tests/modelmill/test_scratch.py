"""A folder for a while is gone at its end, whoever still writes into it."""

import threading
from pathlib import Path

import pytest

from modelmill.scratch import scratch_folder


def test_it_is_for_one_person_there_and_then_gone() -> None:
    with scratch_folder("look") as folder:
        assert folder.name.startswith("modelmill-look-")
        assert folder.stat().st_mode & 0o077 == 0
        (folder / "a").write_text("x")
    assert not folder.exists()


def test_the_error_that_is_told_is_the_one_that_ended_the_block() -> None:
    ends, wrote = threading.Event(), threading.Event()
    given: list[Path] = []

    def fetch() -> None:
        """Make files as a thread does that has not heard that another one failed."""
        folder, number = given[0], 0
        while not ends.is_set():
            number += 1
            try:
                (folder / str(number % 7)).mkdir(exist_ok=True)
                (folder / str(number % 7) / str(number)).touch()
            except OSError:
                continue
            wrote.set()

    def look() -> None:
        with scratch_folder("look") as folder:
            given.append(folder)
            for thread in threads:
                thread.start()
            assert wrote.wait(60)
            raise ValueError("the server is gone")

    threads = [*(threading.Thread(target=fetch) for _ in range(4)), threading.Timer(0.5, ends.set)]
    with pytest.raises(ValueError, match="the server is gone"):
        look()
    for thread in threads:
        thread.join()
    assert not given[0].exists()
