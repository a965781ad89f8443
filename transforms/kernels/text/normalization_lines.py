"""The compiled pass of ``transforms.kernels.text.normalization`` over white space within lines and between them."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from transforms.kernels.text.normalization_passes import Bytes, Offsets, append, is_blank, is_line_end
from transforms.kernels.text.utf8 import bytes_equal, code_point_at, is_plain_ascii, load_word, sequence_length

_SPACES = np.uint64(0x2020202020202020)


@numba.njit(cache=True, inline="always")
def _is_surely_content(byte: int) -> bool:
    """Whether a byte is no white space, and begins none: that begins with 0xC2 or 0xE1 to 0xE3 beyond ASCII."""
    return byte > 0x20 and byte != 0xC2 and not 0xE1 <= byte <= 0xE3


@numba.njit(cache=True, nogil=True)
def edit_lines(
    values: Bytes,
    offsets: Offsets,
    todo: npt.NDArray[np.bool_],
    strip: bool,
    max_spaces: int,
    max_line_ends: int,
    output: Bytes,
    output_offsets: Offsets,
) -> bool:
    """The rules about white space within lines and between them (``Normalization``); 0: no bound.

    Args:
      output: room for the result, as long as the input.
      output_offsets: where to put the offsets of the result.

    Returns:
      Whether anything was edited. If not, `output` wasn't written to; the result is the input.
    """
    written = 0
    pending = offsets[0]
    single = 0 < max_spaces < 14
    for row in range(len(todo)):
        position, end = offsets[row], offsets[row + 1]
        output_offsets[row] = written + position - pending
        if not todo[row]:
            continue
        white_start = written + position - pending  # of the white space that the line ends with so far
        in_white = False
        indenting = True
        spaces = line_ends = 0
        while position < end:
            byte = values[np.uint64(position)]
            if _is_surely_content(byte):
                # Content. A row of words of it has at most 14 spaces in a row, with `single` one.
                position += 1
                last_is_space = np.uint64(0)
                while position + 8 <= end:
                    word = load_word(values, position)
                    if not is_plain_ascii(word):
                        break
                    if single:
                        spaces_found = bytes_equal(word, _SPACES)
                        if spaces_found & (spaces_found << np.uint64(8) | last_is_space):
                            break
                        last_is_space = spaces_found >> np.uint64(56)
                    position += 8
                while position < end and _is_surely_content(values[np.uint64(position)]):
                    position += 1
                while values[np.uint64(position - 1)] == 0x20:
                    position -= 1
                in_white = indenting = False
                spaces = line_ends = 0
                continue
            code_point = code_point_at(values, position)
            here = written + position - pending
            position += sequence_length(byte)
            if code_point == 0x0A:
                if not (strip and in_white):
                    white_start = here
                in_white = False
                indenting = True
                spaces = 0
                line_ends += 1
                if max_line_ends and line_ends > max_line_ends:
                    written = append(values, pending, output, written, white_start)
                    pending = position
                elif white_start < here:
                    written = append(values, pending, output, written, white_start)
                    pending = position - 1
                continue
            line_end = is_line_end(code_point)
            if not line_end and not is_blank(code_point):
                in_white = indenting = False
                spaces = line_ends = 0
                continue
            if not in_white:
                white_start = here
                in_white = True
            if not strip:
                line_ends = 0
            if line_end:
                indenting = True
            if line_end or code_point == 0x09:
                spaces = 0
            elif not indenting:
                spaces += 1
                if max_spaces and spaces > max_spaces:
                    written = append(values, pending, output, written, here)
                    pending = position
        if strip and in_white and written + end - pending > white_start:
            written = append(values, pending, output, written, white_start)
            pending = end

    length = written + offsets[-1] - pending
    output_offsets[-1] = length
    if pending == offsets[0]:
        return False
    append(values, pending, output, written, length)
    return True
