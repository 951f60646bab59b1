"""Builds the container images on a Docker engine, and tells which of them are there and under which digests."""

import os
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import IO, Any, get_args

from modelmill import __version__
from modelmill.errors import ModelmillError, UserError
from modelmill.images import ImageKind, image
from modelmill.version import git_commit

KINDS: tuple[ImageKind, ...] = get_args(ImageKind)
_ROOT = Path(__file__).resolve().parents[1]
# What the Dockerfiles copy; .dockerignore says the same to whoever builds by hand.
_FOLDERS = ("modelmill", "components", "images")
_LOCK, _CERTIFICATES = "images/packages.lock", "images/certificates.pem"
# They tell pip its index. Named and not given: the value, which may hold a password, stays off the command line.
_PIP = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT")
_PIP_CERTIFICATES = "PIP_CERT"
# The first second of 1980: a file that did not change is the same file in the next build, and its layer is kept.
_MODIFIED = 315_532_800


@dataclass(frozen=True, kw_only=True)
class Build:
    """How an image is built."""

    base: str | None = None
    """The image that it is built on, with Python 3.11 and pip; left out, the Dockerfile's."""
    lock: Path | None = None
    """Its packages; left out, the Dockerfile's."""
    network: str | None = None
    """Network of the build, as `docker build --network`; left out, the machine's where the engine has none."""


def build(kind: ImageKind, how: Build) -> dict[str, Any]:
    """Build an image under the name that pipelines use, and return what `described` does; Docker's words are shown.

    Raises:
        UserError: this is no checkout, or the lock is not there.
        ModelmillError: there is no engine or no `docker` command, or the build failed.
    """
    from pipelines.engine import engine

    name = image(kind)
    with engine() as client, tempfile.TemporaryFile() as context:
        write_context(context, how.lock)
        context.seek(0)
        command = ["docker", "build", "--file", f"images/{kind}.Dockerfile", "--tag", name]
        command += _arguments(how, how.network or _network(client))
        _docker([*command, "-"], context, f"{name}: not built")
        return described(kind, client)


def push(kind: ImageKind) -> dict[str, Any]:
    """Push an image to the registry of its name, and return what `described` does, with its digest.

    Raises:
        ModelmillError: there is no engine or no `docker` command, or the registry refused.
    """
    from pipelines.engine import engine, require_images

    name = image(kind)
    with engine() as client:
        require_images(client, [name])
        _docker(["docker", "push", name], None, f"{name}: not pushed; `docker login` to its registry may be missing")
        return described(kind, client)


def described(kind: ImageKind, client: Any) -> dict[str, Any]:
    """Return what an engine knows of an image: its bytes as unpacked, and its digest, '' before it was pushed."""
    import docker

    name = image(kind)
    facts: dict[str, Any] = {"kind": kind, "name": name, "there": False, "id": "", "bytes": 0, "digest": ""}
    try:
        found = client.images.get(name)
    except docker.errors.ImageNotFound:
        return facts
    repository = name.rpartition(":")[0]
    # The id names the image here; what a registry calls it is known once it was there.
    pushed = [digest for digest in found.attrs.get("RepoDigests") or () if digest.rpartition("@")[0] == repository]
    labels = found.labels or {}
    return facts | {
        "there": True,
        "id": found.id,
        "bytes": found.attrs["Size"],
        "digest": pushed[0] if pushed else "",
        "version": labels.get("org.opencontainers.image.version", ""),
        "commit": labels.get("org.opencontainers.image.revision", ""),
    }


def write_context(file: IO[bytes], lock: Path | None) -> None:
    """Write what an image is made of as a tar: the same bytes for the same files, whoever has them checked out where.

    Raises:
        UserError: this is no checkout, or a file that is named is not there.
    """
    if not (_ROOT / "images" / "data.Dockerfile").is_file():
        raise UserError(f"{_ROOT}: has no images/data.Dockerfile; images are built in a checkout of modelmill")
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, path in _context(lock):
            content = path.read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(content), 0o644, _MODIFIED
            tar.addfile(entry, BytesIO(content))


def _context(lock: Path | None) -> Iterator[tuple[str, Path]]:
    for folder in _FOLDERS:
        for path in sorted((_ROOT / folder).rglob("*")):
            name = path.relative_to(_ROOT).as_posix()
            if path.is_file() and "__pycache__" not in path.parts and name not in {_LOCK, _CERTIFICATES}:
                yield name, path
    if lock is not None:
        yield _LOCK, _there(lock, "--lock")
    certificates = os.environ.get(_PIP_CERTIFICATES)
    if certificates:
        yield _CERTIFICATES, _there(Path(certificates), _PIP_CERTIFICATES)


def _there(path: Path, said_by: str) -> Path:
    if not path.is_file():
        raise UserError(f"{said_by} {path}: there is no such file")
    return path


def _arguments(how: Build, network: str) -> list[str]:
    told = {"VERSION": __version__, "COMMIT": git_commit(), "CREATED": _created()}
    if how.base is not None:
        told["BASE"] = how.base
    if how.lock is not None:
        told["LOCK"] = _LOCK
    given = [f"{name}={value}" for name, value in told.items()] + [name for name in _PIP if os.environ.get(name)]
    return ["--network", network, *(word for argument in given for word in ("--build-arg", argument))]


def _created() -> str:
    """When the commit was made, so that the same commit makes the same image; outside of git, now."""
    asked = ["git", "-C", str(_ROOT), "show", "--no-patch", "--format=%ct", "HEAD"]
    try:
        done = subprocess.run(asked, check=True, capture_output=True, text=True)
        made = datetime.fromtimestamp(int(done.stdout), tz=UTC)
    except (OSError, ValueError, subprocess.CalledProcessError):
        made = datetime.now(tz=UTC)
    return made.strftime("%Y-%m-%dT%H:%M:%SZ")


def _network(client: Any) -> str:
    return "default" if any(each.name == "bridge" for each in client.networks.list()) else "host"


def _docker(command: Sequence[str], given: IO[bytes] | None, failed: str) -> None:
    try:
        # What Docker says goes to standard error: standard output is for the answer.
        code = subprocess.run(command, stdin=given, stdout=2, check=False).returncode
    except FileNotFoundError as error:
        raise ModelmillError("there is no `docker` command; install Docker's (Debian: docker.io)") from error
    if code != 0:
        raise ModelmillError(f"{failed}: `{' '.join(command[:2])}` ended with {code}, and said why above")
