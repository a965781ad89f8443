"""Whether URLs are on lists of domains, hosts and URLs, or have words or substrings that are unwanted.

Lists are tables of 64-bit hashes: 8 bytes an entry, times 1.5 to 3 for what stays empty, whatever its length.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numba
import numpy as np

from transforms.kernels.deduplication.folding import MULTIPLIER
from transforms.kernels.statistics.sets import mixed
from transforms.kernels.urls.domains import (
    MOST_LABELS,
    fill_table,
    hash_back,
    host_of,
    host_reference,
    in_table,
    registered,
    suffix_table,
)

KINDS = ("domains", "hosts", "urls")
DOMAIN, HOST, URL, HARD_WORD, SOFT_WORDS, SUBSTRING = range(1, 7)
"""Why a URL is unwanted, in the order in which it is asked."""
REASONS = ("domain", "host", "url", "hard_word", "soft_words", "substring")
_SALTS = np.array([0, 0x5A2D9C31 << 32, 0xC3B7E694 << 32], np.uint64)


@numba.njit(cache=True)
def _hash_url(data: np.ndarray, start: int, host_end: int, behind: int, end: int, hashes: np.ndarray,
              starts: np.ndarray) -> np.uint64:  # fmt: skip
    """The hash of a URL without scheme, user, port, ``www.``, fragment and a slash at its end."""
    www = host_end - start > 4 and data[start + 3] == 0x2E
    for i in range(start, start + 3 if www else start):
        www = www and data[i] | 0x20 == 0x77
    start += 4 if www else 0
    hashed = hashes[hash_back(data, start, host_end, starts, hashes) - 1]
    last = behind
    while last < end and data[last] != 0x23:
        last += 1
    while last > behind and data[last - 1] == 0x2F:
        last -= 1
    for i in range(behind, last):
        hashed = hashed * np.uint64(MULTIPLIER) + np.uint64(data[i]) + np.uint64(1)
    return hashed


@numba.njit(cache=True)
def hash_entries(data: np.ndarray, kind: int, out: np.ndarray) -> int:
    """The hashes of a list's entries, one a line, ``#`` begins a comment; returns how many.

    Args:
      data: lines as UTF-8.
      kind: a place in ``KINDS``.
      out: uint64, long enough for every line.
    """
    starts, hashes = np.empty(MOST_LABELS, np.int64), np.empty(MOST_LABELS, np.uint64)
    count, begin = 0, 0
    salt = _SALTS[kind]
    while begin < len(data):
        end = begin
        while end < len(data) and data[end] != 0x0A:
            end += 1
        first, last = begin, end
        begin = end + 1
        while first < last and (data[first] <= 0x20 or data[first] == 0x2E or data[first] == 0x2A):
            first += 1
        while last > first and data[last - 1] <= 0x20:
            last -= 1
        if first == last or data[first] == 0x23:
            continue
        start, host_end, behind = host_of(data, first, last)
        if kind == 2:
            hashed = _hash_url(data, start, host_end, behind, last, hashes, starts)
        else:
            hashed = hashes[hash_back(data, start, host_end, starts, hashes) - 1]
        out[count] = mixed(hashed ^ salt)
        count += 1
    return count


def table_of(hashes: Sequence[np.ndarray]) -> np.ndarray:
    """A table of hashes (``hash_entries``), 1.5 to 3 times as long as they are."""
    size = 4
    while size < 1.5 * sum(map(len, hashes)):
        size *= 2
    table = np.zeros(size, np.uint64)
    for some in hashes:
        fill_table(table, some)
    return table


_NO_WORDS = np.zeros(0, np.uint64)


@dataclasses.dataclass(frozen=True)
class Words:
    """Words and substrings that are unwanted in URLs, ready to be looked for.

    Attributes:
      keys, kinds: a table of hashes of words, and in its places 1 for hard ones, 2 for soft ones, 3 for both; empty
        if there are none.
      firsts, bounds, bytes: substrings, sorted: where those with the same first two bytes begin, and each of them.
      singles: by byte, whether it is a substring.
      min_soft: how many different soft words are too many.
    """

    keys: np.ndarray
    kinds: np.ndarray
    firsts: np.ndarray
    bounds: np.ndarray
    bytes: np.ndarray
    singles: np.ndarray
    min_soft: int

    @classmethod
    def of(cls, hard: Iterable[str], soft: Iterable[str], substrings: Iterable[str], min_soft: int) -> Words:
        """Of what is left of each when all but letters and digits of ASCII goes."""
        found: dict[int, int] = {}
        for words, kind in ((hard, 1), (soft, 2)):
            for word in {*map(folded, words)} - {""}:
                hashed = 0
                for byte in word.encode():
                    hashed = (hashed * MULTIPLIER + byte + 1) & 0xFFFFFFFFFFFFFFFF
                found[hashed] = found.get(hashed, 0) | kind
        parts = sorted({*map(folded, substrings)} - {""})
        singles = np.zeros(256, np.bool_)
        for part in parts:
            if len(part) == 1:
                singles[ord(part)] = True
        longer = [part.encode() for part in parts if len(part) > 1]
        pairs = [part[0] << 8 | part[1] for part in longer]
        keys = table_of([np.array([mixed(np.uint64(hashed)) for hashed in found], np.uint64)]) if found else _NO_WORDS
        kind_of = {int(mixed(np.uint64(hashed))): kind for hashed, kind in found.items()}
        return cls(
            keys=keys,
            kinds=np.array([kind_of.get(int(key), 0) for key in keys], np.uint8),
            firsts=np.searchsorted(np.array(pairs, np.int64), np.arange(65537)).astype(np.int32),
            bounds=np.cumsum([0, *map(len, longer)]),
            bytes=np.frombuffer(b"".join(longer) + b"\0", np.uint8),
            singles=singles,
            min_soft=min_soft,
        )


def folded(word: str) -> str:
    """A word as it is looked for: letters and digits of ASCII, in small letters."""
    return "".join(character for character in word.lower() if character.isascii() and character.isalnum())


@numba.njit(cache=True)
def _unwanted_words(
    data: np.ndarray, begin: int, end: int, scratch: np.ndarray, found: np.ndarray, keys: np.ndarray,
    kinds: np.ndarray, firsts: np.ndarray, bounds: np.ndarray, parts: np.ndarray, singles: np.ndarray, min_soft: int,
) -> int:  # fmt: skip
    """The first of ``HARD_WORD``, ``SOFT_WORDS``, ``SUBSTRING`` that holds of a URL, else 0."""
    hashed, length, soft = np.uint64(0), 0, 0
    count = 0
    for i in range(begin, end + 1):
        byte = data[i] if i < end else np.uint8(0x20)
        if 0x41 <= byte <= 0x5A:
            byte |= 0x20
        if 0x61 <= byte <= 0x7A or 0x30 <= byte <= 0x39:
            hashed = hashed * np.uint64(MULTIPLIER) + np.uint64(byte) + np.uint64(1)
            length += 1
            scratch[count] = byte
            count += 1
            continue
        if length > 0 and len(keys) > 0:
            key = mixed(hashed)
            at = (key >> np.uint64(20)) & np.uint64(len(keys) - 1)
            while keys[at] != 0 and keys[at] != key:
                at = (at + np.uint64(1)) & np.uint64(len(keys) - 1)
            if keys[at] == key:
                if kinds[at] & 1 != 0:
                    return HARD_WORD
                new = True
                for k in range(min(soft, 16)):
                    new = new and found[k] != hashed
                if new:
                    if soft < 16:
                        found[soft] = hashed
                    soft += 1
        hashed, length = np.uint64(0), 0
    if soft > 0 and soft >= min_soft:
        return SOFT_WORDS
    for i in range(count):
        if singles[scratch[i]]:
            return SUBSTRING
        if i + 1 == count:
            break
        pair = np.int64(scratch[i]) << 8 | np.int64(scratch[i + 1])
        for k in range(firsts[pair], firsts[pair + 1]):
            size = bounds[k + 1] - bounds[k]
            same = 2
            while same < size and i + same < count and scratch[i + same] == parts[bounds[k] + same]:
                same += 1
            if same == size:
                return SUBSTRING
    return 0


@numba.njit(cache=True)
def _judge(
    data: np.ndarray, offsets: np.ndarray, suffixes: np.ndarray, table: np.ndarray, asked: tuple[bool, bool, bool],
    has_words: bool, keys: np.ndarray, kinds: np.ndarray, firsts: np.ndarray, bounds: np.ndarray, parts: np.ndarray,
    singles: np.ndarray, min_soft: int, out: np.ndarray, out_offsets: np.ndarray, reasons: np.ndarray,
) -> None:  # fmt: skip
    starts, hashes = np.empty(MOST_LABELS, np.int64), np.empty(MOST_LABELS, np.uint64)
    scratch, found = np.empty(256, np.uint8), np.empty(16, np.uint64)
    domain_salt, host_salt, url_salt = _SALTS[0], _SALTS[1], _SALTS[2]
    to = 0
    out_offsets[0] = 0
    for url in range(len(offsets) - 1):
        begin, end = offsets[url], offsets[url + 1]
        start, host_end, behind = host_of(data, begin, end)
        if start < host_end:
            labels = hash_back(data, start, host_end, starts, hashes)
            domain = registered(data, start, host_end, starts, hashes, labels, suffixes)
            for i in range(starts[domain], host_end):
                byte = data[i]
                out[to] = byte | 0x20 if 0x41 <= byte <= 0x5A else byte
                to += 1
            if asked[0]:
                if in_table(table, mixed(hashes[domain] ^ domain_salt)):
                    reasons[url] = DOMAIN
                for i in range(domain + 1, labels):
                    if reasons[url] == 0 and in_table(table, mixed(hashes[i] ^ domain_salt)):
                        reasons[url] = HOST
            if asked[1] and reasons[url] == 0 and in_table(table, mixed(hashes[labels - 1] ^ host_salt)):
                reasons[url] = HOST
            if asked[2] and reasons[url] == 0:
                hashed = _hash_url(data, start, host_end, behind, end, hashes, starts)
                if in_table(table, mixed(hashed ^ url_salt)):
                    reasons[url] = URL
        out_offsets[url + 1] = to
        if has_words and reasons[url] == 0:
            if len(scratch) < end - begin:
                scratch = np.empty(2 * (end - begin), np.uint8)
            reasons[url] = _unwanted_words(
                data, begin, end, scratch, found, keys, kinds, firsts, bounds, parts, singles, min_soft
            )


def judge(
    data: np.ndarray, offsets: np.ndarray, table: np.ndarray, words: Words, asked: tuple[bool, bool, bool]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The registered domains of URLs as UTF-8 (uint8[bytes], int64[urls + 1]) and why each is unwanted, 0 if it isn't.

    Args:
      data, offsets: the URLs as UTF-8.
      table: of ``table_of``.
      asked: of which of ``KINDS`` it has entries.
    """
    count = len(offsets) - 1
    out = np.empty(max(int(offsets[-1] - offsets[0]), 1), np.uint8)
    out_offsets, reasons = np.empty(count + 1, np.int64), np.zeros(count, np.uint8)
    has_words = bool(len(words.keys) or words.bounds[-1] or words.singles.any())
    _judge(
        data, offsets, suffix_table(), table, asked, has_words, words.keys, words.kinds, words.firsts, words.bounds,
        words.bytes, words.singles, words.min_soft, out, out_offsets, reasons,
    )  # fmt: skip
    return out, out_offsets, reasons


def unwanted_reference(
    url: str, domain: str, lists: dict[str, set[str]], hard: Sequence[str], soft: Sequence[str],
    substrings: Sequence[str], min_soft: int = 2,
) -> int:  # fmt: skip
    """Why a URL is unwanted: slow and obvious. ``lists`` has hosts, and URLs as ``plain_url`` has them."""
    host = host_reference(url)
    parents = [host[place:] for place in range(len(host)) if place == 0 or host[place - 1] == "."]
    if domain and domain in lists["domains"]:
        return DOMAIN
    if any(len(parent) > len(domain) and parent in lists["domains"] for parent in parents) or host in lists["hosts"]:
        return HOST
    if host and plain_url(url) in lists["urls"]:
        return URL
    words = "".join(character if character.isascii() and character.isalnum() else " " for character in url)
    found = {*words.lower().split()}
    if found & {*map(folded, hard)} - {""}:
        return HARD_WORD
    many = len(found & {*map(folded, soft)} - {""})
    if many and many >= min_soft:
        return SOFT_WORDS
    letters = words.replace(" ", "").lower()
    return SUBSTRING if any(folded(part) and folded(part) in letters for part in substrings) else 0


def plain_url(url: str) -> str:
    """A URL as lists of URLs are compared: without scheme, user, port, ``www.``, fragment and a slash at its end."""
    data = np.frombuffer(url.encode() + b"\0", np.uint8)
    _, _, behind = host_of(data, 0, len(data) - 1)
    rest = url.encode()[behind:].decode(errors="surrogateescape").partition("#")[0].rstrip("/")
    host = host_reference(url)
    return (host.removeprefix("www.") if len(host) > 4 else host) + rest
