"""The main text of a web page: its article, without menus, notices and footers."""

import logging
import re
from functools import cache
from typing import TYPE_CHECKING

from modelmill.markup import html_to_text

if TYPE_CHECKING:
    from trafilatura.settings import Extractor

# A longer page is a dump of data: its text is taken as it stands. In characters.
_LONGEST = 2_000_000
# libxml2 stops at 256 elements inside each other, and what comes below and after would be lost without a word.
_DEEPEST = 200
# A page of so many takes about a second, and no article has them: a list or a table of data does.
_ELEMENTS = 50_000

_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
# Without an end tag: void elements, and those that end where the next one or their parent does (HTML Standard, 13.1.2).
_VOID = ["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"]
_TABLE = ["tr", "td", "th", "thead", "tbody", "tfoot", "colgroup"]
_OPEN_ENDED = frozenset([*_VOID, *_TABLE, "p", "li", "dt", "dd", "option", "optgroup", "rp", "rt"])


def main_text(html: str) -> str | None:
    """Return the main text of a whole page, or None if there is no text in it.

    trafilatura (A. Barbaresi, ACL 2021, doi:10.18653/v1/2021.acl-demo.15) looks for it, set to leave out rather than
    take in; comments of readers are left out, tables stay. Where it finds nothing, and on pages that are too long or
    too deeply nested for it, the text is all that lies between the tags. Nothing is fetched.
    """
    found = _extracted(html) if _is_sane(html) else None
    return (found or html_to_text(html)).strip() or None


def _is_sane(html: str) -> bool:
    """Return whether a page is short and flat enough to be taken apart."""
    if len(html) > _LONGEST:
        return False
    depth = elements = 0
    for closing, name in _TAG.findall(html):
        elements += 1
        if name.lower() not in _OPEN_ENDED:
            depth = max(0, depth - 1) if closing else depth + 1
            if depth > _DEEPEST:
                return False
    return 0 < elements <= _ELEMENTS


def _extracted(html: str) -> str | None:
    from trafilatura import extract

    try:
        return extract(html, options=_options())
    except (ValueError, TypeError, AttributeError, RecursionError):
        # What a malformed tree leads to deep inside it; the page still has its text.
        return None


@cache
def _options() -> "Extractor":
    from trafilatura.settings import Extractor

    # It says of each page what it did not find; what was found is for our report to say.
    for name in ("trafilatura", "htmldate", "courlan", "justext"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    return Extractor(output_format="txt", precision=True, comments=False, tables=True, fast=True)
