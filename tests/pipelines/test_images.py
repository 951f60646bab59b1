"""What images are built from, and how their files say it; the builds themselves are in test_docker.py."""

import hashlib
import io
import re
import tarfile
from pathlib import Path

import pytest

from modelmill.errors import UserError
from pipelines import images
from tests.commands import modelmill

ROOT = Path(__file__).resolve().parents[2]
SECRET = "https://somebody:secret@index.invalid/simple"


def _context(lock: Path | None = None) -> bytes:
    file = io.BytesIO()
    images.write_context(file, lock)
    return file.getvalue()


def _names(context: bytes) -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(context)) as tar:
        return set(tar.getnames())


@pytest.fixture(autouse=True)
def _no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_CERT", raising=False)


def test_a_context_holds_code_and_locks_alone_and_is_the_same_every_time(tmp_path: Path) -> None:
    context = _context()
    assert hashlib.sha256(context).digest() == hashlib.sha256(_context()).digest()
    names = _names(context)
    assert {name.partition("/")[0] for name in names} == {"modelmill", "components", "images"}
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    assert {"images/data.Dockerfile", "images/data.lock", "images/build.lock", "modelmill/health.py"} <= names
    with tarfile.open(fileobj=io.BytesIO(context)) as tar:
        assert {(each.mode, each.uid, each.mtime) for each in tar} == {(0o644, 0, images._MODIFIED)}


def test_a_lock_and_certificates_that_are_named_are_in_the_context(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my.lock").write_text("numpy==2.4.6\n")
    (tmp_path / "ca.pem").write_text("certificates")
    monkeypatch.setenv("PIP_CERT", str(tmp_path / "ca.pem"))
    assert {"images/packages.lock", "images/certificates.pem"} <= _names(_context(tmp_path / "my.lock"))


def test_what_is_named_and_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"--lock .*/none.lock: there is no such file"):
        _context(tmp_path / "none.lock")
    monkeypatch.setenv("PIP_CERT", str(tmp_path / "none.pem"))
    with pytest.raises(UserError, match=r"PIP_CERT .*/none.pem: there is no such file"):
        _context()


def test_the_index_is_named_and_its_address_stays_off_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", SECRET)
    told = images._arguments(images.Build(base="base:1", lock=Path("my.lock")), "host")
    assert "PIP_EXTRA_INDEX_URL" in told
    assert "BASE=base:1" in told
    assert "LOCK=images/packages.lock" in told
    assert not [word for word in told if "secret" in word]


@pytest.mark.parametrize("kind", images.KINDS)
def test_a_dockerfile_keeps_what_pip_is_told_in_a_stage_that_is_not_the_image(kind: str) -> None:
    text = (ROOT / "images" / f"{kind}.Dockerfile").read_text()
    before, packages, code, bytecode, final = re.split(r"^FROM \$\{BASE\}.*$", text, flags=re.MULTILINE)
    assert "\nARG BASE=docker.io/library/python:3.11-slim\n" in before
    assert {"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "certificates.pe[m]"} <= set(
        re.findall(r"PIP_\w+|cert\S+\]", packages)
    )
    assert "PIP_" not in code + bytecode + final
    assert "certificates" not in code + bytecode + final
    # The classic builder, which Docker without buildx has, knows no mounts.
    assert "--mount" not in text
    assert re.search(r"^RUN ", final, re.MULTILINE) is None
    assert re.search(r"^USER 65532:65532$", final, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK .*modelmill\.health", final, re.MULTILINE)
    for word in ("version", "revision", "created", "title", "licenses", "base.name"):
        assert f"org.opencontainers.image.{word}=" in final
    assert re.search(r"^ENTRYPOINT", final, re.MULTILINE) is None


def test_the_two_dockerfiles_install_and_copy_alike() -> None:
    data, train = ((ROOT / "images" / f"{kind}.Dockerfile").read_text() for kind in ("data", "train"))
    stages = [text[text.index("FROM ") : text.rindex("\nFROM ")] for text in (data, train)]
    named = stages[0].replace("images/data.lock", "images/train.lock").replace("IMAGE=data", "IMAGE=train")
    assert named == stages[1]


@pytest.mark.parametrize("lock", ["data.lock", "data-ray.lock", "train.lock", "build.lock"])
def test_every_lock_of_an_image_pins_versions_and_hashes_that_the_tests_ran_with(lock: str) -> None:
    def pinned(path: Path) -> dict[str, str]:
        found = re.findall(r"^([a-z0-9.-]+==\S+).*\n((?:    --hash=\S+(?: \\)?\n)+)", path.read_text(), re.MULTILINE)
        return dict(found)

    ours, tested = pinned(ROOT / "images" / lock), pinned(ROOT / "requirements.lock")
    assert ours
    assert ours.keys() <= tested.keys()
    assert all(sorted(ours[name].split()) == sorted(tested[name].split()) for name in ours)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["build", "dta"], "dta: no such image; did you mean 'data'?"),
        (["build", "--lock", "x.lock"], "--lock is of one image; name it"),
        (["push", "trian"], "trian: no such image; did you mean 'train'?"),
    ],
)
def test_wrong_words_are_told(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = modelmill("images", *arguments, cwd=tmp_path)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("command", ["build", "push", "list", "digests"])
def test_without_an_engine_each_command_says_so(tmp_path: Path, command: str) -> None:
    done = modelmill("images", command, cwd=tmp_path, env={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})
    assert (done.returncode, "no Docker engine answers at" in done.stderr) == (1, True), done.stderr
