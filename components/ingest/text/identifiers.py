"""Check digits and letters of the numbers that name a person, an account or a card.

Every function takes ASCII characters without separators and says whether the number is a possible one.
"""

import re

# ISO 13616: a country's IBAN has one length, as the SWIFT IBAN registry lists it, in characters.
_REGISTRY = (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 "
    "EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 "
    "IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 "
    "NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 "
    "SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30 "
)
IBAN_LENGTHS = {entry[:2]: int(entry[2:]) for entry in _REGISTRY.split()}

# GB 2260: the first two digits of a Chinese resident's number are a province.
_PROVINCES = frozenset(
    re.findall(
        "[0-9]{2}",
        "11 12 13 14 15 21 22 23 31 32 33 34 35 36 37 41 42 43 44 45 46 50 51 52 53 54 61 62 63 64 65 71 81 82 83 91",
    )
)
_RESIDENT_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
_LUHN_DOUBLES = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)

# Verhoeff's tables: the multiplication of the dihedral group D5, and the permutation of each place (modulo 8).
_D5 = (
    *("0123456789", "1234067895", "2340178956", "3401289567", "4012395678"),
    *("5987604321", "6598710432", "7659821043", "8765932104", "9876543210"),
)
_PLACES = (
    *("0123456789", "1576283094", "5803796142", "8916043527"),
    *("9453126870", "4286573901", "2793806415", "7046913258"),
)

# Italian decree of 23 December 1976: what a character at an odd place is worth; even places count 0 to 9 and 0 to 25.
_FISCAL_FIRST = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21)
_FISCAL_ODD = dict(zip("0123456789", _FISCAL_FIRST, strict=True)) | dict(
    zip(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (*_FISCAL_FIRST, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23),
        strict=True,
    )
)
_FISCAL_EVEN = {character: int(character, 36) % 36 - (10 if character.isalpha() else 0) for character in _FISCAL_ODD}


def card(digits: str) -> bool:
    """Return whether 13 to 19 digits are a payment card's: an issuer's prefix and the Luhn digit (ISO/IEC 7812-1)."""
    return _issued(digits) and luhn(digits) and not (len(digits) == 13 and _article(digits))


def luhn(digits: str) -> bool:
    """Return whether the last digit is right by Luhn's rule (ISO/IEC 7812-1, annex B)."""
    values = [ord(digit) - 48 for digit in digits]
    return (sum(values[-1::-2]) + sum(_LUHN_DOUBLES[value] for value in values[-2::-2])) % 10 == 0


def _issued(digits: str) -> bool:
    """Return whether an issuer gives out cards of this length and prefix (the card schemes' published ranges)."""
    length, two, four = len(digits), int(digits[:2]), int(digits[:4])
    match digits[0]:
        case "2":  # Mir, Mastercard
            return length == 16 and (2200 <= four <= 2204 or 2221 <= four <= 2720)
        case "3":  # American Express, Diners Club, JCB
            return (
                (two in (34, 37) and length == 15)
                or (3528 <= four <= 3589 and length >= 16)
                or (two in (30, 36, 38, 39) and length >= 14)
            )
        case "4":  # Visa
            return length in (13, 16, 19)
        case "5":  # Mastercard, Maestro
            return (51 <= two <= 55 and length == 16) or four in (5018, 5020, 5038, 5893)
        case "6":  # UnionPay, Discover, Maestro
            issued = two in (62, 65) or four == 6011 or 6440 <= four <= 6499
            return (issued and length >= 16) or four in (6304, 6759, 6761, 6762, 6763)
    return False


def _article(digits: str) -> bool:
    """Return whether 13 digits are an article's number (EAN-13), which shares its length with old Visa cards."""
    values = [int(digit) for digit in digits]
    return (sum(values[::2]) + 3 * sum(values[1::2])) % 10 == 0


def iban(code: str) -> bool:
    """Return whether the check digits of an upper-case IBAN are right: modulo 97-10 of ISO/IEC 7064, by ISO 13616."""
    if IBAN_LENGTHS.get(code[:2]) != len(code):
        return False
    return int("".join(str(int(character, 36)) for character in code[4:] + code[:4])) % 97 == 1


def isbn10(digits: str) -> bool:
    """Return whether ten digits are a book's (ISO 2108:1992)."""
    return sum((10 - place) * int(digit) for place, digit in enumerate(digits)) % 11 == 0


def us_social_security(digits: str) -> bool:
    """Return whether nine digits may be a US Social Security number, by the areas that are never given out (SSA)."""
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    never = area in ("000", "666") or area[0] == "9" or group == "00" or serial == "0000"
    # Printed in advertisements, and void since.
    return not never and digits not in ("078051120", "219099999")


def chinese_resident(code: str) -> bool:
    """Return whether 18 characters are a Chinese resident's number: province and check character (GB 11643-1999)."""
    if code[:2] not in _PROVINCES:
        return False
    total = sum(weight * int(digit) for weight, digit in zip(_RESIDENT_WEIGHTS, code, strict=False))
    return "10X98765432"[total % 11] == code[17]


def uk_insurance(code: str) -> bool:
    """Return whether the prefix of a UK National Insurance number is one that is given out (HMRC, NIM39110)."""
    return code[:2] not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")


def spanish(code: str) -> bool:
    """Return whether the letter of a Spanish DNI or NIE is right: the number modulo 23 (Real Decreto 1553/2005)."""
    number = str("XYZ".index(code[0])) + code[1:-1] if code[0] in "XYZ" else code[:-1]
    return _DNI_LETTERS[int(number) % 23] == code[-1]


def german_tax(digits: str) -> bool:
    """Return whether eleven digits are a German tax number: one digit repeated, and ISO/IEC 7064 modulo 11, 10.

    Source: Bundeszentralamt für Steuern; of the first ten digits exactly one stands twice or three times.
    """
    counts = sorted(digits[:10].count(digit) for digit in set(digits[:10]))
    if counts[-1] not in (2, 3) or counts[-2] != 1:
        return False
    product = 10
    for digit in digits[:10]:
        product = (((int(digit) + product) % 10 or 10) * 2) % 11
    return (11 - product) % 10 == int(digits[10])


def indian(digits: str) -> bool:
    """Return whether the last of twelve digits of an Aadhaar is right by Verhoeff's rule (UIDAI)."""
    check = 0
    for place, digit in enumerate(reversed(digits)):
        check = int(_D5[check][int(_PLACES[place % 8][int(digit)])])
    return check == 0


def italian(code: str) -> bool:
    """Return whether the last letter of an Italian codice fiscale is right (decree of 23 December 1976)."""
    odd = sum(_FISCAL_ODD[character] for character in code[0:15:2])
    even = sum(_FISCAL_EVEN[character] for character in code[1:15:2])
    return chr(65 + (odd + even) % 26) == code[15]


def brazilian(digits: str) -> bool:
    """Return whether both check digits of an eleven-digit CPF are right (Receita Federal)."""
    if digits == digits[0] * 11:
        return False
    for length in (9, 10):
        total = sum((length + 1 - place) * int(digit) for place, digit in enumerate(digits[:length]))
        if total * 10 % 11 % 10 != int(digits[length]):
            return False
    return True
