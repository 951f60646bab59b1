"""What of this machine a step in a container shares: folders and files at the places they have here, and variables.

At the same places, so that addresses, the digest of store and tracking, and cache keys are those of a step outside.
"""

import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from modelmill.errors import UserError
from modelmill.home import home, tracking_uri
from modelmill.models.base import is_reference
from modelmill.registry.who import USER_VARIABLE, who
from modelmill.sources.find import is_pattern
from modelmill.store import STORE_VARIABLE
from modelmill.training.tensorboard import FOLDER_VARIABLE
from pipelines.recipe import Recipe

PACKAGES = Path("/opt/modelmill/packages")
"""Where an image looks for data of packages that it does not hold."""
_PACKAGE = "package://"
# Of the person's environment, what steps and their libraries read.
_PREFIXES = ("MODELMILL_", "MLFLOW_", "AWS_", "HF_", "OMP_", "MKL_", "GOMP_", "NCCL_", "CUDA_", "TORCH", "TOKENIZERS_")
_NAMES = frozenset(
    {"CURL_CA_BUNDLE", "DO_NOT_TRACK", "NETRC", "RAY_ADDRESS", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "TMPDIR", "TZ"}
)
_PROXIES = frozenset({"http_proxy", "https_proxy", "no_proxy", "all_proxy"})
# What libraries read in the home folder, where no variable names another place.
_IN_HOME = {
    "AWS_SHARED_CREDENTIALS_FILE": ".aws/credentials",
    "AWS_CONFIG_FILE": ".aws/config",
    "NETRC": ".netrc",
}
# What an image cannot do without: a folder of this machine in its place would hide it.
_OF_THE_IMAGE = tuple(
    Path(path)
    for path in ("/bin", "/dev", "/etc", "/lib", "/opt/modelmill", "/proc", "/sbin", "/sys", "/tmp", "/usr/bin")  # noqa: S108
) + tuple(Path(path) for path in ("/usr/lib", "/usr/local/bin", "/usr/local/lib"))


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What a step in a container sees of this machine."""

    writable: tuple[Path, ...]
    """Folders, at the places they have here."""
    readable: Mapping[Path, Path]
    """Files and folders of this machine by their places in the container, where they can only be read."""
    environment: Mapping[str, str]
    """Variables of a step."""


def shared(recipe: Recipe, environment: Mapping[str, str]) -> Shared:
    """Return what the steps of a recipe share with this machine, whose environment is given; folders are made.

    Raises:
        UserError: data lie where an image has its own files.
    """
    told = _environment(environment)
    writable = tuple(dict.fromkeys(_writable(environment)))
    for folder in writable:
        _check_free(folder, str(folder))
        folder.mkdir(parents=True, exist_ok=True)
    readable = {place: here for uri in _uris(recipe) for place, here in _places(uri)}
    # Certificates, tokens and the like: whatever file a variable names.
    readable |= {Path(value): Path(value) for value in told.values() if _is_file(value)}
    return Shared(writable=writable, readable=readable, environment=told)


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    told = {
        name: value
        for name, value in environment.items()
        if name.startswith(_PREFIXES) or name in _NAMES or name.lower() in _PROXIES
    }
    for name, place in _IN_HOME.items():
        path = Path.home() / place
        if name not in told and path.is_file():
            told[name] = str(path)
    # The image has no git, and its user no name.
    told.setdefault(USER_VARIABLE, who())
    return told


def _writable(environment: Mapping[str, str]) -> Iterator[Path]:
    yield home()
    store = environment.get(STORE_VARIABLE, "")
    if store and "://" not in store:
        yield _absolute(store)
    tracking = _tracking_folder(tracking_uri())
    if tracking is not None:
        yield tracking
    for name in (FOLDER_VARIABLE, "TMPDIR"):
        # The container has its own /tmp.
        if (value := environment.get(name, "")) and Path(value) != Path("/tmp"):  # noqa: S108
            yield _absolute(value)


def _tracking_folder(uri: str) -> Path | None:
    """The folder that MLflow's database or files are in, if they are on this machine."""
    if "://" not in uri and not uri.startswith("file:"):
        return _absolute(uri)
    parts = urlsplit(uri)
    if parts.scheme == "sqlite":
        # sqlite:////an/absolute/path, sqlite:///a/relative/one
        return _absolute(uri.partition(":///")[2]).parent
    return _absolute(unquote(parts.path)) if parts.scheme == "file" else None


def _absolute(path: str) -> Path:
    return Path(path).expanduser().absolute()


def _uris(recipe: Recipe) -> Iterator[str]:
    yield from recipe.ingest.uris
    teacher, harness = recipe.finetune.teacher, recipe.evaluate.lm_eval
    named = [
        recipe.base,
        teacher.base if teacher is not None else None,
        harness.include if harness is not None else None,
    ]
    yield from (uri for uri in named if uri and not is_reference(uri))


def _places(uri: str) -> Iterator[tuple[Path, Path]]:
    """Yield the place in the container and the place here of what a source names on this machine."""
    if uri.startswith(_PACKAGE):
        yield from _in_package(uri)
    elif "://" not in uri:
        path = _fixed(_absolute(uri))
        _check_free(path, uri)
        yield path, path


def _in_package(uri: str) -> Iterator[tuple[Path, Path]]:
    """Of a package only what is named is shared: without its code it is found, and never imported by accident."""
    module, _, inside = uri.removeprefix(_PACKAGE).partition("/")
    spec = importlib.util.find_spec(module)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        here = _fixed(Path(folder) / inside)
        if here.exists():
            yield PACKAGES / module / here.relative_to(folder), here


def _fixed(path: Path) -> Path:
    """A path up to where it becomes a pattern."""
    first = next((index for index, part in enumerate(path.parts) if is_pattern(part)), None)
    # A file may really be called 'a[1].csv'.
    return path if first is None or path.exists() else Path(*path.parts[:first])


def _check_free(path: Path, uri: str) -> None:
    hidden = next((own for own in _OF_THE_IMAGE if own.is_relative_to(path)), None)
    if hidden is not None and not path.is_file():
        raise UserError(
            f"{uri}: {path} would hide the image's own {hidden} in a container; move it into a folder of its own, or "
            "use --runner subprocess"
        )


def _is_file(value: str) -> bool:
    return Path(value).is_absolute() and Path(value).is_file()
