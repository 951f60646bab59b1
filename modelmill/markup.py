"""HTML to text, in time linear in its length, whatever it holds."""

import re
from html import unescape
from html.entities import html5

# Elements of HTML, old ones too, by what stands in their place afterwards: "a <b> c" is markup, "x <y> z" is not.
_BREAKS = (
    "address|article|aside|blockquote|body|br|caption|center|dd|details|dialog|dir|div|dl|dt|fieldset|figcaption|figure|"
    "footer|form|h[1-6]|head|header|hgroup|hr|html|legend|li|main|menu|nav|ol|optgroup|option|p|pre|section|select|"
    "summary|table|tbody|textarea|tfoot|thead|title|tr|ul"
)
_SPACES = "audio|button|canvas|embed|iframe|img|input|label|object|picture|svg|td|th|video"
_NOTHINGS = (
    "a|abbr|acronym|area|b|base|bdi|bdo|big|cite|code|col|colgroup|data|datalist|del|dfn|em|font|i|ins|kbd|link|map|mark|"
    "meta|meter|noscript|output|param|progress|q|rp|rt|ruby|s|samp|script|slot|small|source|span|strike|strong|style|sub|"
    "sup|template|time|track|tt|u|var|wbr"
)
_VALUED = r"""\s+[\w:.@-]+\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'<>=`]+)"""
# Attributes without a value are few; any word would turn "if a <b and c> d" into a tag.
_FLAG = (
    r"\s+(?:allowfullscreen|async|autofocus|checked|controls|defer|disabled|hidden|loop|multiple|muted|noshade|nowrap|"
    r"open|readonly|required|selected)"
)
_TAG = re.compile(
    rf"</?(?:(?P<breaks>{_BREAKS})|(?P<spaces>{_SPACES})|{_NOTHINGS})(?:{_VALUED}|{_FLAG})*\s*/?>|<!doctype\s[^<>]*>",
    re.IGNORECASE,
)
_INSTEAD = {"breaks": "\n", "spaces": " ", None: ""}
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z][a-zA-Z0-9]{1,31});")
# What is neither shown nor read, with all that lies between.
_HIDDEN = (
    (re.compile("<!--"), re.compile("-->")),
    (re.compile(r"<script(?:\s[^<>]*)?>", re.IGNORECASE), re.compile(r"</script\s*>", re.IGNORECASE)),
    (re.compile(r"<style(?:\s[^<>]*)?>", re.IGNORECASE), re.compile(r"</style\s*>", re.IGNORECASE)),
)


def html_to_text(text: str) -> str:
    """Return a text without tags, comments, scripts and styles, its entities resolved once.

    A tag is one only by an element's name and well-formed attributes, an entity only by a known name and its ';': what
    merely looks like one ("a < b", "AT&T", "?a=1&copy=2") stays.
    """
    if "<" in text:
        for opening, closing in _HIDDEN:
            text = _without(text, opening, closing)
        text = _TAG.sub(_instead, text)
    return _ENTITY.sub(_character, text) if "&" in text else text


def _without(text: str, opening: re.Pattern[str], closing: re.Pattern[str]) -> str:
    kept = []
    position = 0
    while start := opening.search(text, position):
        end = closing.search(text, start.end())
        if end is None:
            # Nor does any later one end: to stop here is what keeps the time linear.
            break
        kept.append(text[position : start.start()])
        position = end.end()
    return " ".join([*kept, text[position:]]) if kept else text


def _instead(tag: re.Match[str]) -> str:
    return _INSTEAD[tag.lastgroup]


def _character(entity: re.Match[str]) -> str:
    found = entity[0]
    # unescape also takes prefixes of unknown names ("&notit;"); only whole names are resolved.
    return unescape(found) if found[1] == "#" or found[1:] in html5 else found
