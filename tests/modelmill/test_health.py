"""The light self-check of an image."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from modelmill import __version__
from tests.pipelines.test_engine import TcpStandIn


def _health(*arguments: str, **env: str) -> tuple[int, dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-m", "modelmill.health", *arguments],
        env={**os.environ, **env}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found: dict[str, object] = json.loads(done.stdout)
    return done.returncode, found


def test_a_whole_image_says_what_it_is(tmp_path: Path) -> None:
    code, found = _health(MODELMILL_IMAGE="train", TMPDIR=str(tmp_path))
    assert (code, found["healthy"], found["image"], found["version"]) == (0, True, "train", __version__)
    assert found["user"] == os.getuid()
    packages, scratch = found["packages"], found["scratch"]
    assert isinstance(packages, dict)
    assert isinstance(scratch, dict)
    assert {"torch", "pyarrow", "mlflow-skinny"} <= packages.keys()
    assert scratch["folder"] == str(tmp_path)


def test_a_light_check_loads_no_package_and_is_quick() -> None:
    code = (
        "import sys, modelmill.health as h; h.health(); print([n for n in ('pyarrow', 'mlflow') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_packages_are_loaded_where_that_is_asked_for() -> None:
    assert _health("--imports", MODELMILL_IMAGE="data")[0] == 0


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    code, found = _health(TMPDIR=str(tmp_path / "gone"))
    assert (code, found["healthy"]) == (1, False)
    assert f"{tmp_path}/gone: cannot be written by user" in str(found["error"])


@pytest.mark.parametrize("missing", ["mlflow-skinny"])
def test_a_package_that_is_not_installed_is_told(missing: str) -> None:
    # Of the packages none is seen without the folder that they are in.
    code = "import sys\nsys.path[:] = [p for p in sys.path if 'site-packages' not in p]\nfrom modelmill import health\n"
    code += "from modelmill.errors import ModelmillError\ntry: health._version(sys.argv[1])\n"
    code += "except ModelmillError as error: print(error)"
    done = subprocess.run([sys.executable, "-c", code, missing], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"package {missing} is not installed; build the image from its lock again"


def test_a_server_that_answers_is_healthy_and_one_that_is_gone_is_not() -> None:
    with TcpStandIn() as address:
        at = address.replace("tcp://", "http://")
        assert _health("--serving", at)[0] == 0
    code, found = _health("--serving", at)
    assert (code, f"{at}: no model answers there" in str(found["error"])) == (1, True)
