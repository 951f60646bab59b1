"""The README tells the truth: its recipe is the demo's, its commands exist, its links lead somewhere."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
BIN = Path(sys.executable).parent / "modelmill"
COMMANDS = sorted(set(re.findall(r"^    (?:\.venv/bin/)?(modelmill [^#\n>]*)", README, re.MULTILINE)))


def test_the_recipe_shown_is_the_demo_itself() -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert shown == (ROOT / "pipelines" / "recipes" / "reviews.yaml").read_text()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shown_is_one_and_takes_the_options_shown(command: str) -> None:
    _, name, *arguments = shlex.split(command)
    path = [name, arguments[0]] if name == "models" else [name]
    told = subprocess.run([str(BIN), *path, "--help"], capture_output=True, text=True, check=True).stdout
    for option in (argument for argument in arguments if argument.startswith("-")):
        assert option in told


def test_every_file_and_target_named_exists() -> None:
    for path in re.findall(r"`((?:pipelines|components|modelmill|tests|tools|docs|images)/[\w./-]+)`", README):
        assert (ROOT / path).exists(), path
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make ([a-z-]+)`?", README):
        assert f"\n{target}:" in makefile, target


def test_nothing_is_left_to_fill_in() -> None:
    assert "@@" not in README
