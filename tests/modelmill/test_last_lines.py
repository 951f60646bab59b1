"""The last lines of a log, and what a step says where no one reads its events."""

import logging

from modelmill.last_lines import LastLines


def test_the_newest_lines_are_kept_oldest_first_and_none_is_endless() -> None:
    kept = LastLines(3)
    log = logging.getLogger("tests.last_lines")
    log.addHandler(kept)
    log.propagate = False
    log.warning("one\ntwo")
    log.warning("three")
    kept.add("\n" + "x" * 10_000 + "\n")
    assert [line[:5] for line in kept.lines] == ["two", "three", "xxxxx"]
    assert len(kept.lines[-1]) == 300
