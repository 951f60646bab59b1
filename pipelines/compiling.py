"""A recipe's pipeline as Kubeflow Pipelines takes it."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from modelmill.profile import Profile
from pipelines.recipe import Recipe
from pipelines.steps import Stage

Form = Literal[".yaml", ".yml", ".json"]
"""How the name of its file ends."""

# kfp draws a pipeline into one variable of the whole process, and at every setting of a task it reads the source lines
# of all callers: one thread draws all of them, and has few callers.
_COMPILER = ThreadPoolExecutor(1, thread_name_prefix="compile")


def compiled(
    recipe: Recipe,
    until: Stage = "register",
    profile: Profile | None = None,
    form: Form = ".yaml",
) -> str:
    """Return the text of a recipe's pipeline, placed as a profile says; the same recipe gives the same bytes."""
    return _COMPILER.submit(_compiled, recipe, until, profile, form).result()


def _compiled(recipe: Recipe, until: Stage, profile: Profile | None, form: Form) -> str:
    from kfp.compiler import Compiler

    from pipelines.graph import build

    with tempfile.TemporaryDirectory(prefix="modelmill-compile-") as folder:
        path = Path(folder) / f"pipeline{form}"
        Compiler().compile(build(recipe, until, profile), str(path))
        return path.read_text()
