"""Sources on the web: one file at an http:// or https:// address.

What it holds is recognised by its strong ETag, else by its date and size, else by its digest, for which it is read once
more.
"""

import hashlib
import re
from contextlib import closing
from urllib.parse import parse_qsl, unquote, urlsplit

from modelmill.errors import ModelmillError, UserError
from modelmill.sources.download import Download, Told, check_limit
from modelmill.sources.request import persist, refused, send
from modelmill.sources.stream import RawStream, SourceFile, shown

# What signed links call their secrets (Amazon's, Google's, Azure's), and the plain names of others.
_SECRETS = re.compile(
    r"x-(amz|goog)-.*|sig|.*signature|.*token.*|.*(api|access|private).?key.*|key|.*secret.*|passw.*|auth.*"
)
# Some servers say of an archive that it is packed on the way.
_PACKED = {"gzip": (".gz", ".tgz"), "x-gzip": (".gz", ".tgz")}


def check(uri: str) -> None:
    """Refuse an address that could never name one file, without asking the server.

    Raises:
        UserError: no host, a folder, a pattern, or credentials in it (which are not repeated).
    """
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UserError(f"{shown(uri)}: not an address; write https://host/path/file") from error
    if "@" in parts.netloc:
        raise UserError(f"{parts.scheme}://…: credentials do not belong in the URI; put them in ~/.netrc instead")
    if any(_SECRETS.fullmatch(name.lower()) for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        raise UserError(
            f"{shown(uri)}: a signature or key does not belong in the URI, which lineage keeps; "
            "put credentials in ~/.netrc, or name the object as s3://bucket/key"
        )
    if not host or not _name(uri):
        raise UserError(f"{shown(uri)}: not a file; write https://host/path/file")
    if set("*[]") & set(parts.path):
        raise UserError(f"{shown(uri)}: the web has no folders to search by a pattern; name each file")


def list_file(uri: str) -> SourceFile:
    """Return the file at an address as its server describes it; where it tells too little, by reading it once.

    Raises:
        UserError: it is not there, refused, or beyond the limit of size.
        ModelmillError: the server cannot be reached.
    """
    # Some servers refuse HEAD, or tell no length then.
    told = persist(uri, lambda: _ask(uri, "HEAD")) or persist(uri, lambda: _ask(uri, "GET")) or Told()
    if told.size is not None:
        check_limit(uri, told.size)
    size, fingerprint = told.size, told.fingerprint
    if size is None or fingerprint is None:
        size, fingerprint = _read_once(uri)
    return SourceFile(uri=uri, name=_name(uri), bytes=size, fingerprint=fingerprint)


class WebStream(RawStream):
    """A file on the web, checked while it is read: by its ETag or date at each connection, or by its digest."""

    def __init__(self, file: SourceFile, url: str | None = None, authorization: str | None = None) -> None:
        super().__init__(file)
        self._download = Download(file.uri, url or file.uri, authorization, Told.listed(file))
        self._digest = _digest(file)

    def _fill(self, view: memoryview) -> int:
        count = self._download.fill(view)
        if self._digest is not None:
            self._digest.update(view[:count])
        return count

    def _check_end(self) -> None:
        kind, _, listed = self.file.fingerprint.partition(":")
        found = listed if self._digest is None else self._digest.hexdigest()
        if found != listed:
            raise ModelmillError(
                f"{shown(self.file.uri)}: changed while it was read ({self.taken} bytes, {self.file.bytes} when "
                f"listed; {kind}:{found[:12]}, was {kind}:{listed[:12]}); run again when nothing writes to it"
            )

    def close(self) -> None:
        """Close the connection."""
        if not self.closed:
            self._download.close()
        super().close()


def _ask(uri: str, method: str) -> Told | None:
    """Return what the server tells; nothing where HEAD does not tell the length, and GET may."""
    # One byte, for the length of all stands beside it.
    headers = {"Range": "bytes=0-0"} if method == "GET" else {}
    with closing(send(uri, method, uri, headers)) as response:
        told = Told.by(response)
        if response.status in {200, 206}:
            _check_packing(uri, response.headers.get("Content-Encoding", "identity"))
            return told if told.size or method == "GET" else None
        # An empty file has no first byte.
        if response.status == 416 and told.size == 0:
            return told
        if method == "HEAD":
            return None
        raise refused(uri, response.status)


def _check_packing(uri: str, packing: str) -> None:
    if packing == "identity" or _name(uri).lower().endswith(_PACKED.get(packing, ())):
        return
    raise UserError(
        f"{shown(uri)}: the server packs it ({packing}) though its name does not say so; download it, and name that "
        "file as it is packed"
    )


def _read_once(uri: str) -> tuple[int, str]:
    sha256 = hashlib.sha256()
    buffer = memoryview(bytearray(1 << 20))
    with closing(Download(uri, uri, None, Told())) as download:
        while count := download.fill(buffer):
            sha256.update(buffer[:count])
        return download.taken, f"sha256:{sha256.hexdigest()}"


def _digest(file: SourceFile) -> "hashlib._Hash | None":
    if file.fingerprint.startswith("sha256:"):
        return hashlib.sha256()
    if file.fingerprint.startswith("git:"):
        # https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
        return hashlib.sha1(b"blob %d\0" % file.bytes, usedforsecurity=False)
    return None


def _name(uri: str) -> str:
    """Return the last part of the path, decoded, as a name that stays in its folder wherever it is written."""
    last = unquote(urlsplit(uri).path.rpartition("/")[2])
    name = "".join("_" if letter in "/\\" or not letter.isprintable() else letter for letter in last)
    return "" if name in {".", ".."} else name
