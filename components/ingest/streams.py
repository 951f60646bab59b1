"""From the bytes of a file to UTF-8: unpacked, and decoded from whatever encoding it has."""

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from typing import Any, cast

import zstandard

from components.ingest.formats import COMPRESSIONS
from components.ingest.rows import Opened
from components.ingest.text.encoding import detect
from modelmill.errors import UserError

_BUFFER = 1 << 20
# What of a file the encoding is told by.
_HEAD = 1 << 18
_SOME_LINES = 3
# Of packed bytes at a time: a trap's 4 kB come to some 100 MB.
_ZSTD_STEP = 1 << 12
# What `zstd --long=27` needs, the most that the command itself takes without being told.
_ZSTD_WINDOW = 1 << 27
# UTF-32's little-endian mark begins with that of UTF-16, so it is tried first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_BROKEN = (EOFError, OSError, zlib.error, lzma.LZMAError, zstandard.ZstdError)
# What is packed more tightly than this was made to fill a disk: gzip itself comes to 1,032 at most.
_MAX_RATIO = 1000
_BOMB_BYTES = 1 << 24
# An encoded half of a surrogate pair: never valid in UTF-8, so that its row is rejected as invalid_encoding.
_UNDECODABLE = "\udcff"


def utf8(opened: Opened) -> io.BufferedReader:
    """Return a file as a stream of UTF-8 without a byte order mark; what cannot be decoded is invalid UTF-8 in it.

    Reading raises UserError where the file is truncated or broken, ModelmillError where it was changed.
    """
    plain = unpacked(opened)
    head = plain.peek(_HEAD)[:_HEAD]
    mark, encoding = next((each for each in _MARKS if head.startswith(each[0])), (b"", opened.source.encoding))
    plain.read(len(mark))
    if encoding == "auto":
        encoding = _detected(opened, head)
    stream = plain
    if codecs.lookup(encoding).name != "utf-8":
        stream = io.BufferedReader(_Recoded(plain, encoding, opened.file.uri), _BUFFER)
    head = stream.peek(_HEAD)[:_HEAD]
    if b"\r" in head and b"\n" not in head:
        stream = io.BufferedReader(_Newlines(stream), _BUFFER)
    return stream


def _detected(opened: Opened, head: bytes) -> str:
    try:
        found = detect(head)
    except UserError as error:
        raise UserError(f"{opened.file.uri}: {error}") from None
    if found.how in ("mark", "valid", "zeros"):
        return found.name
    telling = [line for line in head.split(b"\n")[:-1] or [head] if not line.isascii()]
    against = sum(not _is_utf8(line) for line in telling)
    # Where more lines speak for UTF-8 than against it, these are bad rows; and one or two prove nothing.
    return "utf-8" if against < _SOME_LINES or 2 * against <= len(telling) else found.name


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def unpacked(opened: Opened) -> io.BufferedReader:
    """Return the bytes of a file, unpacked as its name says (.gz, .bz2, .xz, .zst)."""
    packed: io.BufferedReader = _Lent(opened.raw, _BUFFER)
    compression = next(
        (kind for ending, kind in COMPRESSIONS.items() if opened.file.name.lower().endswith(ending)), None
    )
    if compression is None:
        return packed
    openers: dict[str, Callable[[Any], Any]] = {
        "gzip": _gzip,
        "bzip2": bz2.BZ2File,
        "xz": lzma.LZMAFile,
        "zstd": _Zstandard,
    }
    return io.BufferedReader(_Unpacked(openers[compression](packed), compression, opened), _BUFFER)


class _Zstandard(io.RawIOBase):
    """The content of all frames of a .zst file; the library's own reader takes a cut one for whole."""

    def __init__(self, packed: io.BufferedReader) -> None:
        self._packed = packed
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._ready = memoryview(b"")
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            data = self._rest or self._packed.read1(_ZSTD_STEP)
            self._rest = b""
            if not data:
                if self._frame is not None:
                    raise EOFError
                return 0
            if self._frame is None:
                self._frame = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
            self._ready = memoryview(self._frame.decompress(data))
            if self._frame.eof:
                self._rest, self._frame = self._frame.unused_data, None
        view = memoryview(buffer).cast("B")
        count = min(len(view), len(self._ready))
        view[:count], self._ready = self._ready[:count], self._ready[count:]
        return count


def _gzip(packed: io.BufferedReader) -> gzip.GzipFile:
    return gzip.GzipFile(fileobj=packed)


class _Lent(io.BufferedReader):
    """Leaves the stream under it open, whose end is still to be checked; a plain one closes it when it is forgotten."""

    def close(self) -> None:
        pass


class _Unpacked(io.RawIOBase):
    """A packed file's content; what is wrong with the packing becomes an error that names the file."""

    def __init__(self, inner: io.BufferedReader, compression: str, opened: Opened) -> None:
        self._inner = inner
        self._compression = compression
        self._opened = opened
        self._given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            count = self._inner.readinto(buffer)
        except _BROKEN as error:
            raise self._error(error) from error
        self._given += count
        if self._given > _BOMB_BYTES and self._given > _MAX_RATIO * max(self._opened.raw.taken, 1):
            raise self._error(OSError(f"unpacks to over {_MAX_RATIO} times its size, as only a trap does"))
        return count

    def _error(self, error: Exception) -> UserError:
        file = self._opened.file
        place = f"{self._given} bytes unpacked, {self._opened.raw.taken} of {file.bytes} bytes read"
        if isinstance(error, EOFError):
            return UserError(f"{file.uri}: truncated {self._compression}: stops before its end ({place}); replace it")
        advice = "replace it, or correct its name if it is not packed"
        return UserError(f"{file.uri}: broken {self._compression}: {error} ({place}); {advice}")


class _Recoded(io.RawIOBase):
    """Text of another encoding as UTF-8."""

    def __init__(self, inner: io.BufferedReader, encoding: str, uri: str) -> None:
        self._inner = inner
        self._encoding = encoding
        self._uri = uri
        codecs.register_error("modelmill.undecodable", _mark_undecodable)
        self._decoder = codecs.getincrementaldecoder(encoding)("modelmill.undecodable")
        self._ready = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        while not self._ready and not self._ended:
            data = self._inner.read1(_BUFFER)
            self._ended = not data
            try:
                self._ready = self._decoder.decode(data, final=self._ended).encode(errors="surrogatepass")
            except UnicodeError as error:
                # Not what single bytes raise, but a UTF-16 whose mark is missing, or a codec for the names of hosts.
                said = f"{self._uri}: cannot be read as {self._encoding}: {error}; correct encoding"
                raise UserError(said) from error
        count = min(len(view), len(self._ready))
        view[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count


class _Newlines(io.RawIOBase):
    """Text whose lines end in carriage returns alone, as spreadsheets on a Mac still write them, with line feeds."""

    def __init__(self, inner: io.BufferedReader) -> None:
        self._inner = inner

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self._inner.read1(len(view))
        view[: len(data)] = data.replace(b"\r", b"\n")
        return len(data)


def _mark_undecodable(error: UnicodeError) -> tuple[str, int]:
    return _UNDECODABLE, cast(UnicodeDecodeError, error).end
