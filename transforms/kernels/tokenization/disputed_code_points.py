"""The documents on which the engines of ``tokenization`` may differ, by the code points their tables disagree on."""

from __future__ import annotations

import functools
import sys
import unicodedata
from typing import Literal

import numba
import numpy as np
import numpy.typing as npt
import tokenizers

from transforms.kernels.text.utf8 import load_word
from transforms.kernels.tokenization.engines import Bytes, Offsets

_CODE_POINTS = sys.maxunicode + 1
_PLANES_IN_USE = (range(0x40000), range(0xE0000, _CODE_POINTS))
"""In planes 4 to 13 nothing is assigned. If it were, the reference would do the documents that hold any of it."""


@functools.cache
def disputed_code_points(normalizers: tuple[Literal["NFC", "NFD", "NFKC", "NFKD"], ...]) -> Bytes:
    """A bit a code point (0 to 0x10FFFF, lowest bit first): set where the engines' Unicode tables may differ.

    Takes 50 ms, and 0.2 s more for each Unicode normalizer.
    """
    disputed = np.ones(_CODE_POINTS, np.bool_)
    for plane in _PLANES_IN_USE:
        categories = map(unicodedata.category, map(chr, plane))
        disputed[plane.start : plane.stop] = [category == "Cn" for category in categories]
    if normalizers:
        # A mark of every combining class, all old enough to be in every table: beside them a character shows its own.
        old = unicodedata.ucd_3_2_0
        marks = {old.combining(chr(c)): chr(c) for c in range(_CODE_POINTS) if old.combining(chr(c))}.values()
    for form in normalizers:
        normalize = getattr(tokenizers.normalizers, form)().normalize_str
        for code_point in np.flatnonzero(~disputed):
            character = chr(code_point)
            if unicodedata.combining(character):
                probe = "".join(f"a{character}{mark}a{mark}{character}" for mark in marks)
            elif unicodedata.decomposition(character):
                probe = f"a{character}\u0327\u0301{character}"
            else:
                continue
            disputed[code_point] = normalize(probe) != unicodedata.normalize(form, probe)
    return np.packbits(disputed, bitorder="little")


@functools.cache
def _leads(code_points: bytes) -> Bytes:
    """One entry a byte: 1 if a code point of the set begins with it in UTF-8.

    0 for most of what texts are made of: ASCII, Latin, Cyrillic, Chinese, Hangul, and what isn't a first byte.
    """
    leads = np.zeros(256, np.uint8)
    held = np.flatnonzero(np.unpackbits(np.frombuffer(code_points, np.uint8), count=_CODE_POINTS, bitorder="little"))
    for first, size, bound in ((0x00, 0, 0x80), (0xC0, 6, 0x800), (0xE0, 12, 0x10000), (0xF0, 18, _CODE_POINTS)):
        leads[first | held[held < bound] >> size] = 1
        held = held[held >= bound]
    return leads


def documents_holding(data: Bytes, offsets: Offsets, code_points: Bytes) -> npt.NDArray[np.bool_]:
    """Which documents hold a code point of the set (a bit each): 8 GB/s on ASCII, 2 GB/s on all scripts."""
    return _documents_holding(data, offsets, code_points, _leads(code_points.tobytes()))


@numba.njit(cache=True, nogil=True)
def _documents_holding(data: Bytes, offsets: Offsets, code_points: Bytes, leads: Bytes) -> npt.NDArray[np.bool_]:
    found = np.zeros(len(offsets) - 1, np.bool_)
    for document in range(len(offsets) - 1):
        position, end = offsets[document], offsets[document + 1]
        while position < end:
            while position + 8 <= end:
                if load_word(data, position) & np.uint64(0x8080808080808080):
                    seen = np.uint8(0)
                    for ahead in range(8):
                        seen |= leads[data[position + ahead]]
                    if seen:
                        break
                position += 8
            while position < end and not leads[data[position]]:
                position += 1
            if position == end:
                break
            first = data[position]
            if first < 0x80:
                code_point = np.int64(first)
                position += 1
            elif first < 0xE0:
                code_point = np.int64(first & 0x1F) << 6 | np.int64(data[position + 1] & 0x3F)
                position += 2
            elif first < 0xF0:
                code_point = (
                    np.int64(first & 0x0F) << 12
                    | np.int64(data[position + 1] & 0x3F) << 6
                    | np.int64(data[position + 2] & 0x3F)
                )
                position += 3
            else:
                code_point = (
                    np.int64(first & 0x07) << 18
                    | np.int64(data[position + 1] & 0x3F) << 12
                    | np.int64(data[position + 2] & 0x3F) << 6
                    | np.int64(data[position + 3] & 0x3F)
                )
                position += 4
            if code_points[code_point >> 3] >> (code_point & 7) & 1:
                found[document] = True
                break
    return found
