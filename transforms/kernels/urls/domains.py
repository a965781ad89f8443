"""Hosts and registered domains of URLs, by the ICANN part of the public suffix list (package publicsuffixlist).

The **host** of a URL stands between the scheme (or ``//``, or the beginning) and the next ``/``, ``?``, ``#`` or
``\\``, without user, port and a dot at its end, in small letters. Its **registered domain** is one label more than its
public suffix: ``example.co.uk`` of ``www.example.co.uk``. A host that is an IP address, or a suffix itself, stands for
itself.

Hashes of hosts are computed from their end, so that one walk has those of all its parents.
"""

from __future__ import annotations

import functools
import re

import numba
import numpy as np
import publicsuffixlist

from transforms.kernels.deduplication.folding import MULTIPLIER
from transforms.kernels.statistics.sets import mixed

MOST_LABELS = 128
# What a hash is of goes into its high bits: the low ones of short names differ by a letter.
_RULE, _WILDCARD, _EXCEPTION = np.uint64(0), np.uint64(0x5A2D9C31 << 32), np.uint64(0xC3B7E694 << 32)


def host_reference(url: str) -> str:
    """The host of a URL: slow and obvious."""
    rest = re.sub(r"\A(?:[A-Za-z][A-Za-z0-9+.-]*:)?//", "", url)
    authority = re.split(r"[/?#\\]", rest, maxsplit=1)[0].rpartition("@")[2]
    if authority.startswith("["):
        host = authority.partition("]")[0][1:]
    else:
        host = authority.partition(":")[0]
    host = host.removesuffix(".")
    return "".join(character.lower() if character.isascii() else character for character in host)


@functools.cache
def _list() -> publicsuffixlist.PublicSuffixList:
    return publicsuffixlist.PublicSuffixList(only_icann=True)


def domain_reference(host: str) -> str:
    """The registered domain of a host: slow and obvious."""
    if not host.strip("0123456789.") or ":" in host or "" in host.split("."):
        return host
    found = _list().privatesuffix(host)
    return ".".join(host.split(".")[-found.count(".") - 1 :]) if found else host


@numba.njit(cache=True)
def host_of(data: np.ndarray, begin: int, end: int) -> tuple[int, int, int]:
    """Where the host of a URL begins and ends, and where what is behind its authority begins."""
    start = begin
    place = begin
    while place < end and (
        0x61 <= data[place] | 0x20 <= 0x7A
        or (place > begin and (0x30 <= data[place] <= 0x39 or data[place] == 0x2B or 0x2D <= data[place] <= 0x2E))
    ):
        place += 1
    if (
        place > begin
        and place + 2 < end
        and data[place] == 0x3A
        and data[place + 1] == 0x2F
        and data[place + 2] == 0x2F
    ):
        start = place + 3
    elif place > begin and place + 3 == end and data[place] == 0x3A:
        start = end if data[place + 1] == 0x2F and data[place + 2] == 0x2F else begin
    elif begin + 1 < end and data[begin] == 0x2F and data[begin + 1] == 0x2F:
        start = begin + 2
    stop = start
    while stop < end and not (data[stop] == 0x2F or data[stop] == 0x3F or data[stop] == 0x23 or data[stop] == 0x5C):
        stop += 1
    behind = stop
    for i in range(stop - 1, start - 1, -1):
        if data[i] == 0x40:
            start = i + 1
            break
    if start < stop and data[start] == 0x5B:
        start += 1
        host_end = start
        while host_end < stop and data[host_end] != 0x5D:
            host_end += 1
    else:
        host_end = start
        while host_end < stop and data[host_end] != 0x3A:
            host_end += 1
    if host_end > start and data[host_end - 1] == 0x2E:
        host_end -= 1
    return start, host_end, behind


@numba.njit(cache=True)
def hash_back(data: np.ndarray, start: int, end: int, starts: np.ndarray, hashes: np.ndarray) -> int:
    """The hashes of a host and of its parents, shortest first; returns how many.

    Args:
      starts, hashes: int64 and uint64 arrays, to be filled with where each begins and its hash.
    """
    hashed, labels = np.uint64(0), 0
    for i in range(end - 1, start - 1, -1):
        byte = data[i]
        if 0x41 <= byte <= 0x5A:
            byte |= 0x20
        if byte == 0x2E and labels < MOST_LABELS - 1:
            starts[labels], hashes[labels] = i + 1, hashed
            labels += 1
        hashed = hashed * np.uint64(MULTIPLIER) + np.uint64(byte) + np.uint64(1)
    starts[labels], hashes[labels] = start, hashed
    return labels + 1


@numba.njit(cache=True)
def in_table(table: np.ndarray, key: np.uint64) -> bool:
    """Whether a mixed hash is in a table of ``filled_table``."""
    mask = np.uint64(len(table) - 1)
    slot = (key >> np.uint64(20)) & mask
    while table[slot] != 0:
        if table[slot] == key:
            return True
        slot = (slot + np.uint64(1)) & mask
    return False


@numba.njit(cache=True)
def fill_table(table: np.ndarray, keys: np.ndarray) -> None:
    """Adds mixed hashes to a table, whose length is a power of two and over their number."""
    mask = np.uint64(len(table) - 1)
    for key in keys:
        slot = (key >> np.uint64(20)) & mask
        while table[slot] != 0 and table[slot] != key:
            slot = (slot + np.uint64(1)) & mask
        table[slot] = key


@numba.njit(cache=True)
def registered(
    data: np.ndarray, start: int, end: int, starts: np.ndarray, hashes: np.ndarray, labels: int, suffixes: np.ndarray
) -> int:
    """Which of a host's parents (``hash_back``) is its registered domain."""
    only_numbers = True
    for i in range(start, end):
        byte = data[i]
        only_numbers = only_numbers and (0x30 <= byte <= 0x39 or byte == 0x2E)
        if byte == 0x3A or (byte == 0x2E and (i == start or data[i - 1] == 0x2E)):
            return labels - 1
    if only_numbers or data[end - 1] == 0x2E:
        return labels - 1
    suffix = 0  # an unknown top-level domain is a suffix
    for i in range(labels):
        if in_table(suffixes, mixed(hashes[i] ^ _EXCEPTION)):
            return i
        if in_table(suffixes, mixed(hashes[i] ^ _RULE)) or (
            i > 0 and in_table(suffixes, mixed(hashes[i - 1] ^ _WILDCARD))
        ):
            suffix = i
    return min(suffix + 1, labels - 1)


@functools.cache
def suffix_table() -> np.ndarray:
    """The rules of the public suffix list as a table of hashes."""
    starts, hashes = np.empty(MOST_LABELS, np.int64), np.empty(MOST_LABELS, np.uint64)
    keys = []
    rules = set()
    for rule in _rules():
        rules |= {rule, rule.encode("idna").decode() if not rule.isascii() else rule}
    for rule in sorted(rules):
        kind = _EXCEPTION if rule[0] == "!" else _WILDCARD if rule.startswith("*.") else _RULE
        encoded = np.frombuffer(rule.removeprefix("!").removeprefix("*.").encode(), np.uint8)
        count = hash_back(encoded, 0, len(encoded), starts, hashes)
        keys.append(mixed(hashes[count - 1] ^ kind))
    table = np.zeros(1 << 15, np.uint64)
    fill_table(table, np.array(keys, np.uint64))
    table.flags.writeable = False
    return table


def _rules() -> list[str]:
    with open(publicsuffixlist.PSLFILE, encoding="utf-8") as file:  # noqa: PTH123 - as the package names it
        text = file.read()
    icann = text.partition("===BEGIN ICANN DOMAINS===")[2].partition("===END ICANN DOMAINS===")[0]
    lines = (line.split(" ")[0].strip() for line in icann.splitlines())
    return [line.lower() for line in lines if line and not line.startswith("//")]
