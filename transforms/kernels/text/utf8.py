"""Words of UTF-8 at once: helpers for compiled kernels over Arrow string buffers."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba.core import cgutils


@numba.extending.intrinsic
def load_word(_typing_context: Any, array: Any, position: Any) -> Any:
    """Eight bytes of an array of uint8 from any position, aligned or not, as one uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0]).data
        word = context.get_value_type(signature.return_type)
        address = builder.bitcast(builder.gep(data, [arguments[1]]), word.as_pointer())
        return builder.load(address, align=1)

    return numba.types.uint64(array, numba.types.int64), generate


@numba.njit(cache=True, inline="always")
def _is_wrong(byte: int, before: int, before_2: int, before_3: int) -> bool:
    """Whether no UTF-8 has this byte after the three before it (Unicode Standard, table 3-7); without a branch."""
    continues = (byte & 0xC0) == 0x80
    expected = (before >= 0xC0) | (before_2 >= 0xE0) | (before_3 >= 0xF0)
    never = (byte == 0xC0) | (byte == 0xC1) | (byte >= 0xF5)
    too_small = ((before == 0xE0) & (byte < 0xA0)) | ((before == 0xF0) & (byte < 0x90))
    too_large = ((before == 0xED) & (byte >= 0xA0)) | ((before == 0xF4) & (byte >= 0x90))
    return (continues != expected) | never | too_small | too_large


@numba.njit(cache=True, nogil=True)
def all_utf8(values: Any, offsets: Any) -> bool:
    """Whether each text ``values[offsets[i]:offsets[i + 1]]`` is UTF-8.

    That is so if all together are, and none begins within a character. The loop becomes vector code.
    """
    start, stop = np.uint64(offsets[0]), np.uint64(offsets[-1])
    one, two, three, block = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(256)
    wrong = False
    before = before_2 = before_3 = np.uint8(0)
    for i in range(start, min(start + three, stop)):
        wrong |= _is_wrong(values[i], before, before_2, before_3)
        before_3, before_2, before = before_2, before, values[i]
    position = start + three
    while position < stop:
        end = min(position + block, stop)
        high = values[position - one]
        for i in range(position, end):
            high |= values[i]
        if high >= 0x80:
            for i in range(position, end):
                wrong |= _is_wrong(values[i], values[i - one], values[i - two], values[i - three])
        position = end
    if stop - start >= three:
        before, before_2, before_3 = values[stop - one], values[stop - two], values[stop - three]
    wrong |= bool(before >= 0xC0 or before_2 >= 0xE0 or before_3 >= 0xF0)
    for i in range(len(offsets) - 1):
        if offsets[i] < offsets[i + 1]:
            wrong |= (values[np.uint64(offsets[i])] & 0xC0) == 0x80
    return not wrong


@numba.njit(cache=True, inline="always")
def is_plain_ascii(word: np.uint64) -> bool:
    """Whether eight bytes are printable ASCII (0x20-0x7E), and not all of them spaces.

    In a row of such words a run of spaces has 14 at most.
    """
    high_bits = np.uint64(0x8080808080808080)
    at_least_space = (word | high_bits) - np.uint64(0x2020202020202020)
    delete_or_more = (word & ~high_bits) + np.uint64(0x0101010101010101)
    return ((word | ~at_least_space | delete_or_more) & high_bits) == 0 and word != np.uint64(0x2020202020202020)


@numba.njit(cache=True, inline="always")
def bytes_equal(word: np.uint64, repeated: np.uint64) -> np.uint64:
    """0x80 in every byte of a word that equals that byte of `repeated`, 0 in the others."""
    low_bits = np.uint64(0x7F7F7F7F7F7F7F7F)
    difference = word ^ repeated
    return ~(((difference & low_bits) + low_bits) | difference | low_bits)


@numba.njit(cache=True, inline="always")
def has_controls(word: np.uint64) -> bool:
    """Whether any of eight bytes is a control character of ASCII (0x00-0x1F, 0x7F) but tab and LF."""
    controls = bytes_equal(word & np.uint64(0xE0E0E0E0E0E0E0E0), np.uint64(0))
    tabs = bytes_equal(word, np.uint64(0x0909090909090909))
    line_feeds = bytes_equal(word, np.uint64(0x0A0A0A0A0A0A0A0A))
    deletes = bytes_equal(word, np.uint64(0x7F7F7F7F7F7F7F7F))
    return (controls & ~(tabs | line_feeds)) | deletes != 0


@numba.njit(cache=True, inline="always")
def has_nul_or_return(word: np.uint64) -> bool:
    """Whether any of eight bytes is NUL or CR."""
    # "Determine if a word has a zero byte" (Anderson, Bit Twiddling Hacks), which is exact for the word as a whole.
    low, high = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
    difference = word ^ np.uint64(0x0D0D0D0D0D0D0D0D)
    return ((word - low) & ~word | (difference - low) & ~difference) & high != 0


@numba.njit(cache=True, inline="always")
def is_ascii(word: np.uint64) -> bool:
    """Whether eight bytes are all of ASCII."""
    return word & np.uint64(0x8080808080808080) == 0


@numba.njit(cache=True, inline="always")
def sequence_length(byte: int) -> int:
    """Bytes of the UTF-8 sequence that begins with this byte."""
    if byte < 0x80:
        return 1
    if byte < 0xE0:
        return 2
    return 3 if byte < 0xF0 else 4


@numba.njit(cache=True, inline="always")
def code_point_at(values: Any, position: int) -> Any:
    """The code point whose UTF-8 sequence begins here."""
    byte = values[np.uint64(position)]
    if byte < 0x80:
        return np.int64(byte)
    if byte < 0xE0:
        return np.int64(byte & 0x1F) << 6 | np.int64(values[np.uint64(position + 1)] & 0x3F)
    if byte < 0xF0:
        return (
            np.int64(byte & 0x0F) << 12
            | np.int64(values[np.uint64(position + 1)] & 0x3F) << 6
            | np.int64(values[np.uint64(position + 2)] & 0x3F)
        )
    return (
        np.int64(byte & 0x07) << 18
        | np.int64(values[np.uint64(position + 1)] & 0x3F) << 12
        | np.int64(values[np.uint64(position + 2)] & 0x3F) << 6
        | np.int64(values[np.uint64(position + 3)] & 0x3F)
    )
