"""Personal data in texts: e-mail addresses, public IP addresses, IBANs, credit cards and phone numbers.

Patterns find candidates and checks decide: the suffix of an e-mail's domain is a public one; an IP address is global
and no version or section number; an IBAN has its country's length and a valid checksum; a card has a valid Luhn sum
and a prefix of a card scheme. What is found is replaced by a placeholder that is no candidate itself, with the same
kind of character at its ends, so that replacing twice changes nothing. ``suspects`` says in one walk over a batch
which texts can have any.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping

import numba
import numpy as np
from publicsuffixlist import PublicSuffixList

KINDS = ("email", "ip", "iban", "card", "phone")
PLACEHOLDERS = {
    "email": "email@example.com",
    "ip": "203.0.113.7",  # reserved for documentation
    "iban": "XX00000000000000",
    "card": "0000 0000 0000 0000",
    "phone": "+00 000 0000000",
}

EMAIL, IPV4, IPV6, IBAN, CARD, PHONE = 1, 2, 4, 8, 16, 32
"""What ``suspects`` finds signs of."""

_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_EMAIL = re.compile(
    rf"(?<![\w@])\w[\w.+%'-]{{0,63}}@(?:{_LABEL}\.){{1,8}}(?:xn--[a-z0-9-]{{2,59}}|[^\W\d_]{{2,24}})(?![\w@])"
)
_IPV4 = re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?!\w|\.[0-9])")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:]|\.[0-9])")
_CARD = re.compile(r"(?<![\w.,+])(?<!\d[ -])[0-9](?:[ -]?[0-9]){12,18}(?!\w|[ .,-]?[0-9])")
_PHONE = re.compile(
    r"(?<![\w.,+])(?:\+[0-9]{1,3}|\(?0[0-9]{1,4}\)?|\([0-9]{3}\))(?:[ ./-]{0,2}\(?[0-9]{1,5}\)?){1,6}(?!\w|[.,-]?[0-9])"
)

_VERSION = re.compile(
    r"""(?:(?:versi[oóõ]n\w{0,2}|версия|\b(?:v|ver|rel|release|build|firmware|rev|revision|oid|rfc|sdk))[ \t:=\#("'>.]*|
    \b(?:section|sec|sect|chapter|figure|fig|table|article|art|clause|paragraph|para|patch|driver|update|kernel|ios|android|
    chrome|firefox|kapitel|abschnitt|item|step|appendix|package|library|module|plugin)\.?[ \t]+|
    §[ \t]*|[A-Za-z][_-]v?|(?<![\w./:-])[A-Za-z]\w*/|(?:[<>=~!]=|[~^])[ \t]*"?)\Z""",
    re.IGNORECASE | re.VERBOSE,
)
"""What stands before a version or a section number, not before an address."""
_FILE = re.compile(r"[-_][a-z]|\.(?:tar|tgz|zip|exe|msi|dll|deb|rpm|jar|whl|so)\b", re.IGNORECASE)
_HEADING = re.compile(r"[ \t]+[^\W\d_]")
_USERINFO = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/@]*\Z", re.IGNORECASE)
_SSH = re.compile(r":[\w~./-]")

_LENGTHS = {
    15: "NO", 16: "BE", 18: "DK FI FK FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK", 21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
    29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
}  # fmt: skip
"""Length and countries of IBANs (SWIFT's IBAN registry)."""
_IBAN = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    + "|".join(
        rf"(?:{'|'.join(countries.split())})[0-9]{{2}}(?:[ \u00a0-]?[A-Z0-9]){{{length - 4}}}"
        for length, countries in _LENGTHS.items()
    )
    + r")(?![A-Za-z0-9])"
)


@functools.cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList(accept_unknown=False, only_icann=True)


def _email(found: re.Match[str]) -> str:
    text, start = found.string, found.start()
    local, _, domain = found[0].partition("@")
    if local[-1] in ".'%-" or ".." in local or _USERINFO.search(text, max(0, start - 80), start):
        return ""
    if local == "git" and _SSH.match(text, found.end()):
        return ""
    # Behind the address a sentence may begin without a blank: what is no suffix isn't of it.
    while domain.count(".") > 1 and _suffixes().publicsuffix(domain.lower()) is None:
        domain = domain.rpartition(".")[0]
    return f"{local}@{domain}" if _suffixes().publicsuffix(domain.lower()) else ""


def _ipv4(found: re.Match[str]) -> str:
    text, start, end = found.string, found.start(), found.end()
    parts = found[0].split(".")
    if any((len(part) > 1 and part[0] == "0") or int(part) > 255 for part in parts):
        return ""
    if not _is_public(ipaddress.IPv4Address(found[0])):
        return ""
    before = text[max(0, start - 24) : start]
    if _VERSION.search(before) or _FILE.match(text, end):
        return ""
    at_start = not before or before[-1] == "\n"
    is_heading = at_start and all(int(part) <= 40 for part in parts) and _HEADING.match(text, end)
    return "" if is_heading else found[0]


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.is_global and not address.is_multicast


def _ipv6(found: re.Match[str]) -> str:
    written = found[0][:-1] if found[0][-1] == ":" and found[0][-2] != ":" else found[0]
    try:
        address = ipaddress.IPv6Address(written)
    except ValueError:
        return ""
    given_out = _is_public(address) and address.packed[0] >> 5 == 1  # 2000::/3
    return written if given_out else ""


def _iban(found: re.Match[str]) -> str:
    letters = re.sub(r"[^A-Z0-9]", "", found[0])
    number = int("".join(str(int(letter, 36)) for letter in letters[4:] + letters[:4]))
    return found[0] if number % 97 == 1 else ""


def _card(found: re.Match[str]) -> str:
    digits = re.sub(r"[^0-9]", "", found[0])
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    if sum(value - 9 if value > 9 else value for value in doubled) % 10:
        return ""
    two, three, four, size = int(digits[:2]), int(digits[:3]), int(digits[:4]), len(digits)
    issued = (
        (digits[0] == "4" and size in (13, 16, 19))
        or ((51 <= two <= 55 or 2221 <= four <= 2720) and size == 16)
        or (two in (34, 37) and size == 15)
        or ((four == 6011 or 644 <= three <= 649 or two in (62, 65)) and 16 <= size <= 19)
        or (3528 <= four <= 3589 and 16 <= size <= 19)
        or ((two in (36, 38, 39) or 300 <= three <= 305) and size in (14, 16))
        or (two in (50, 56, 57, 58, 60, 63, 67, 68) and size in (16, 18, 19))
    )
    return found[0] if issued else ""


def _phone(found: re.Match[str]) -> str:
    written = found[0]
    digits = re.sub(r"[^0-9]", "", written)
    separated = re.search(r"[0-9)][ ./-]+\(?[0-9]", written) is not None
    is_date = re.fullmatch(r"[0-9]{1,2}[./-][0-9]{1,2}[./-][0-9]{2,4}", written) is not None
    if written[0] == "+":
        return written if 8 <= len(digits) <= 15 else ""
    return written if 9 <= len(digits) <= 12 and separated and not is_date else ""


_FINDERS: Mapping[str, tuple[tuple[int, re.Pattern[str], Callable[[re.Match[str]], str]], ...]] = {
    "email": ((EMAIL, _EMAIL, _email),),
    "iban": ((IBAN, _IBAN, _iban),),
    "card": ((CARD, _CARD, _card),),
    "ip": ((IPV4, _IPV4, _ipv4), (IPV6, _IPV6, _ipv6)),
    "phone": ((PHONE, _PHONE, _phone),),
}
"""For each kind the patterns and checks; a check returns what of a candidate is meant, "" for nothing."""


def without_personal_data(
    text: str, kinds: Mapping[str, str] = PLACEHOLDERS, signs: int = -1
) -> tuple[str, dict[str, int]]:
    """A text with placeholders, and how many of each kind were replaced.

    Args:
      kinds: what to look for, with the placeholder of each.
      signs: what ``suspects`` says of the text; nothing else is looked for.
    """
    counts = dict.fromkeys(kinds, 0)
    while True:
        total = sum(counts.values())
        for kind, placeholder in kinds.items():
            for sign, pattern, meant in _FINDERS[kind]:
                if signs & sign:
                    text, replaced = _replaced(text, pattern, meant, placeholder, kinds.values())
                    counts[kind] += replaced
        if sum(counts.values()) == total:
            return text, counts
        signs = -1  # of a text that isn't there any more


def _replaced(
    text: str, pattern: re.Pattern[str], meant: Callable[[re.Match[str]], str], placeholder: str, kept: Iterable[str]
) -> tuple[str, int]:
    parts, end, count = [], 0, 0
    for found in pattern.finditer(text):
        written = meant(found)
        if written and written not in kept:
            parts += [text[end : found.start()], placeholder]
            end = found.start() + len(written)
            count += 1
    return "".join([*parts, text[end:]]) if parts else text, count


@numba.njit(cache=True)
def suspects(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Which signs of personal data each text has (uint8): the only ones to be looked for in it."""
    signs = np.zeros(len(offsets) - 1, np.uint8)
    for text in range(len(offsets) - 1):
        found = 0
        digits = groups = run = colons = hexes = 0
        last = before_last = third = 0
        plus = False
        for place in range(offsets[text], offsets[text + 1]):
            byte = data[place]
            is_digit = 0x30 <= byte <= 0x39
            if byte == 0x40:
                found |= EMAIL
            # Four groups of digits with dots between them.
            if is_digit:
                run += 1
                if groups == 3:
                    found |= IPV4
            elif byte == 0x2E and run > 0:
                groups, run = groups + 1, 0
            else:
                groups = run = 0
            # Two colons, or seven with nothing but hexadecimal digits between them.
            letter = byte | 0x20
            if byte == 0x3A:
                colons += 1
                if colons == 7 or last == 0x3A:
                    found |= IPV6
                hexes = 0
            elif is_digit or 0x61 <= letter <= 0x66:
                hexes += 1
                if hexes > 4:
                    colons = 0
            else:
                colons = hexes = 0
            # Two capital letters and two digits.
            if is_digit and 0x30 <= last <= 0x39 and 0x41 <= before_last <= 0x5A and 0x41 <= third <= 0x5A:
                found |= IBAN
            # Many digits with no more than one other character between them.
            if is_digit:
                digits += 1
                if digits == 13:
                    found |= CARD
                if digits == 8 or (plus and digits == 7):
                    found |= PHONE
            elif byte == 0x2B:
                digits, plus = 0, True
            elif not (byte == 0x20 or byte == 0x2D or byte == 0x2E or byte == 0x2F or byte == 0x28 or byte == 0x29):
                digits, plus = 0, False
            third, before_last, last = before_last, last, byte
        signs[text] = found
    return signs
