"""The bytes of a file on the web, front to back, over as many connections as it takes.

Ranges and validators are those of RFC 9110, sections 8.8 (ETag, Last-Modified), 13.1.5 (If-Range) and 14 (ranges).
"""

import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from modelmill.errors import ModelmillError, UserError
from modelmill.sources.request import Broken, explained, persist, refused, send
from modelmill.sources.stream import SourceFile, shown

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

_LIMIT = "MODELMILL_MAX_DOWNLOAD_BYTES"
_DEFAULT_LIMIT = 50_000_000_000
_CHUNK = 1 << 18
# A server that hangs up so often will not get there, or sends a byte at a time on purpose.
_MOST_BREAKS = 100


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a server tells of a file."""

    size: int | None = None
    """In bytes."""
    etag: str | None = None
    """A strong one, in its quotes; a weak one does not promise the same bytes."""
    modified: str | None = None

    @classmethod
    def by(cls, response: "BaseHTTPResponse") -> "Told":
        """Return what an answer's headers tell of the whole file."""
        headers = response.headers
        etag = headers.get("ETag", "")
        told = headers.get("Content-Length", "")
        if response.status != 200:
            told = headers.get("Content-Range", "").rpartition("/")[2]
        return cls(
            size=int(told) if told.isascii() and told.isdigit() else None,
            etag=etag if etag.startswith('"') else None,
            modified=headers.get("Last-Modified"),
        )

    @classmethod
    def listed(cls, file: SourceFile) -> "Told":
        """Return what was told when a file was listed."""
        kind, _, value = file.fingerprint.partition(":")
        return cls(
            size=file.bytes,
            etag=value if kind == "etag" else None,
            modified=value if kind == "modified" else None,
        )

    @property
    def fingerprint(self) -> str | None:
        """By which the content is recognised, if size and validators are told."""
        if self.size is None:
            return None
        return f"etag:{self.etag}" if self.etag else f"modified:{self.modified}" if self.modified else None

    @property
    def validator(self) -> str | None:
        """For If-Range."""
        return self.etag or self.modified

    def is_of(self, later: "Told") -> bool:
        """Return whether a later answer can be of the same content."""
        if self.size is not None and later.size not in {None, self.size}:
            return False
        if self.etag:
            return self.etag == later.etag
        return self.modified is None or self.modified == later.modified


class Download:
    """A file on the web as it was told; a connection that breaks is followed by one that goes on where it was."""

    def __init__(self, uri: str, url: str, authorization: str | None, told: Told) -> None:
        self.taken = 0
        """Bytes read so far."""
        self._uri = uri
        self._url = url
        self._authorization = authorization
        self._told = told
        self._limit = download_limit()
        self._breaks = 0
        self._body: BaseHTTPResponse | None = None

    def fill(self, view: memoryview) -> int:
        """Fill a buffer with the next bytes; 0 is the end.

        Raises:
            UserError: the file is not there, refused, or beyond the limit of size.
            ModelmillError: it was changed, or the connection breaks again and again.
        """
        return persist(self._uri, lambda: self._fill(view)) if len(view) else 0

    def close(self) -> None:
        """Close the connection."""
        if self._body is not None:
            self._body.close()
            self._body = None

    def _fill(self, view: memoryview) -> int:
        from urllib3.exceptions import HTTPError

        size = self._told.size
        if self._body is None:
            if self.taken and self.taken == size:
                return 0
            self._body = self._open()
            size = self._told.size
        try:
            data = self._body.read(min(len(view), _CHUNK), decode_content=False)
        except (HTTPError, OSError) as error:
            self._break()
            raise explained(self._uri, error) from error
        # An answer without a length ends where the connection does, be it whole or not.
        if not data and size is not None and self.taken < size:
            self._break()
            raise Broken(f"the connection broke off after {self.taken} of {size} bytes")
        if size is not None and self.taken + len(data) > size:
            raise self._changed()
        self.taken += len(data)
        if self.taken > self._limit:
            raise UserError(
                f"{shown(self._uri)}: goes on after {self.taken} bytes, and {_LIMIT} allows {self._limit}; "
                "raise it, or name a smaller file"
            )
        view[: len(data)] = data
        return len(data)

    def _open(self) -> "BaseHTTPResponse":
        headers = {}
        if self.taken:
            headers["Range"] = f"bytes={self.taken}-"
            if self._told.validator:
                headers["If-Range"] = self._told.validator
        response = send(self._uri, "GET", self._url, headers, self._authorization)
        try:
            self._check(response)
        except BaseException:
            response.close()
            raise
        return response

    def _check(self, response: "BaseHTTPResponse") -> None:
        if response.status in {412, 416}:
            raise self._changed()
        if response.status not in {200, 206}:
            raise refused(self._uri, response.status)
        told = Told.by(response)
        if response.status == 206 and told.validator is None:
            # That it goes on at all says that If-Range was met.
            told = replace(told, etag=self._told.etag, modified=self._told.modified)
        if not self._told.is_of(told):
            raise self._changed()
        if self.taken and response.status == 200:
            raise ModelmillError(
                f"{shown(self._uri)}: the connection broke off after {self.taken} of {self._told.size or '?'} bytes, "
                "and the server cannot go on from there (it ignores ranges); download it by hand, and name that file"
            )
        if response.status == 206 and _start(response) != self.taken:
            raise ModelmillError(f"{shown(self._uri)}: the server sends another range than bytes {self.taken} and on")
        known = self._told
        size = told.size if known.size is None else known.size
        self._told = replace(told, size=size) if known.validator is None else replace(known, size=size)

    def _break(self) -> None:
        self.close()
        self._breaks += 1
        if self._breaks > _MOST_BREAKS:
            raise ModelmillError(
                f"{shown(self._uri)}: the connection broke off {self._breaks} times, after {self.taken} of "
                f"{self._told.size or '?'} bytes; download it by hand, and name that file"
            )

    def _changed(self) -> ModelmillError:
        return ModelmillError(
            f"{shown(self._uri)}: changed while it was read ({self.taken} of {self._told.size or '?'} bytes had come); "
            "run again"
        )


def download_limit() -> int:
    """Return how many bytes may be downloaded from a source: MODELMILL_MAX_DOWNLOAD_BYTES, or 50 GB.

    Raises:
        UserError: the variable is no number.
    """
    text = os.environ.get(_LIMIT) or str(_DEFAULT_LIMIT)
    try:
        return int(text)
    except ValueError as error:
        raise UserError(f"{_LIMIT}={text}: not a number of bytes; write {_DEFAULT_LIMIT}, say") from error


def check_limit(uri: str, size: int) -> None:
    """Refuse a source of more bytes than may be downloaded.

    Raises:
        UserError: it is more.
    """
    limit = download_limit()
    if size > limit:
        raise UserError(f"{shown(uri)}: {size} bytes, and {_LIMIT} allows {limit}; raise it, or name less")


def _start(response: "BaseHTTPResponse") -> int | None:
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None
