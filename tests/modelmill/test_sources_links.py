import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelmill.errors import UserError
from modelmill.sources import check_there, list_files
from modelmill.sources.find import find, matches

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("in/a.csv", "in/deep/b.csv", "in/.kept/c.csv", "out/secret.csv"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "in"


def names(uri: object) -> list[str]:
    return [file.name for file in list_files(str(uri))]


@pytest.mark.parametrize("pattern", ["", "/*.csv", "/**/*.csv"])
def test_a_link_to_a_file_out_of_the_folder_is_refused_by_name_and_target(folder: Path, pattern: str) -> None:
    (folder / "x.csv").symlink_to("../out/secret.csv")
    message = rf"in/x\.csv: a symbolic link out of {folder}, to {folder.parent}/out/secret\.csv; name that as a source"

    for look in (list_files, check_there):
        with pytest.raises(UserError, match=message):
            look(f"{folder}{pattern}")


@pytest.mark.parametrize("pattern", ["", "/*/*.csv", "/**/*.csv"])
def test_a_link_to_a_folder_out_of_the_folder_is_refused_and_not_passed_over(folder: Path, pattern: str) -> None:
    (folder / "deep" / "x").symlink_to(folder.parent / "out")
    (folder / "y").symlink_to(folder.parent / "out")

    with pytest.raises(UserError, match=r"in/(deep/x|y): a symbolic link out of "):
        list_files(f"{folder}{pattern}")


def test_a_folder_whose_name_begins_alike_is_another_folder(folder: Path) -> None:
    (folder.parent / "inside").mkdir()
    (folder.parent / "inside" / "d.csv").write_text("d")
    (folder / "d.csv").symlink_to("../inside/d.csv")

    with pytest.raises(UserError, match="a symbolic link out of"):
        list_files(str(folder))


def test_links_inside_a_folder_are_files_of_it_and_a_linked_folder_is_read_once(folder: Path) -> None:
    (folder / "again.csv").symlink_to("deep/b.csv")
    (folder / "same").symlink_to("deep")

    assert names(folder) == ["a.csv", "again.csv", "deep/b.csv"]
    assert names(f"{folder}/**/*.csv") == ["a.csv", "again.csv", "deep/b.csv"]
    assert names(f"{folder}/same/*.csv") == ["b.csv"]


def test_a_mounted_volume_whose_files_lie_in_a_hidden_folder_is_read(folder: Path) -> None:
    """As Kubernetes mounts a ConfigMap: every name is a link through a hidden one."""
    (folder / "..data").symlink_to(".kept")
    (folder / "c.csv").symlink_to("..data/c.csv")
    (folder / "all").symlink_to("..data")

    assert names(folder) == ["a.csv", "all/c.csv", "c.csv", "deep/b.csv"]


def test_a_link_that_the_recipe_names_is_followed_wherever_it_leads(folder: Path) -> None:
    (folder / "x.csv").symlink_to("../out/secret.csv")
    (folder.parent / "current").symlink_to("in/deep")
    (folder.parent / "out" / "version").symlink_to("../in/deep")

    assert names(folder / "x.csv") == ["x.csv"]
    assert names(folder.parent / "current") == ["b.csv"]
    assert names(f"{folder.parent}/current/*.csv") == ["b.csv"]
    assert names(f"{folder.parent}/o*/version/*.csv") == ["out/version/b.csv"]


def test_links_in_a_circle_end(folder: Path) -> None:
    (folder / "round").symlink_to(".")
    (folder / "deep" / "up").symlink_to("..")
    (folder / ".kept" / "back").symlink_to("../.kept")
    (folder / "kept").symlink_to(".kept")

    assert names(folder) == ["a.csv", "deep/b.csv", "kept/c.csv"]
    assert names(f"{folder}/**/*.csv") == ["a.csv", "deep/b.csv"]
    assert names(f"{folder}/**") == ["a.csv", "deep/b.csv"]


@pytest.mark.parametrize("pattern", ["", "/*.csv"])
@pytest.mark.parametrize("target", ["not-there.csv", "x.csv"])
def test_a_link_to_nothing_or_to_itself_is_named(folder: Path, pattern: str, target: str) -> None:
    (folder / "x.csv").symlink_to(target)

    with pytest.raises(UserError, match=rf"x\.csv: a symbolic link to .*{target}, where nothing is"):
        list_files(f"{folder}{pattern}")


def test_a_package_may_be_a_farm_of_links(tmp_path: Path) -> None:
    package, cache = tmp_path / "farm", tmp_path / "cache"
    for path in (package, cache):
        path.mkdir()
    (package / "__init__.py").write_text("")
    (cache / "a.csv").write_text("a")
    (package / "a.csv").symlink_to(cache / "a.csv")
    (package / "more").symlink_to(cache)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from modelmill.sources import list_files;"
    code += "print(*(file.uri for uri in ('', '/*.csv') for file in list_files('package://farm' + uri)))"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["package://farm/a.csv", "package://farm/more/a.csv", "package://farm/a.csv"]


def as_nobody(uri: str) -> str:
    """Run as a user whom rights apply to, also where tests run as root; returns what went wrong."""
    code = "import os, sys\nfrom modelmill.sources import list_files, open_raw\n"
    code += "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"
    code += "try: print([file.name for file in list_files(sys.argv[1])])\n"
    code += "except Exception as error: print(type(error).__name__, error)"
    command = [sys.executable, "-c", code, uri]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def seen() -> Iterator[Path]:
    """A folder that everybody may reach, as pytest's own may not be."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "a.csv").write_text("a")
        (folder / "deep").mkdir()
        (folder / "deep" / "b.csv").write_text("b")
        yield folder


@pytest.mark.parametrize("pattern", ["", "/**/*.csv", "/*/*.csv", "/deep/b.csv", "/deep", "/deep/*", "/deep/none.csv"])
def test_a_folder_without_permission_is_named(seen: Path, pattern: str) -> None:
    (seen / "deep").chmod(0)
    try:
        said = as_nobody(f"{seen}{pattern}")
    finally:
        (seen / "deep").chmod(0o755)

    assert said.startswith(f"UserError {seen}")
    assert "/deep" in said
    assert "cannot be read: Permission denied; correct its path or its rights" in said


def test_a_file_without_permission_is_named(seen: Path) -> None:
    (seen / "a.csv").chmod(0)

    for uri in (str(seen), f"{seen}/*.csv", f"{seen}/a.csv"):
        assert f"{seen}/a.csv cannot be read: Permission denied" in as_nobody(uri).replace("a.csv:", "a.csv")
    assert as_nobody(f"{seen}/deep") == "['b.csv']\n"


NAMES = st.sampled_from(["a", "ab", ".a", "b.c"])
PATTERNS = st.sampled_from(["*", "**", "a*", "?", "[ab]", "ab", ".*", "*.c"])


@given(paths=st.sets(st.lists(NAMES, min_size=1, max_size=4).map(tuple)), pattern=st.lists(PATTERNS, max_size=4))
def test_a_pattern_names_the_same_files_on_disk_and_in_a_list(
    tmp_path_factory: pytest.TempPathFactory, paths: set[tuple[str, ...]], pattern: list[str]
) -> None:
    root = tmp_path_factory.mktemp("tree")
    for path in paths:
        # A leaf has an ending of its own, so that no file stands where a folder should.
        (root.joinpath(*path[:-1])).mkdir(parents=True, exist_ok=True)
        root.joinpath(*path[:-1], f"{path[-1]}.c").write_text("x")
    leaves = {
        (*path[:-1], f"{path[-1]}.c") for path in paths if not root.joinpath(*path[:-1], f"{path[-1]}.c").is_dir()
    }
    asked = ["*", *pattern]

    _, found = find("tree", root.joinpath(*asked), links_may_leave=False)

    expected = {path for path in leaves if matches(path, asked)}
    assert {file.relative_to(root).parts for file in found} == expected
