"""Hosts, registered domains and lists: the kernels find what the slow references find."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.statistics.test_statistics import packed
from transforms.kernels.urls.domains import domain_reference, host_reference
from transforms.kernels.urls.lists import KINDS, Words, hash_entries, judge, plain_url, table_of, unwanted_reference

LISTS = {
    "domains": {"bad.com", "evil.co.uk", "sub.fine.org", "worse.ck", "пример.рф", "10.0.0.1"},
    "hosts": {"www.only.net", "a.b.only.net"},
    "urls": {"fine.org/page", "only.net/x?y=1", "fine.org"},
}
HARD, SOFT, SUBSTRINGS = ["casino", "XXX"], ["bet", "win", "poker"], ["freemoney", "zq", "viagra-shop"]


def table() -> np.ndarray:
    keys = []
    for kind, name in enumerate(KINDS):
        lines = np.frombuffer("\n".join(["# a list", *sorted(LISTS[name]), ""]).encode(), np.uint8)
        out = np.empty(20, np.uint64)
        keys.append(out[: hash_entries(lines, kind, out)])
    return table_of(keys)


def judged(urls: list[str]) -> list[tuple[str, int]]:
    data, offsets, reasons = judge(*packed(urls), table(), Words.of(HARD, SOFT, SUBSTRINGS, 2), (True, True, True))
    whole = data.tobytes()
    domains = [whole[start:end].decode() for start, end in itertools.pairwise(offsets.tolist())]
    return list(zip(domains, reasons.tolist(), strict=True))


PIECES = st.sampled_from(
    [
        "http://", "https://", "//", "ftp://", ":", "/", "?", "#", "@", "www.", "bad.com", "evil.co.uk",
        "sub.fine.org", "fine.org", "only.net", "a.b.", "x", ".", "com", "co.uk", "www.ck", "city.kawasaki.jp",
        "kawasaki.jp",
        "10.0.0.1", "[::1]", ":8080", "page", "x?y=1", "casino", "-", "bet", "win", "freemoney", "free",
        "money", "Z", "q",
        "пример.рф", "XN--e1afmkfd.xn--p1ai", "user:pass@", "\\", " ", "é", "blogspot.com", "github.io",
    ]
)  # fmt: skip


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.one_of(st.lists(PIECES, max_size=8).map("".join), st.text(max_size=30)), max_size=4))
def test_domains_and_reasons(urls: list[str]) -> None:
    urls = [url.encode(errors="ignore").decode() for url in urls]
    expected = []
    for url in urls:
        host = host_reference(url)
        domain = domain_reference(host)
        expected.append((domain, unwanted_reference(url, domain, LISTS, HARD, SOFT, SUBSTRINGS)))
    assert judged(urls) == expected


@pytest.mark.parametrize(
    ("url", "domain"),
    [
        ("https://www.example.co.uk/x?y#z", "example.co.uk"),
        ("HTTP://User:Pw@Sub.Example.COM:8080/", "example.com"),
        ("example.com", "example.com"),
        ("//cdn.example.com/a.js", "example.com"),
        ("https://someone.github.io/", "github.io"),
        ("https://a.b.c.kawasaki.jp/", "b.c.kawasaki.jp"),
        ("https://www.city.kawasaki.jp/", "city.kawasaki.jp"),
        ("http://8.8.8.8/", "8.8.8.8"),
        ("http://[2001:db8::1]:80/", "2001:db8::1"),
        ("https://co.uk/", "co.uk"),
        ("https://сайт.пример.рф/", "пример.рф"),
        ("", ""),
    ],
)
def test_the_registered_domain(url: str, domain: str) -> None:
    assert judged([url])[0][0] == domain


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://www.bad.com/", 1), ("http://x.y.sub.fine.org", 2), ("http://fine.org/other", 0),
        ("https://www.only.net/", 2), ("https://only.net/", 0), ("https://www.fine.org/page/#top", 3),
        ("http://only.net/x?y=1", 3), ("http://ok.org/casino-night", 4), ("http://ok.org/casinos", 0),
        ("http://ok.org/bet/and/win", 5), ("http://ok.org/bet/and/bet", 0), ("http://ok.org/free-money", 6),
    ],
)  # fmt: skip
def test_why_a_url_is_unwanted(url: str, reason: int) -> None:
    assert judged([url])[0][1] == reason


def test_urls_are_compared_without_what_does_not_matter() -> None:
    assert plain_url("HTTPS://WWW.Example.com:443/Path/?q=1/#x") == "example.com/Path/?q=1"
