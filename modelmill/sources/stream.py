"""A file of a source, and its bytes as a stream that knows how far it is."""

import io
from dataclasses import dataclass
from typing import Any

from modelmill.errors import without_credentials


def shown(uri: str) -> str:
    """Return a URI as a message may show it: without user, password, or the query of an http address."""
    if uri.startswith(("http://", "https://")):
        # A query may hold a signature or a key under any name.
        uri, query, _ = uri.partition("#")[0].partition("?")
        uri += "?…" if query else ""
    return without_credentials(uri)


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One file of a source, as it was when it was listed."""

    uri: str
    """Names this file alone."""
    name: str
    """Path inside the source, with '/'; a single file's own name."""
    bytes: int
    fingerprint: str
    """`sha256:…` or, as git has it, `git:…` of the content; or what its server says of it, `etag:…` or `modified:…`."""


class RawStream(io.RawIOBase):
    """The bytes of a source's file, front to back; the end is reached only if they are those that were listed."""

    def __init__(self, file: SourceFile) -> None:
        self.file = file
        self.taken = 0
        """Bytes read so far."""

    def readable(self) -> bool:
        """Return True: reading is all it can do."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; 0 is the end.

        Raises:
            ModelmillError: the file was changed since it was listed, or cannot be read any further.
        """
        view = memoryview(buffer).cast("B")
        count = self._fill(view)
        self.taken += count
        if count == 0 and len(view):
            self._check_end()
        return count

    def finish(self) -> None:
        """Read what is left and check it: a reader that stopped early has not seen the end."""
        scrap = bytearray(1 << 20)
        while self.readinto(scrap):
            pass

    def _fill(self, view: memoryview) -> int:
        raise NotImplementedError

    def _check_end(self) -> None:
        raise NotImplementedError
