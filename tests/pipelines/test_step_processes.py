"""Steps that are forked from a process which has loaded what they need are what any process is."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import pytest

from modelmill.settings import Task
from pipelines.step_processes import FORKS, loaded_for

# Tells what it is, and ends as its first argument says.
STEP = """
import atexit, json, os, signal, sys
import loaded
how, file = sys.argv[1:3]
told = {
    "pid": os.getpid(), "parent": os.getppid(), "arguments": sys.argv[1:], "name": __name__, "loaded_by": loaded.PID,
    "input": sys.stdin.read(), "input_is_open": os.read(0, 1) != b"", "main": sys.modules["__main__"].__dict__["STEP"],
    "variables": {name: value for name, value in os.environ.items() if name.startswith("STEP")},
    "interrupt": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
} if (STEP := 1) else {}
open(file, "w").write(json.dumps(told))
atexit.register(lambda: open(file + ".ended", "w").close())
print("said by", how, flush=True)
if how == "killed": os.kill(os.getpid(), signal.SIGKILL)
if how == "failed": raise ValueError("no")
sys.exit({"done": None, "wrong": 2}.get(how))
"""
RUNNER = """
import json, os, sys
from pipelines.step_processes import StepProcesses
if __name__ == "__main__":
    processes = StepProcesses(["loaded", "no.such.module"])
    os.environ["STEP_OF_ALL"] = "1"
    codes = [
        processes.run([sys.executable, "-m", "step", how, f"{n}.json", "--settings", "{}"], {"STEP_OWN": str(n)})
        for n, how in enumerate(sys.argv[1:])
    ]
    print(json.dumps([os.getpid(), codes]))
"""


def _run(folder: Path, hows: Sequence[str]) -> tuple[int, list[int], list[dict[str, Any]], str]:
    (folder / "step.py").write_text(STEP)
    (folder / "loaded.py").write_text("import os\nPID = os.getpid()\n")
    (folder / "runner.py").write_text(RUNNER)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path)])}
    with subprocess.Popen(
        [sys.executable, "-m", "runner", *hows], cwd=folder, env=env,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        said = process.stdout.read()
    pid, codes = json.loads(said.splitlines()[-1])
    return pid, codes, [json.loads((folder / f"{n}.json").read_text()) for n in range(len(hows))], said


@pytest.mark.skipif(not FORKS, reason="steps are forked on Linux without a GPU")
def test_a_forked_step_is_told_and_ends_like_one_that_is_started(tmp_path: Path) -> None:
    hows = ["done", "done", "wrong", "failed", "killed", "done"]
    runner, codes, told, said = _run(tmp_path, hows)
    assert codes == [0, 0, 2, 1, -signal.SIGKILL, 0]
    assert [line for line in said.splitlines() if line.startswith("said by")] == [f"said by {how}" for how in hows]
    assert "ValueError: no" in said
    for n, (one, how) in enumerate(zip(told, hows, strict=True)):
        assert one["arguments"] == [how, f"{n}.json", "--settings", "{}"]
        assert one["variables"] == {"STEP_OF_ALL": "1", "STEP_OWN": str(n)}
        assert (one["name"], one["main"], one["input"], one["interrupt"]) == ("__main__", 1, "", True)
        assert not one["input_is_open"]
        assert (tmp_path / f"{n}.json.ended").exists() == (how != "killed")
    assert len({one["pid"] for one in told}) == len(hows)
    assert {one["parent"] for one in told} == {one["loaded_by"] for one in told}
    assert runner not in {one["parent"] for one in told}


@pytest.mark.parametrize("task", [task for one in get_args(Task) for task in (get_args(one) or (one,))])
def test_what_is_loaded_ahead_is_there(task: Task) -> None:
    # The fork server passes over a module that is not.
    assert [name for name in loaded_for(task) if find_spec(name) is None] == []


def test_what_no_step_of_a_run_needs_is_not_loaded() -> None:
    assert loaded_for("text-classification", "ingest") == ()
    code = "import sys; from importlib import import_module; [import_module(name) for name in sys.argv[1:]]\n"
    code += "sys.exit('torch' in sys.modules or 'components.preprocess.run' not in sys.modules)"
    subprocess.run([sys.executable, "-c", code, *loaded_for("text-classification", "preprocess")], check=True)


@pytest.mark.parametrize("step", ["resolve", "ingest"])
def test_steps_that_look_at_the_data_do_not_wait_for_what_others_load(tmp_path: Path, step: str) -> None:
    # A step of that name which only a process with its own path finds.
    package = tmp_path / "own" / "components" / step
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "__main__.py").write_text("import os; print(os.getppid(), flush=True)")
    code = "import os, sys; from pipelines.step_processes import StepProcesses; print(os.getpid(), flush=True)\n"
    code += "sys.exit(StepProcesses(['time']).run([sys.executable, '-m', sys.argv[1]], {'PYTHONPATH': sys.argv[2]}))"
    command = [sys.executable, "-c", code, f"components.{step}", str(package.parents[1])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    runner, parent = done.stdout.split()
    assert parent == runner
