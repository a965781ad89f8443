"""Properties of characters for the normalization kernel, built from this Python's own `unicodedata`.

The properties of a code point are packed into one uint32, zero for most of Unicode, so that a kernel tests for
"nothing special" once:

    bits  0-7   trailing class: canonical combining class of the last character of its canonical decomposition
    bits  8-15  leading class: the same of the first character; not zero means that it can be reordered
    DROPPED     the rules of `normalization` drop it
    LINE_END, RETURN
                they replace it by LF; RETURN is CR, whose turn depends on the text
    MAYBE       it composes with some character before it (NFC_Quick_Check=Maybe): look the pair up
    NOT_NFC     NFC may change it whatever stands before it (NFC_Quick_Check=No), or it is a vowel or final consonant
                of Hangul, whose pairs are arithmetic and not in the table

Unicode Standard Annex 15, sections 9 (detecting normalization forms) and 5 (composition exclusions).
"""

from __future__ import annotations

import functools
import unicodedata
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from transforms.kernels.text.options import DROPPABLE

DROPPED = 1 << 16
LINE_END = 1 << 17
RETURN = 1 << 18
MAYBE = 1 << 19
NOT_NFC = 1 << 20

LINE_ENDS = "\n\r\v\f\u0085\u2028\u2029"
BLANKS = "\t \u00a0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u202f\u205f\u3000"
HANGUL_VOWELS = range(0x1161, 0x1176)
HANGUL_FINALS = range(0x11A8, 0x11C3)

_BLOCK_BITS = 8
# Four bytes of UTF-8 can spell 21 bits: the table answers for all of them.
_CODE_POINTS = 1 << 21
# Planes 4 to 16 are unassigned, tags or for private use: nothing there combines or decomposes.
_END_OF_TEXT = 0x40000
_PAIR_BITS = 12
_HASH_FACTOR = 0x9E3779B97F4A7C15  # 2**64 / golden ratio: multiplicative hashing (Knuth 6.4)


class UnicodeTables(NamedTuple):
    """Read-only look-up tables, passed to kernels.

    Attributes:
      blocks: uint16, number of the block of properties of each 256 code points; block 0 is that of ASCII.
      properties: uint32, blocks of 256 packed properties, one after another.
      pairs: uint64, open-addressed hash set of ``first << 21 | second``, the pairs that NFC composes; 0 is free.
    """

    blocks: npt.NDArray[np.uint16]
    properties: npt.NDArray[np.uint32]
    pairs: npt.NDArray[np.uint64]


@functools.lru_cache(maxsize=16)
def unicode_tables(nfc: bool = True, dropped: tuple[str, ...] = (), line_ends: str = "") -> UnicodeTables:
    """The tables of ``unicodedata.unidata_version`` for some rules of normalization.

    Built once a process; with ``nfc`` that takes 0.1 s.

    Args:
      nfc: whether the properties that decide normalization form C are in them.
      dropped: names of classes in ``DROPPABLE``.
      line_ends: characters that are, or may be, replaced by LF.
    """
    properties, pairs = _composition() if nfc else (np.zeros(_CODE_POINTS, np.uint32), np.zeros(1, np.uint64))
    properties = properties.copy()
    for name in dropped:
        for first, last in DROPPABLE[name]:
            properties[first : last + 1] |= DROPPED
    for character in line_ends:
        properties[ord(character)] |= RETURN if character == "\r" else LINE_END

    # Numbered as they come: block 0 is that of ASCII.
    numbers: dict[bytes, int] = {}
    blocks = [numbers.setdefault(row.tobytes(), len(numbers)) for row in properties.reshape(-1, 1 << _BLOCK_BITS)]
    tables = UnicodeTables(np.array(blocks, np.uint16), np.frombuffer(b"".join(numbers), np.uint32), pairs)
    for table in tables:
        table.flags.writeable = False
    return tables


@functools.cache
def _composition() -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint64]]:
    """Properties by code point that decide normalization form C, and the set of pairs."""
    properties = np.zeros(_CODE_POINTS, np.uint32)
    pairs: list[tuple[int, int]] = []
    for code_point in range(_END_OF_TEXT):
        character = chr(code_point)
        combining = unicodedata.combining(character)
        decomposition = unicodedata.decomposition(character)
        if decomposition and not decomposition.startswith("<"):
            decomposed = unicodedata.normalize("NFD", character)
            leading, trailing = map(unicodedata.combining, (decomposed[0], decomposed[-1]))
            properties[code_point] = leading << 8 | trailing
            if unicodedata.normalize("NFC", character) != character:
                properties[code_point] |= NOT_NFC
            else:
                first, second = decomposition.split()
                pairs.append((int(first, 16), int(second, 16)))
        elif combining:
            properties[code_point] = combining << 8 | combining
    for _, second_code_point in pairs:
        properties[second_code_point] |= MAYBE
    properties[[*HANGUL_VOWELS, *HANGUL_FINALS]] |= NOT_NFC
    return properties, _pair_set(pairs)


def _pair_set(pairs: list[tuple[int, int]]) -> npt.NDArray[np.uint64]:
    table = np.zeros(1 << _PAIR_BITS, np.uint64)
    for first, second in pairs:
        key = first << 21 | second
        slot = (key * _HASH_FACTOR & 0xFFFFFFFFFFFFFFFF) >> (64 - _PAIR_BITS)
        while table[slot]:
            slot = (slot + 1) & (len(table) - 1)
        table[slot] = key
    return table


@numba.njit(cache=True, inline="always")
def character_properties(
    blocks: npt.NDArray[np.uint16], properties: npt.NDArray[np.uint32], code_point: int
) -> np.uint32:
    """The packed properties of a code point below 2**21."""
    start = np.uint64(blocks[np.uint64(code_point) >> np.uint64(_BLOCK_BITS)]) << np.uint64(_BLOCK_BITS)
    return properties[start | (np.uint64(code_point) & np.uint64(0xFF))]


@numba.njit(cache=True)
def composes(pairs: npt.NDArray[np.uint64], first: int, second: int) -> bool:
    """Whether NFC has one character for ``first`` followed by ``second`` (Hangul apart)."""
    key = np.uint64(first) << np.uint64(21) | np.uint64(second)
    slot = (key * np.uint64(_HASH_FACTOR)) >> np.uint64(64 - _PAIR_BITS)
    while pairs[slot]:
        if pairs[slot] == key:
            return True
        slot = (slot + np.uint64(1)) & np.uint64((1 << _PAIR_BITS) - 1)
    return False


def combining_classes(code_points: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
    """Canonical combining class of each code point; of the first of its decomposition if it has one."""
    tables = unicode_tables()
    block_starts = tables.blocks[code_points >> _BLOCK_BITS].astype(np.int64) << _BLOCK_BITS
    return (tables.properties[block_starts | (code_points & 0xFF)] >> 8 & 0xFF).astype(np.uint8)
