"""Which texts may have mojibake: UTF-8 that was read as another encoding, such as ``Ã¤`` for ``ä``.

A text is suspected if it has a C1 control or U+001A, or characters that are, in one of the encodings that ftfy knows,
the bytes of a character in UTF-8: a lead byte and as many continuation bytes as it asks for. All else ftfy leaves as
it is (``tests/kernels/test_mojibake.py``), so it needn't be asked.
"""

from __future__ import annotations

import functools

import numba
import numpy as np

from transforms.kernels.deduplication.folding import CODE_POINTS
from transforms.kernels.statistics.words import decode

ENCODINGS = (
    "latin-1", "windows-1252", "windows-1251", "windows-1250", "windows-1253", "windows-1254", "windows-1257",
    "iso-8859-2", "macroman", "cp437",
)  # fmt: skip


@functools.cache
def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each code point a bit of each encoding: is it a continuation byte, a lead byte, one that asks for several?"""
    rest, lead, long_lead = (np.zeros(CODE_POINTS, np.uint16) for _ in range(3))
    for place, encoding in enumerate(ENCODINGS):
        bit = np.uint16(1 << place)
        for byte in range(0x80, 0xF5):
            character = bytes([byte]).decode(encoding, errors="ignore")
            # What an encoding leaves open, ftfy's "sloppy" ones take for the character of this number.
            code = ord(character) if character else byte
            if byte < 0xC0:
                rest[code] |= bit
            elif byte >= 0xC2:
                lead[code] |= bit
                if byte >= 0xE0:
                    long_lead[code] |= bit
        # A byte A0 is often lost to a blank, and ftfy puts it back; what couldn't be read is one of the others.
        for code in (0x20, 0xA0, 0x1A, 0xFFFD, 0x3F) if encoding != "macroman" else ():
            rest[code] |= bit
    return rest, lead, long_lead


@numba.njit(cache=True)
def _suspected(
    data: np.ndarray, offsets: np.ndarray, rest: np.ndarray, lead: np.ndarray, long_lead: np.ndarray
) -> np.ndarray:
    found = np.zeros(len(offsets) - 1, np.bool_)
    for text in range(len(offsets) - 1):
        place, end = offsets[text], offsets[text + 1]
        waiting, waiting_2 = np.uint16(0), np.uint16(0)
        while place < end:
            if data[place] < 0x80 and data[place] != 0x1A and waiting == 0:
                place += 1
                waiting_2 = np.uint16(0)
                continue
            code, size = decode(data, place)
            place += size
            this = rest[code]
            if 0x80 <= code < 0xA0 or code == 0x1A or waiting & this & ~waiting_2 != 0:
                found[text] = True
                break
            # Of a long one two have to follow.
            waiting, waiting_2 = (waiting_2 & this) | lead[code], long_lead[code]
    return found


def suspected(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Whether each text may have mojibake (bool): if not, ``ftfy.fix_encoding`` leaves it as it is."""
    return _suspected(data, offsets, *_tables())
