"""E-mail addresses, found from their "@" outwards."""

import re

# RFC 5322 atoms less the signs that rather part an address from what stands before it ("?email=", "to/", "#"), and
# RFC 5321's 64 characters at the most.
_LOCAL = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.%+-_~'"
_LOCAL_LONGEST = 64
# RFC 1035: a label has at most 63 characters, a name 253. Letters of other scripts are those of RFC 5891.
_LABEL = r"[^\W_](?:[^\W_]|-){0,62}"
_ASCII_LABEL = r"[0-9A-Za-z\u00c0-\u024f](?:[0-9A-Za-z\u00c0-\u024f\-]{0,61}[0-9A-Za-z\u00c0-\u024f])?"
# A top-level domain in letters of another script, from IANA's root zone: text without spaces may follow it.
_OTHER_TOP = (
    "中国|中國|公司|网络|網絡|香港|台湾|台灣|新加坡|澳門|政务|公益|中文网|在线|网址|我爱你|한국|みんな|рф|рус|укр|бел|срб|мкд|қаз|"
    "мон|бг|ею|ελ|ευ|հայ|გე|भारत|ভারত|இந்தியா|భారత్|ไทย|ישראל|الامارات|السعودية|مصر|ایران|المغرب|الجزائر|تونس|قطر|عمان|الاردن|"
    "سورية|فلسطين|پاکستان|بھارت"
)
_DOMAIN = re.compile(
    rf"(?:{_ASCII_LABEL}\.){{1,8}}(?P<top>xn--[0-9A-Za-z]{{1,59}}|[A-Za-z]{{2,24}})(?![0-9A-Za-z_])"
    rf"|(?:{_LABEL}\.){{1,8}}(?:{_OTHER_TOP})",
    re.IGNORECASE,
)
_NAME_LONGEST = 253
# "icon@2x.png" is a file.
_FILES = frozenset(
    ["png", "jpg", "jpeg", "gif", "svg", "webp", "ico", "bmp", "css", "js", "json", "html", "htm", "php"]
)


def email_at(text: str, at: int) -> tuple[int, int] | None:
    """Return where the address around an "@" begins and ends in a folded text, or None if there is none."""
    before = text[max(0, at - _LOCAL_LONGEST - 1) : at]
    local = before[len(before.rstrip(_LOCAL)) :]
    if not 0 < len(local) <= _LOCAL_LONGEST:
        return None
    # "wait...bob@example.org", and quotes and list marks: they are not a part of it.
    local = local.rpartition("..")[2].lstrip(".%+-~'")
    if not local or local.endswith("."):
        return None
    domain = _DOMAIN.match(text, at + 1, at + 1 + _NAME_LONGEST)
    if domain is None or (domain["top"] or "").lower() in _FILES:
        return None
    return at - len(local), domain.end()
