import time
from collections import Counter
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from components.ingest.text.numbers import Kind
from components.ingest.text.personal import PLACEHOLDERS, Personal, mask
from modelmill.text import clean

ALL = Personal()

# Published examples of each kind: those that check digits, registries or plans give as examples, and none of a person.
THERE: dict[Kind, list[str]] = {
    "email": [
        "jane@example.org",
        "a.b-c+tag@mail.example.co.uk",
        "O'Neil@example.com",
        "x_1@a-b.io",
        "user%list@example.org",
        "12345@qq.com",
        "a@b.cn",
        "info@münchen.de",
        "info@xn--mnchen-3ya.de",
        "post@例子.中国",
        "mail@пример.рф",
        "JANE@EXAMPLE.ORG",
        "first.last@sub.sub.example.museum",
        "ａｂｃ＠ｅｘａｍｐｌｅ．ｃｏｍ",
        "z~y@example.net",
        "a-@example.net",
    ],
    "phone": [
        "+1 202-555-0143",
        "+12025550143",
        "+44 20 7946 0958",
        "+49 (0)30 901820",
        "+33 6 12 34 56 78",
        "+86 138 1234 5678",
        "(202) 555-0143",
        "202-555-0143",
        "202.555.0143",
        "1-202-555-0143",
        "07700 900123",
        "07700900123",
        "020 7946 0958",
        "(0161) 496 0000",
        "01632 960001",
        "0151 23456789",
        "030/1234567",
        "06 12 34 56 78",
        "06.12.34.56.78",
        "13812345678",
        "138-1234-5678",
        "138 1234 5678",
        "１３８１２３４５６７８",
        "010-12345678",
        "0755-1234567-801",
        "0049 30 901820",
    ],
    "ip": [
        "81.2.69.142",
        "216.58.211.14",
        "1.1.1.10",
        "100.63.255.255",
        "172.32.0.1",
        "192.169.0.1",
        "11.0.0.1",
        "８１.2.69.142",
        "2a00:1450:4001:81b::200e",
        "2606:4700:4700::1111",
        "2400:cb00:2048:1::c629:d7a2",
        "2001:4860:4860:0:0:0:0:8888",
        "2A03:2880:F12F:83:FACE:B00C:0:25DE",
        "2620:fe::fe",
        "2a02:26f0::1",
        "223.5.5.50",
    ],
    "card": [
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "4012888888881881",
        "5555 5555 5555 4444",
        "5105105105105100",
        "378282246310005",
        "3782 822463 10005",
        "371449635398431",
        "6011111111111117",
        "30569309025904",
        "3852 000002 3237",
        "3530 1113 3330 0000",
        "6200000000000005",
        "2223003122003222",
        "4222222222222",
        "４１１１１１１１１１１１１１１１",
    ],
    "iban": [
        "GB82 WEST 1234 5698 7654 32",
        "GB82WEST12345698765432",
        "DE89 3704 0044 0532 0130 00",
        "DE89370400440532013000",
        "de89370400440532013000",
        "FR14 2004 1010 0505 0001 3M02 606",
        "NO93 8601 1117 947",
        "MT84MALT011000012345MTLCAST001S",
        "KZ86 125K ZT50 0410 0100",
        "NL91 ABNA 0417 1643 00",
        "BE68 5390 0754 7034",
        "SC18SSCB11010000000000001497USD",
        "BR1800360305000010009795493C1",
        "CH93 0076 2011 6238 5295 7",
        "QA58DOHB00001234567890ABCDEFG",
        "LC55HEMM000100010012001200023015",
    ],
    "national_id": [
        "123-45-6789",
        "SSN 123456789",
        "11010519491231002X",
        "11010519491231002x",
        "440306199003071232",
        "１１０１０５１９４９１２３１００２Ｘ",
        "AB123456C",
        "AB 12 34 56 C",
        "12345678Z",
        "12.345.678-Z",
        "X1234567L",
        "X-1234567-L",
        "86 095 742 719",
        "Steuer-ID: 86095742719",
        "2341 2341 2346",
        "Aadhaar 234123412346",
        "RSSMRA85T10A562S",
        "MRTMTT25D09F205Z",
        "529.982.247-25",
        "CPF 52998224725",
    ],
}

# What looks like one, and is none.
ABSENT: dict[Kind, list[str]] = {
    "email": [
        "@jane",
        "jane@",
        "jane@localhost",
        "a @ b.com",
        "icon@2x.png",
        "npm i left@1.2.3",
        "@types/node",
        "me@home",
        "a@b.c",
        "@@@@",
        "meet @ 5.pm",
        "x@-y.com",
        "j" * 70 + "@example.org",
        "@decorator.name",
        "@",
        "10 kg@5.00",
        "a.@example.org",
    ],
    "phone": [
        "2019-03-04",
        "2014-2019",
        "04.03.2019 12:30:45",
        "2019-03-04 12:30:45",
        "$1,000,000.00",
        "¥13812345678",
        "13812345678元",
        "1.13812345678",
        "ISBN 978-3-16-148410-0",
        "ISBN 0671027034",
        "0671027034",
        "order no. 13812345678",
        "订单号：13812345678",
        "1609459200",
        "1609459200000",
        "12345678901",
        "138123456789",
        "abc13812345678def",
        "3.14159265358979",
        "192.168.100.100",
        "202 555 0143",
        "2025550143",
        "1234-5678-9012",
        "112-555-0143",
        "1+100000000",
        "5 000 000 000",
        "ISSN 0317-8471",
        "doi 10.1000/13812345678",
        "138123456789012",
    ],
    "ip": [
        "1.2.3.4",
        "8.8.8.8",
        "127.0.0.1",
        "10.0.0.138",
        "192.168.100.1",
        "172.16.10.20",
        "169.254.10.20",
        "192.0.2.146",
        "224.0.1.129",
        "256.10.20.30",
        "81.2.69.142.7",
        "version 11.22.33.44",
        "v11.22.33.44",
        "Firefox/115.22.33.44",
        "11.22.33.44-beta",
        "版本11.22.33.44",
        "12:30:45",
        "2001:db8::1",
        "fe80::1",
        "::1",
        "std::vector::size",
        "2019:12:30",
        "01.02.2019",
    ],
    "card": [
        "4111111111111112",
        "4111 1111 1111 1112",
        "1234567812345670",
        "0000000000000000",
        "9999999999999995",
        "411111111111111",
        "41111111111111111",
        "a4111111111111111",
        "4111111111111111b",
        "0.4111111111111111",
        "order 4111111111111111",
        "ISBN 9783161484100",
        "1609459200000",
        "2000 2001 2002 2003 2004",
        "4006381333931",
        "378282246310006",
        "7811111111111118",
        "4111 1111 1111 1111 1111",
        "3.1415926535897932",
    ],
    "iban": [
        "GB82 WEST 1234 5698 7654 33",
        "GB82WEST1234569876543",
        "GB82WEST123456987654321",
        "XX82WEST12345698765432",
        "DE89370400440532013001",
        "xGB82WEST12345698765432",
        "GB82WEST12345698765432x",
        "DE89 3704 0044",
        "AB12CD34EF56",
        "NO93 8601 1117 948",
        "DE00 0000 0000 0000 0000 00",
        "FR1420041010050500013M02605",
        "ISO 9001 1234 5678 9012",
        "ZZ93 8601 1117 947",
        "BE68 5390 0754 7035",
    ],
    "national_id": [
        "000-45-6789",
        "666-45-6789",
        "900-45-6789",
        "123-00-6789",
        "123-45-0000",
        "078-05-1120",
        "123456789",
        "123-456-789",
        "110105194912310021",
        "990105194912310025",
        "11010519491331002X",
        "QQ123456C",
        "GB123456A",
        "AB123456E",
        "12345678A",
        "X1234567A",
        "86095742718",
        "86095742719",
        "12345678901",
        "2341 2341 2345",
        "1341 2341 2346",
        "RSSMRA85T10A562T",
        "529.982.247-26",
        "111.111.111-11",
        "52998224725",
        "2341 2341 2346 1234",
    ],
}

# Chinese writes no spaces; the others put signs around.
AROUND = [
    "{}",
    "see {}.",
    "我的是{}谢谢",
    "（{}）",
    "a: {}, b",
    "\n{}\n",
    "「{}」と",
    "это {} да",
    "“{}”",
    "值：{}，好",
]


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in THERE.items() for value in values])
def test_what_names_a_person_is_masked_whatever_stands_around_it(kind: Kind, value: str, around: str) -> None:
    masked = mask([around.format(value)], ALL)

    # A word that says what the number is stays.
    kept = {"SSN 1": "SSN ", "Steue": "Steuer-ID: ", "Aadha": "Aadhaar ", "CPF 5": "CPF "}.get(value[:5], "")
    assert masked.texts == [around.format(kept + PLACEHOLDERS[kind])]
    assert masked.counts == Counter({kind: 1})
    assert masked.hit.tolist() == [True]


@pytest.mark.parametrize("around", ["{}", "see {} there", "我的是{}谢谢"])
@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in ABSENT.items() for value in values])
def test_what_only_looks_like_it_stays(kind: Kind, value: str, around: str) -> None:
    masked = mask([around.format(value)], Personal(kinds=[kind]))

    assert masked.texts == [around.format(value)]
    assert not masked.counts
    assert not masked.hit.any()


def test_there_are_examples_of_each_kind() -> None:
    kinds = set(get_args(Kind))

    assert set(PLACEHOLDERS) == set(THERE) == set(ABSENT) == kinds
    assert all(len(values) >= 15 for values in (*THERE.values(), *ABSENT.values()))


def test_several_kinds_in_a_batch_are_counted_and_only_their_rows_are_hit() -> None:
    texts = [
        "电话13812345678邮箱a@b.cn",
        "nothing here",
        "",
        "card 4111 1111 1111 1111, then 81.2.69.142 & 06 12 34 56 78",
    ]

    masked = mask(texts, ALL)

    assert masked.texts == ["电话[PHONE]邮箱[EMAIL]", "nothing here", "", "card [CARD], then [IP] & [PHONE]"]
    assert masked.counts == Counter(phone=2, email=1, card=1, ip=1)
    assert masked.hit.tolist() == [True, False, False, True]


def test_a_list_without_spaces_is_masked_whole() -> None:
    assert mask(["13812345678/13912345678,13712345678"], ALL).texts == ["[PHONE]/[PHONE],[PHONE]"]
    assert mask(["a@b.cn;c@d.cn,e@f.cn"], ALL).texts == ["[EMAIL];[EMAIL],[EMAIL]"]


def test_bare_digits_are_a_number_after_the_word_for_it() -> None:
    assert mask(["call 2025550143 now", "Telefon 030 901820", "got 2025550143"], ALL).texts == [
        "call [PHONE] now",
        "Telefon [PHONE]",
        "got 2025550143",
    ]


def test_a_number_never_reaches_from_one_text_into_the_next() -> None:
    assert mask(["1381234", "5678", "jane", "@example.org", "4111 1111", "1111 1111"], ALL).counts == Counter()


def test_a_number_that_begins_inside_something_else_is_found() -> None:
    assert mask(["FR12 GB82 WEST 1234 5698 7654 32 1"], ALL).texts == ["FR12 [IBAN] 1"]


def test_of_two_that_overlap_nothing_is_left() -> None:
    masked = mask(["x 4111 1111 1111 1111@qq.com y"], ALL)

    assert masked.texts == ["x [CARD] y"]
    assert masked.counts.total() == 1


def test_a_number_at_the_beginning_of_a_text_is_found_after_one_at_the_end_of_another() -> None:
    assert mask(["room 1", "13812345678", "１", "１３８１２３４５６７８"], ALL).texts == [
        "room 1",
        "[PHONE]",
        "１",
        "[PHONE]",
    ]


def test_dots_before_an_address_stay() -> None:
    assert mask(["wait...bob@example.org...", "?to=bob@example.org&x=1"], ALL).texts == [
        "wait...[EMAIL]...",
        "?to=[EMAIL]&x=1",
    ]


def test_only_the_kinds_that_are_asked_for_are_found() -> None:
    text = "a@b.cn 13812345678 81.2.69.142"

    assert mask([text], Personal(kinds=["ip"])).texts == ["a@b.cn 13812345678 [IP]"]
    assert mask([text], Personal(kinds=["email"])).counts == Counter(email=1)


def test_keep_does_not_look_and_drop_masks_what_a_sample_may_show() -> None:
    text = "mail a@b.cn"

    kept = mask([text], Personal(action="keep"))
    dropped = mask([text], Personal(action="drop"))

    assert (kept.texts, kept.counts, kept.hit.tolist()) == ([text], Counter(), [False])
    assert (dropped.texts, dropped.counts, dropped.hit.tolist()) == (["mail [EMAIL]"], Counter(email=1), [True])


@pytest.mark.parametrize("kinds", [[], ["email", "email"], ["name"]])
def test_kinds_that_make_no_sense_are_refused(kinds: list[Kind]) -> None:
    with pytest.raises(ValidationError):
        Personal(kinds=kinds)


@pytest.mark.parametrize("placeholder", PLACEHOLDERS.values())
def test_a_placeholder_survives_cleaning_and_masking(placeholder: str) -> None:
    text = f"mail {placeholder}，电话{placeholder}"

    assert clean(text) == text
    assert mask([text], ALL).texts == [text]


@given(st.lists(st.text(st.characters(exclude_categories=())), max_size=5))
def test_any_text_can_be_masked_and_loses_nothing_without_a_find(texts: list[str]) -> None:
    masked = mask(texts, ALL)

    assert len(masked.texts) == len(texts) == len(masked.hit)
    assert [new == old for new, old in zip(masked.texts, texts, strict=True)] == (~masked.hit).tolist()


@given(st.lists(st.sampled_from([value for values in THERE.values() for value in values]), min_size=1, max_size=4))
def test_values_side_by_side_are_all_found(values: list[str]) -> None:
    text = " 和 ".join(values)

    assert mask([text], ALL).counts.total() == len(values)


@pytest.mark.parametrize(
    "piece",
    [
        *("@", "1", "1-", "4-", "4 ", ".", "a.", "a@", "a@a.", "1.", "+1", "(0", "0 ", "06 ", "1 ", "4111 ", "GB82 "),
        *("2:", "::", "2001:", "13812345678 ", "a@b.cn ", "１", "AB 12 34 56 ", "DE89 3704 0044 0532 0130 00"),
    ],
)
def test_no_text_takes_more_than_linear_time(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    began = time.perf_counter()

    mask([text], ALL)

    # 5 s here for the slowest, most well below one; a quadratic pattern would take hours.
    assert time.perf_counter() - began < 60
