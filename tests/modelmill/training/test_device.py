import os
from pathlib import Path

import pytest
import torch

from modelmill.cores import usable_cores
from modelmill.training.device import prepare


@pytest.mark.parametrize(
    ("content", "cores"),
    [
        ("max 100000\n", None),
        ("50000 100000\n", 1),
        ("100000 100000\n", 1),
        ("100001 100000\n", 2),
        ("99900000 100000\n", None),
        ("", None),
        ("nonsense\n", None),
    ],
)
def test_cores_are_those_of_the_process_within_its_containers_quota(
    content: str, cores: int | None, tmp_path: Path
) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(content)
    allowed = len(os.sched_getaffinity(0))
    assert usable_cores(file) == (allowed if cores is None else min(cores, allowed))


def test_without_a_quota_file_the_process_counts(tmp_path: Path) -> None:
    assert usable_cores(tmp_path / "none") == len(os.sched_getaffinity(0))


def test_a_prepared_process_draws_the_same_numbers_again() -> None:
    prepare(3)
    first = torch.rand(4)
    device = prepare(3)
    assert torch.equal(torch.rand(4), first)
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == usable_cores()
    assert device.type == ("cuda" if torch.cuda.is_available() else "cpu")
