"""Runs a recipe's graph with kfp.local in a process of its own, so that kfp's output and its global state stay there.

`python -m pipelines.local_runner RUN_FOLDER RUNNER` reads `recipe.json` from the folder and leaves `outputs.json`
there. The runner is `subprocess` (each step a process) or `docker` (each step a container). What kfp prints goes where
this process's output goes. When its standard input closes, whoever started it is gone, and it ends with every step that
it runs.
"""

import json
import os
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Any, Literal

from pipelines.recipe import Recipe
from pipelines.step_processes import StepProcesses, loaded_for
from pipelines.steps import Stage

RunnerName = Literal["subprocess", "docker"]


def main(folder: Path, runner: RunnerName) -> None:
    """Run the graph; raises what kfp raises when a step fails."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # kfp warns that images without 'python' in their name may not be for this runner; ours are.
    warnings.simplefilter("ignore")
    from kfp import local

    from pipelines.graph import build

    asked = json.loads((folder / "recipe.json").read_text())
    recipe = Recipe.model_validate_json(json.dumps(asked["recipe"]))
    root = str(folder.parent.parent / "kfp")
    local.init(_runner(runner, recipe, asked["until"]), pipeline_root=root, enable_caching=True)
    task = build(recipe, asked["until"])()
    outputs: dict[str, dict[str, str]] = {}
    for name, value in task.outputs.items():
        step, _, output = name.partition("__")
        outputs.setdefault(step.replace("_", "-"), {})[output] = value
    (folder / "outputs.json").write_text(json.dumps(outputs))


def _runner(name: RunnerName, recipe: Recipe, until: Stage) -> Any:
    if name == "docker":
        from pipelines import docker_runner

        return docker_runner.runner(recipe)
    from kfp import local

    let_container_components_run(StepProcesses(loaded_for(recipe.task, until)))
    return local.SubprocessRunner(use_venv=False)


def let_container_components_run(processes: StepProcesses) -> None:
    """Make kfp.local's subprocess runner take container components, whose command runs here as it would in its image.

    Three functions of kfp are replaced, in this place only: the check that refuses such components; the replacement of
    the text `python3` in every argument, settings included; and the one that starts the process.

    Raises:
        AttributeError: kfp has no such function any more.
    """
    from kfp.local import subprocess_task_handler as handler

    for name in ("replace_python_executable", "run_local_subprocess"):
        getattr(handler, name)
    getattr(handler.SubprocessTaskHandler, "validate_not_container_component")  # noqa: B009 - it is to fail if absent
    handler.SubprocessTaskHandler.validate_not_container_component = lambda _self, _command: None
    handler.replace_python_executable = _replace_first
    handler.run_local_subprocess = lambda full_command, env_vars=None: processes.run(full_command, env_vars)


def _replace_first(full_command: list[str], new_executable: str) -> list[str]:
    return [new_executable if full_command[0] == "python3" else full_command[0], *full_command[1:]]


def _end_with_parent() -> None:
    # Not through sys.stdin, whose lock this thread would still hold when the interpreter ends.
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGTERM)


if __name__ == "__main__":
    main(Path(sys.argv[1]), "docker" if sys.argv[2:] == ["docker"] else "subprocess")
