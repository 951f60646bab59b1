"""What kind of picture a file holds, told by its first bytes and never by its name."""

import re

from modelmill.pictures.faults import Fault

# Only what can be read safely and in full; each with the parser of Pillow that is asked, and no other one.
_MAGIC = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "PNG"),
    (re.compile(rb"\xff\xd8\xff"), "JPEG"),
    (re.compile(rb"GIF8[79]a"), "GIF"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "WEBP"),
    # A bitmap says the size of its second header too: 12 to 124 bytes.
    (re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL), "BMP"),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), "TIFF"),
    (re.compile(rb"P[1-6]\s+[\d#]"), "PPM"),
)
_UNSUPPORTED = (
    (re.compile(rb"....ftyp(avif|avis|heic|heix|mif1)", re.DOTALL), "AVIF or HEIF"),
    (re.compile(rb"\0\0\0\x0c(jP  |JXL )|\xff\x0a|\xff\x4f\xff\x51"), "JPEG 2000 or JPEG XL"),
    (re.compile(rb"8BPS"), "Photoshop"),
    (re.compile(rb"\0\0[\1\2]\0[^\0]\0"), "an icon"),
    (re.compile(rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!DOCTYPE svg[^>]*>\s*)?<svg", re.DOTALL), "SVG"),
)
_HEAD = 1024

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM")
KEPT = frozenset({"PNG", "JPEG", "WEBP"})
"""Formats that stay as they are; what has to be changed, and all others, become PNG."""


def format_of(data: bytes) -> str | Fault:
    """Return the format of a picture's bytes, one of FORMATS."""
    for magic, name in _MAGIC:
        if magic.match(data):
            return name
    head = data[:_HEAD]
    for magic, name in _UNSUPPORTED:
        if magic.match(head):
            return Fault("unsupported_image", f"{name}; {', '.join(FORMATS)} can be read")
    return Fault("not_an_image", f"{len(data)} bytes, beginning with {bytes(data[:8])!r}" if data else "0 bytes")


def webp_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height as a WebP file's first chunk says, if it does (RFC 9649, sections 2.5 to 2.7).

    Its decoder reserves memory for them before it can be asked.
    """
    kind = data[12:16]
    if len(data) < 30:
        return None
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        packed = int.from_bytes(data[21:25], "little")
        return 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    return None
