"""README and docs tell the truth: the recipe is the demo's, commands exist, what is named is there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
PAGES = "\n".join([README, *(page.read_text() for page in sorted((ROOT / "docs").glob("*.md")))])
BIN = Path(sys.executable).parent / "modelmill"
COMMANDS = sorted(set(re.findall(r"^    (?:\.venv/bin/)?(modelmill [^#\n>]*)", PAGES, re.MULTILINE)))
GROUPS = {"images", "models", "runs", "schedule"}


def test_the_recipe_shown_is_the_demo_itself() -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert shown == (ROOT / "pipelines" / "recipes" / "reviews.yaml").read_text()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shown_is_one_and_takes_the_options_shown(command: str) -> None:
    _, name, *arguments = shlex.split(command)
    path = [name, arguments[0]] if name in GROUPS else [name]
    told = subprocess.run([str(BIN), *path, "--help"], capture_output=True, text=True, check=True).stdout
    for option in (argument for argument in arguments if argument.startswith("-")):
        assert option in told


def test_every_file_and_target_named_exists() -> None:
    for path in re.findall(r"`((?:pipelines|components|modelmill|tests|tools|docs|images|charts)/[\w./-]+)`", PAGES):
        assert (ROOT / path).exists(), path
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make ([a-z-]+)`?", PAGES):
        assert f"\n{target}:" in makefile, target


def test_values_and_schedules_shown_are_those_of_the_files() -> None:
    page = (ROOT / "docs" / "cluster.md").read_text()
    values = yaml.safe_load((ROOT / "charts" / "modelmill" / "values.yaml").read_text())
    for key in re.findall(r"--set ([\w.]+)=", page):
        part = values
        for word in key.split("."):
            assert word in part, key
            part = part[word]
    schedule = (ROOT / "pipelines" / "schedules" / "reviews_nightly.yaml").read_text()
    (shown,) = re.findall(r"```yaml\n(name: reviews-nightly.*?)```", page, re.DOTALL)
    assert schedule.endswith(shown)


def test_nothing_is_left_to_fill_in() -> None:
    assert "@@" not in PAGES
