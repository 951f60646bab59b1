import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.ingest.text.encoding import detect
from modelmill.errors import UserError
from tests.components.ingest.text.multilingual import SENTENCES

TRADITIONAL = "這家飯店的位置很好，離捷運站不遠，服務人員態度也不錯，就是房間有點小，隔音不太好。"
WRITTEN = [
    *[(SENTENCES["zh"], "gb18030"), (SENTENCES["zh"], "gbk"), (TRADITIONAL, "big5"), (SENTENCES["ja"], "shift_jis")],
    *[
        (SENTENCES["ja"], "euc-jp"),
        (SENTENCES["ko"], "euc-kr"),
        (SENTENCES["ru"], "cp1251"),
        (SENTENCES["ru"], "koi8-r"),
    ],
    *[(SENTENCES["ru"], "iso-8859-5"), (SENTENCES["de"], "cp1252"), (SENTENCES["fr"], "cp1252")],
    *[(SENTENCES["es"], "cp1252"), (SENTENCES["es"], "iso-8859-1"), (SENTENCES["pt"], "cp1252")],
    *[(SENTENCES["sv"], "cp1252"), (SENTENCES["fi"], "iso-8859-15"), (SENTENCES["pl"], "cp1250")],
    *[(SENTENCES["pl"], "iso-8859-2"), (SENTENCES["cs"], "cp1250"), (SENTENCES["cs"], "iso-8859-2")],
    *[
        (SENTENCES["hu"], "cp1250"),
        (SENTENCES["tr"], "cp1254"),
        (SENTENCES["el"], "cp1253"),
        (SENTENCES["ar"], "cp1256"),
    ],
    *[(SENTENCES["el"], "iso-8859-7"), ("It’s “great” – the film…", "cp1252"), ("Ein schöner Größenwahn", "cp1252")],
]


@pytest.mark.parametrize(("text", "encoding"), WRITTEN)
def test_a_text_reads_as_it_was_written(text: str, encoding: str) -> None:
    raw = f"{text}\n".encode(encoding) * 3

    found = detect(raw)

    assert raw.decode(found.name) == f"{text}\n" * 3
    assert found.how == "statistics"
    assert 0 < found.sure < 1
    assert detect(raw) == found


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("code", ["en", "zh", "ru"])
def test_a_byte_order_mark_is_certain_and_not_in_the_text(code: str, encoding: str) -> None:
    raw = SENTENCES[code].encode(encoding)

    found = detect(raw)

    assert (found.how, found.sure) == ("mark", 1.0)
    assert raw.decode(found.name) == SENTENCES[code]


@pytest.mark.parametrize("mark", [codecs.BOM_UTF16_BE, codecs.BOM_UTF16_LE])
def test_a_mark_alone_is_enough(mark: bytes) -> None:
    assert detect(mark).name == "utf-16"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("text", [SENTENCES["en"], SENTENCES["en"] + "你好", "a,b\n1,2\n", SENTENCES["de"]])
def test_zeros_tell_utf16_and_utf32_without_a_mark(text: str, encoding: str) -> None:
    raw = text.encode(encoding)

    for cut in range(4):
        assert detect(raw[: len(raw) - cut]).name == encoding


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_chinese_in_utf16_is_told_by_its_line_ends_and_less_sure(encoding: str) -> None:
    found = detect(f"{SENTENCES['zh']}\n{TRADITIONAL}\n".encode(encoding))

    assert (found.name, found.sure) == (encoding, 0.5)


@given(st.text(min_size=1), st.integers(0, 3))
def test_valid_utf8_is_utf8_also_when_it_is_cut_within_a_character(text: str, cut: int) -> None:
    raw = ("é" + text.replace("\0", "").replace("\ufeff", "") + "é中🙂").encode()

    found = detect(raw[: len(raw) - cut])

    assert (found.name, found.how, found.sure) == ("utf-8", "valid", 1.0)


def test_ascii_and_nothing_are_utf8_and_less_sure() -> None:
    assert detect(b"plain, and nothing else\n").name == detect(b"").name == "utf-8"
    assert detect(b"plain").sure < 1


@pytest.mark.parametrize(
    "raw", [bytes(1000), bytes(1), b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0", b"text\0text\0more text, and so on"]
)
def test_what_holds_zeros_elsewhere_is_no_text(raw: bytes) -> None:
    with pytest.raises(UserError, match=rf"{raw.count(0)} of its first {len(raw)} bytes are zero"):
        detect(raw)


@given(st.binary(max_size=300))
def test_any_bytes_have_an_encoding_that_python_knows_or_an_error(raw: bytes) -> None:
    try:
        found = detect(raw)
    except UserError:
        assert b"\0" in raw
    else:
        codecs.lookup(found.name)
        assert detect(raw) == found
