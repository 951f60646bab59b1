"""Sources on the Hugging Face Hub: hf://datasets/owner/name[@revision]/path, and hf://owner/name of a model.

Needs the extra `hub`. HF_ENDPOINT, HF_TOKEN or a login, and HF_HUB_OFFLINE are honoured as the Hub's own client does.
Files are listed at the commit that the revision names now, and read from that commit.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from modelmill.errors import ModelmillError, UserError
from modelmill.sources.download import check_limit
from modelmill.sources.find import is_pattern, matches
from modelmill.sources.request import Broken, Result, persist
from modelmill.sources.stream import SourceFile, shown
from modelmill.sources.web import WebStream

if TYPE_CHECKING:
    from huggingface_hub import HfApi, RepoFile

_WANTED = "hf://datasets/owner/name/path, or hf://owner/name/path of a model"
# owner/name, and a revision that may itself hold a '/' only where the Hub makes such: refs/pr/1, refs/convert/parquet.
_PLACE = re.compile(
    r"(?P<datasets>datasets/)?(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>refs/[^/]+/[^/]+|[^/]+))?(/(?P<path>.*))?"
)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a URI points."""

    kind: str
    """`dataset` or `model`."""
    repo: str
    """owner/name."""
    revision: str | None
    """Branch, tag or commit; the main branch if none."""
    path: str
    """A file, folder or pattern in the repository, without '/' around it; empty for all."""

    def uri(self, path: str) -> str:
        """Return the URI of a file of this repository and revision."""
        prefix = "datasets/" if self.kind == "dataset" else ""
        revision = "" if self.revision is None else f"@{quote(self.revision, safe='/')}"
        return f"hf://{prefix}{self.repo}{revision}/{path}"


def parse(uri: str) -> Place:
    """Return where a URI points, without asking the Hub.

    Raises:
        UserError: it is not of that form.
    """
    found = _PLACE.fullmatch(uri.removeprefix("hf://"))
    if found is None or found["repo"].startswith(("datasets/", "models/", "spaces/")):
        raise UserError(f"{shown(uri)}: not a source; write {_WANTED}")
    path = (found["path"] or "").strip("/")
    if not {"", ".", ".."}.isdisjoint(path.split("/")) and path:
        raise UserError(f"{uri}: leads out of the repository; write {_WANTED}")
    revision = found["revision"]
    return Place(
        kind="dataset" if found["datasets"] else "model",
        repo=found["repo"],
        revision=None if revision is None else unquote(revision),
        path=path,
    )


def list_files(uri: str) -> list[SourceFile]:
    """Return the files that a URI names at the commit of now, each with the sha256 or git digest of its content.

    Raises:
        UserError: there is no such repository, revision or path, access is refused, or the extra is not installed.
        ModelmillError: the Hub cannot be reached.
    """
    place = parse(uri)
    api = _api()
    info = _asked(uri, lambda: api.repo_info(place.repo, repo_type=place.kind, revision=place.revision, timeout=60))
    if info.sha is None:
        raise ModelmillError(f"{uri}: the Hub tells no commit of it; run again, or name one after '@'")
    commit = info.sha
    folder, found = _found(api, uri, place, commit)
    at = Place(kind=place.kind, repo=place.repo, revision=commit, path="")
    check_limit(uri, sum(file.size for file in found))
    return [
        SourceFile(
            uri=at.uri(file.path),
            name=file.path.removeprefix(f"{folder}/" if folder else ""),
            bytes=file.size,
            # Git's own digest where the content lies in git itself; of a large file that is the pointer's.
            fingerprint=f"sha256:{file.lfs.sha256}" if file.lfs else f"git:{file.blob_id}",
        )
        for file in found
    ]


def open_file(file: SourceFile) -> WebStream:
    """Open a file that was listed."""
    _api()
    from huggingface_hub import constants, get_token, hf_hub_url

    place = parse(file.uri)
    url = hf_hub_url(place.repo, place.path, repo_type=place.kind, revision=place.revision, endpoint=_endpoint())
    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    return WebStream(file, url, f"Bearer {token}" if token else None)


def _api() -> "HfApi":
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise UserError("hf://: the package huggingface_hub is missing; pip install 'modelmill[hub]'") from error
    return HfApi(endpoint=_endpoint())


def _endpoint() -> str | None:
    # The client reads the environment once, when it is first imported.
    return os.environ.get("HF_ENDPOINT", "").rstrip("/") or None


def _found(api: "HfApi", uri: str, place: Place, commit: str) -> tuple[str, list["RepoFile"]]:
    """Return the folder that the names count from, and the files."""
    from huggingface_hub import RepoFile

    path = place.path
    if path:
        ask = partial(api.get_paths_info, place.repo, [path], repo_type=place.kind, revision=commit)
        there = next(iter(_asked(uri, ask)), None)
        if isinstance(there, RepoFile):
            return "/".join(path.split("/")[:-1]), [there]
    if not path or there is not None:
        return path, [file for file in _tree(api, uri, place, commit, path) if _is_shown(file.path, path)]
    parts = path.split("/")
    first = next((index for index, part in enumerate(parts) if is_pattern(part)), None)
    if first is None:
        raise UserError(f"{uri}: no such file or folder at commit {commit[:12]}; correct the path")
    folder = "/".join(parts[:first])
    files = _tree(api, uri, place, commit, folder)
    return folder, [file for file in files if matches(file.path.split("/")[first:], parts[first:])]


def _tree(api: "HfApi", uri: str, place: Place, commit: str, folder: str) -> list["RepoFile"]:
    from huggingface_hub import RepoFile

    # The client itself tries again, page by page.
    with _explained(uri):
        tree = api.list_repo_tree(place.repo, folder or None, recursive=True, repo_type=place.kind, revision=commit)
        return [each for each in tree if isinstance(each, RepoFile)]


def _asked(uri: str, ask: Callable[[], Result]) -> Result:
    """Return the Hub's answer, asking again when it may be a better one."""

    def once() -> Result:
        with _explained(uri, again=True):
            return ask()

    return persist(uri, once)


def _is_shown(path: str, folder: str) -> bool:
    inside = path.removeprefix(f"{folder}/" if folder else "")
    return not any(part.startswith((".", "_")) for part in inside.split("/"))


@contextmanager
def _explained(uri: str, *, again: bool = False) -> Iterator[None]:
    """Turn the errors of the Hub's client into ours, and with `again` those that may pass into Broken."""
    from huggingface_hub import errors

    # The name under which the client knows the base of its HTTP library's errors, whichever library that is.
    http_error: type[Exception] = vars(errors)["HTTPError"]
    try:
        yield
    except errors.OfflineModeIsEnabled as error:
        raise ModelmillError(f"{uri}: HF_HUB_OFFLINE is set; unset it, or name a local copy") from error
    except errors.GatedRepoError as error:
        raise UserError(f"{uri}: access refused; accept its terms on the Hub, and set HF_TOKEN") from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"{uri}: no such revision; correct what stands after '@'") from error
    except errors.RemoteEntryNotFoundError as error:
        raise UserError(f"{uri}: no such file or folder there; correct the path") from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(f"{uri}: no such repository, or a private one; correct it, or set HF_TOKEN") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in {401, 403}:
            raise UserError(f"{uri}: access refused ({status}); check HF_TOKEN") from error
        if again and (status >= 500 or status == 429):
            raise Broken(f"the Hub answers {status}") from error
        raise ModelmillError(f"{uri}: the Hub answers {status}; run again later") from error
    except (OSError, http_error) as error:
        why = f"the Hub cannot be reached ({type(error).__name__})"
        if again:
            raise Broken(why) from error
        raise ModelmillError(f"{uri}: {why}; check HF_ENDPOINT and the network") from error
