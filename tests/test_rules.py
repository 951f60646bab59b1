"""The rules of the tree: who may import what, and that importing does nothing."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("resolve", "ingest", "preprocess", "pretrain", "finetune", "evaluate", "register")
COMPONENTS = (*STAGES, "notify")
MODEL_STAGES = ("pretrain", "finetune", "evaluate")
TORCH = {"torch", "transformers", "torchvision"}


def _files(*packages: str) -> list[Path]:
    return [path for package in packages for path in sorted((ROOT / package).rglob("*.py"))]


def _imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", _files("modelmill"), ids=_named)
def test_the_library_knows_no_stage_and_no_kfp(path: Path) -> None:
    roots = {name.split(".")[0] for name in _imports(path)}
    assert not roots & {"components", "pipelines", "kfp"}


@pytest.mark.parametrize("path", _files("components"), ids=_named)
def test_a_stage_knows_itself_and_the_library(path: Path) -> None:
    stage = path.relative_to(ROOT / "components").parts[0]
    for name in _imports(path):
        assert not name.startswith("pipelines"), name
        assert not name.startswith("components.") or name.startswith(f"components.{stage}"), name
        assert not name.startswith("kfp") or path.name == "component.py", name


@pytest.mark.parametrize("stage", COMPONENTS)
def test_a_specification_knows_kfp_and_the_images_names_only(stage: str) -> None:
    names = set(_imports(ROOT / "components" / stage / "component.py"))
    assert names <= {"kfp", "kfp.dsl", "modelmill.images", "modelmill.images.image"}


@pytest.mark.parametrize("path", _files("modelmill", "components", "pipelines"), ids=_named)
def test_torch_stays_with_models_training_and_the_model_stages(path: Path) -> None:
    parts = path.relative_to(ROOT).parts
    allowed = parts[:2] in {("modelmill", "models"), ("modelmill", "training")} or (
        parts[0] == "components" and parts[1] in MODEL_STAGES
    )
    assert allowed or not {name.split(".")[0] for name in _imports(path)} & TORCH


@pytest.mark.parametrize("path", _files("pipelines"), ids=_named)
def test_pipelines_know_settings_and_specifications_of_stages_and_not_their_code(path: Path) -> None:
    for name in _imports(path):
        parts = name.split(".")
        assert parts[0] != "components" or parts[2] in {"settings", "component"}, name


def test_the_command_line_answers_without_heavy_imports() -> None:
    heavy = ["torch", "transformers", "mlflow", "kfp", "pyarrow", "boto3", "sklearn", "matplotlib", "pandas", "numpy"]
    code = f"import sys, pipelines.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("stage", ["resolve", "ingest", "preprocess", "register", "notify"])
def test_a_stage_of_the_data_image_never_loads_torch(stage: str) -> None:
    """Its modules are all imported, late imports of the library included."""
    modules = [f"components.{stage}.{path.stem}" for path in (ROOT / "components" / stage).glob("*.py")]
    modules = [name for name in modules if not name.endswith(("__main__", "component", "__init__"))]
    code = (
        f"import importlib, sys\nfor name in {modules}: importlib.import_module(name)\n"
        f"print(sorted({sorted(TORCH)} & sys.modules.keys()))"
    ).replace(f"{sorted(TORCH)} &", f"set({sorted(TORCH)}) &")
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_tables_and_pictures_do_without_what_takes_long_to_import() -> None:
    modules = [
        "components.finetune.run", "components.finetune.tables", "components.finetune.images",
        "components.pretrain.run",
        "modelmill.models.predict", "modelmill.models.table_predictor", "modelmill.models.image_predictor",
    ]  # fmt: skip
    long = {"transformers", "torch.distributed.tensor"}
    code = f"import sys, {', '.join(modules)}; print(sorted({long} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("stage", COMPONENTS)
def test_every_step_explains_itself(stage: str) -> None:
    command = [sys.executable, "-m", f"components.{stage}", "--help"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert f"python -m components.{stage}" in done.stdout
    assert "--settings" in done.stdout


def test_every_test_is_among_those_that_are_run() -> None:
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["testpaths"]
    run = {path for pattern in told for path in ROOT.glob(pattern)}
    files = (ROOT / "tests").rglob("test_*.py")
    assert [path for path in files if not run & {path, *path.parents}] == []


def test_no_file_names_an_index_or_a_folder_of_one_machine() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    words = ["index" + "-url", "find" + "-links", "/opt/" + "pypi", "pypi" + ".org", "/ro" + "ot/"]
    for name in listed:
        text = (ROOT / name).read_text(errors="ignore")
        found = [word for word in words if word in text.replace("--no-emit-" + words[0], "")]
        assert not found, f"{name}: {found}"
