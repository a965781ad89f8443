"""Personal data: what is found, and what isn't, in ten formats; replacing twice changes nothing."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.statistics.test_statistics import packed
from transforms.kernels.edits.personal_data import PLACEHOLDERS, suspects, without_personal_data

FORMATS: dict[str, Callable[[str], str]] = {
    "prose": lambda value: f"You can reach us at {value}, or come by.",
    "end of a sentence": lambda value: f"It is {value}.\nThe next line.",
    "JSON": lambda value: f'{{"name": "A. Person", "contact": "{value}", "n": 3}}',
    "XML": lambda value: f"<contact type='x'>{value}</contact>",
    "CSV": lambda value: f"1;Person;{value};Berlin",
    "table": lambda value: f"| Person | {value} | 12 |",
    "log": lambda value: f"2024-05-01 12:30:45 WARN peer={value} status=200",
    "Markdown": lambda value: f"* **Contact:** {value}",
    "brackets": lambda value: f"A. Person ({value}) wrote:",
    "other scripts": lambda value: f"Адрес: {value} — お問い合わせ",
}


def _luhn(digits: str) -> str:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 - place % 2)
        total += value - 9 if value > 9 else value
    return digits + str(-total % 10)


def _iban(country: str, account: str) -> str:
    number = int("".join(str(int(letter, 36)) for letter in account + country + "00"))
    return f"{country}{98 - number % 97:02}{account}"


def _grouped(text: str) -> str:
    return " ".join(text[place : place + 4] for place in range(0, len(text), 4))


def _true(draw: random.Random) -> Iterator[tuple[str, str]]:
    """30 of each of four kinds and 60 each of two: kind and value."""
    names = ["anna.schmidt", "j.doe", "info", "o'brien", "müller", "sales+eu", "a_b", "user99", "петр", "x"]
    domains = [
        "gmail.com",
        "uni-koeln.de",
        "mail.example.co.uk",
        "firma.com.br",
        "web.de",
        "пример.рф",
        "a.io",
        "bücher.de",
    ]
    for _ in range(90):
        yield "email", f"{draw.choice(names)}@{draw.choice(domains)}"
    for _ in range(60):
        yield (
            "ip",
            ".".join(
                str(draw.choice([5, 8, 46, 91, 151, 212]) if place == 0 else draw.randrange(256)) for place in range(4)
            ),
        )
    for _ in range(45):
        yield (
            "ip",
            draw.choice(
                ["2001:4860:4860::8888", "2a00:1450:4001:81b::200e", "2606:4700:4700:0:0:0:0:1111", "2A02:8108::1"]
            ),
        )
    for _ in range(50):
        country, size = draw.choice([("DE", 18), ("FR", 23), ("GB", 18), ("NL", 14), ("PL", 24)])
        account = "".join(draw.choice("0123456789") for _ in range(size))
        found = _iban(country, account)
        yield "iban", draw.choice([found, _grouped(found)])
    for _ in range(55):
        prefix, size = draw.choice([("4", 16), ("53", 16), ("37", 15), ("6011", 16)])
        found = _luhn(prefix + "".join(draw.choice("0123456789") for _ in range(size - 1 - len(prefix))))
        yield "card", draw.choice([found, _grouped(found), _grouped(found).replace(" ", "-")])


def _false(draw: random.Random) -> Iterator[str]:
    """300 values that look like personal data and are none."""

    def numbers(n: int) -> str:
        return "".join(draw.choice("0123456789") for _ in range(n))

    makers: list[Callable[[], str]] = [
        lambda: f"@{draw.choice(['anna', 'news', 'dev'])}",
        lambda: f"logo@{draw.randrange(2, 4)}x.png",
        lambda: f"user@localhost{draw.choice(['', ':8080'])}",
        lambda: f"lodash@{draw.randrange(9)}.17.{draw.randrange(30)}",
        lambda: f"@user{draw.randrange(99)}@mastodon.social",
        lambda: f"git@github.com:org/repo{draw.randrange(99)}.git",
        lambda: f"https://name:pass{draw.randrange(9)}@host.example.com/x",
        lambda: f"it cost 5 @ {draw.randrange(99)}.50 each",
        lambda: f"10.{draw.randrange(256)}.{draw.randrange(256)}.7",
        lambda: f"192.168.{draw.randrange(256)}.{draw.randrange(256)}",
        lambda: f"127.0.0.{draw.randrange(1, 9)}",
        lambda: f"version {draw.randrange(1, 20)}.2.{draw.randrange(30)}.4",
        lambda: f"v{draw.randrange(1, 9)}.0.3.12",
        lambda: f"section {draw.randrange(1, 9)}.2.3.4",
        lambda: f"Chrome/{draw.randrange(90, 130)}.0.0.0",
        lambda: f"{draw.randrange(300, 999)}.12.12.1",
        lambda: f"1.2.3.4.{draw.randrange(9)}",
        lambda: f"0{draw.randrange(1, 9)}.05.20.24",
        lambda: f"12:{draw.randrange(10, 59)}:45",
        lambda: f"00:1b:44:11:3a:{draw.randrange(10, 99)}",
        lambda: f"fe80::{draw.randrange(1, 99)}",
        lambda: f"2001:db8::{draw.randrange(1, 99)}",
        lambda: "std::vector::begin",
        lambda: f"DE00 3704 0044 0532 {numbers(4)} 00",
        lambda: f"AB12 {numbers(4)}",
        lambda: f"XX82{numbers(18)}",
        lambda: f"9{numbers(15)}",
        lambda: f"ISBN 978-3-16-{numbers(6)}-0",
        lambda: f"{numbers(4)} {numbers(4)} {numbers(4)} {numbers(4)} {numbers(4)} {numbers(4)}",
        lambda: f"{draw.randrange(1900, 2030)}-{draw.randrange(1900, 2030)}",
    ]
    for place in range(300):
        yield makers[place % len(makers)]()


def _sets() -> tuple[list[tuple[str, str, str]], list[str]]:
    draw = random.Random(7)
    formats = itertools.cycle(FORMATS.values())
    true = [(kind, value, next(formats)(value)) for kind, value in _true(draw)]
    return true, [next(formats)(value) for value in _false(draw)]


def test_recall_and_precision() -> None:
    true, false = _sets()
    assert len(true) == 300
    assert len(false) == 300
    found = dict.fromkeys(PLACEHOLDERS, 0)
    missed = []
    for kind, value, text in true:
        after, counts = without_personal_data(text, signs=int(suspects(*packed([text]))[0]))
        if counts[kind] == 1 and value not in after and sum(counts.values()) == 1:
            found[kind] += 1
        else:
            missed.append(text)
    wrong = dict.fromkeys(PLACEHOLDERS, 0)
    taken = []
    kinds = {kind: place for kind, place in PLACEHOLDERS.items() if kind != "phone"}
    for text in false:
        for kind, count in without_personal_data(text, kinds)[1].items():
            wrong[kind] += count
            taken += [text] * bool(count)
    assert len(missed) <= 0.02 * len(true), missed
    for kind in ("email", "ip"):
        assert found[kind] >= 0.95 * (found[kind] + wrong[kind]), taken
    assert sum(wrong.values()) <= 3, taken


@pytest.mark.parametrize(
    "text",
    ["+49 30 1234567", "(030) 123 45 67", "030/1234567", "+1 (212) 555-0123", "0171 123 4567", "+33 1 23 45 67 89"],
)
def test_phone_numbers_are_found_on_request(text: str) -> None:
    assert without_personal_data(f"Call {text}, please.")[0] == f"Call {PLACEHOLDERS['phone']}, please."


@pytest.mark.parametrize(
    "text", ["12.05.2024", "1999-2003", "3.14159265", "1,000,000", "12 345 678", "2024-05-01 12:30"]
)
def test_what_is_no_phone_number(text: str) -> None:
    assert without_personal_data(f"It says {text} there.")[1]["phone"] == 0


PIECES = st.sampled_from(
    [
        "a@b.de", "x.y@mail.com", "@", ".", "8.8.8.8", "1.2.3.4", "-", " ", ":", "::", "2001:4860::1", "+49 30 1234567",
        "(0", "DE89370400440532013000", "GB82 WEST 1234 5698 7654 32", "4111 1111 1111 1111", "378282246310005", "7",
        "0", "a", "/", "\n", ",", "é", "'", "_", "@b.de", "com", "203.0.113.7", "email@example.com", "+", "%",
    ]
)  # fmt: skip


@settings(max_examples=1000, deadline=None)
@given(st.one_of(st.lists(PIECES, max_size=9).map("".join), st.text(max_size=60)))
def test_replacing_twice_changes_nothing_and_no_sign_is_overlooked(text: str) -> None:
    text = text.encode(errors="ignore").decode()
    after, counts = without_personal_data(text)
    assert without_personal_data(after) == (after, dict.fromkeys(counts, 0))
    signs = int(suspects(*packed([text]))[0])
    assert without_personal_data(text, signs=signs) == (after, counts)


def test_an_adversary_takes_no_time() -> None:
    for piece in ("a.", "a@", "1.", "1 ", "1:", "a@b.", "AB12 ", "+1", "(0"):
        text = piece * (200_000 // len(piece))
        assert without_personal_data(text)[0] is not None
