"""The compiled passes of ``transforms.kernels.text.normalization`` that look at characters.

All take the bytes of the column and where each text starts and ends in it. Those that edit copy late and in one go:
bytes from `pending` to `position` belong to the output but aren't there yet, so that `written + position - pending` is
the length of the output if the text ended here. Positions in the output are kept in that measure.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from transforms.kernels.text.unicode_tables import (
    DROPPED,
    LINE_END,
    MAYBE,
    NOT_NFC,
    RETURN,
    character_properties,
    composes,
)
from transforms.kernels.text.utf8 import (
    bytes_equal,
    code_point_at,
    has_controls,
    has_nul_or_return,
    is_ascii,
    load_word,
    sequence_length,
)

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int64]

# unicodedata sorts the marks of a character by insertion, quadratic in their number. Runs above the bound of the
# Stream-Safe Text Format (UAX 15, section 13) are sorted first; no language comes near it.
MAX_MARKS = 30

# Flags of a text: characters are dropped or replaced; NFC may change it; it has a run of more than MAX_MARKS.
EDITED = 1
NOT_COMPOSED = 2
MANY_MARKS = 4

KEEP, UNIFORM, ALL = range(3)


@numba.njit(cache=True, inline="always")
def is_line_end(code_point: int) -> bool:
    """Whether a character is in ``LINE_ENDS``."""
    return 0x0A <= code_point <= 0x0D or code_point == 0x85 or code_point == 0x2028 or code_point == 0x2029


@numba.njit(cache=True, inline="always")
def is_blank(code_point: int) -> bool:
    """Whether a character is in ``BLANKS``."""
    if code_point < 0x1680:
        return code_point == 0x20 or code_point == 0x09 or code_point == 0xA0
    if 0x2000 <= code_point <= 0x200A:
        return True
    return code_point == 0x1680 or code_point == 0x202F or code_point == 0x205F or code_point == 0x3000


@numba.njit(cache=True, inline="always")
def is_white(code_point: int) -> bool:
    """Whether a character is white space."""
    return is_blank(code_point) or is_line_end(code_point)


@numba.njit(cache=True)
def append(values: Bytes, pending: int, output: Bytes, written: int, length: int) -> int:
    """Makes the output `length` bytes long: appends bytes from `pending` on, or takes back the last ones written."""
    # Unsigned indices need no check for being negative; with the check this copied a byte at a time.
    source, target = np.uint64(pending), np.uint64(written)
    for i in range(np.uint64(max(0, length - written))):
        output[target + i] = values[source + i]
    return length


@numba.njit(cache=True)
def _begins_with_mark(
    values: Bytes, position: int, end: int, blocks: npt.NDArray[np.uint16], properties: npt.NDArray[np.uint32]
) -> bool:
    """Whether U+FEFF comes first, or with nothing but white space and DROPPED characters before it."""
    while position < end:
        code_point = code_point_at(values, position)
        if code_point == 0xFEFF:
            return True
        if not is_white(code_point) and not character_properties(blocks, properties, code_point) & DROPPED:
            return False
        position += sequence_length(values[np.uint64(position)])
    return False


@numba.njit(cache=True, nogil=True)
def find_visible(
    values: Bytes, starts: Offsets, ends: Offsets, blocks: npt.NDArray[np.uint16], properties: npt.NDArray[np.uint32]
) -> npt.NDArray[np.bool_]:
    """Whether each text has a character that is neither white space nor DROPPED by the table."""
    found = np.zeros(len(starts), np.bool_)
    for row in range(len(starts)):
        position = starts[row]
        while position < ends[row]:
            code_point = code_point_at(values, position)
            if not is_white(code_point) and not character_properties(blocks, properties, code_point) & DROPPED:
                found[row] = True
                break
            position += sequence_length(values[np.uint64(position)])
    return found


@numba.njit(cache=True, nogil=True)
def trim_ends(
    values: Bytes,
    starts: Offsets,
    ends: Offsets,
    todo: npt.NDArray[np.bool_],
    blocks: npt.NDArray[np.uint16],
    properties: npt.NDArray[np.uint32],
    drop_mark: bool,
) -> bool:
    """Moves starts behind the last line end before the first content, ends behind the last content.

    What is dropped counts as nothing, and so does a byte order mark before content if ``drop_mark``.

    Returns:
      Whether any was moved.
    """
    moved = False
    for row in range(len(todo)):
        if not todo[row]:
            continue
        position, end = starts[row], ends[row]
        start = position
        while position < end:
            code_point = code_point_at(values, position)
            nothing = character_properties(blocks, properties, code_point) & DROPPED
            if not (nothing or is_white(code_point) or (drop_mark and code_point == 0xFEFF)):
                break
            position += sequence_length(values[np.uint64(position)])
            if is_line_end(code_point):
                start = position
        if position == end:
            start = end
        while end > position:
            before = end - 1
            while values[np.uint64(before)] & 0xC0 == 0x80:
                before -= 1
            code_point = code_point_at(values, before)
            nothing = character_properties(blocks, properties, code_point) & DROPPED
            if not (nothing or is_white(code_point)):
                break
            end = before
        moved |= start != starts[row] or end != ends[row]
        starts[row], ends[row] = start, end
    return moved


@numba.njit(cache=True, nogil=True)
def find_controls(
    values: Bytes,
    starts: Offsets,
    ends: Offsets,
    todo: npt.NDArray[np.bool_],
    blocks: npt.NDArray[np.uint16],
    properties: npt.NDArray[np.uint32],
    drop_mark: bool,
    flags: Bytes,
) -> bool:
    """Flags EDITED where the rules are about NUL, CR and byte order marks only: the defaults and less.

    Returns:
      Whether any text was flagged.
    """
    found = False
    for row in range(len(todo)):
        if not todo[row]:
            continue
        position, end = starts[row], ends[row]
        edited = drop_mark and _begins_with_mark(values, position, end, blocks, properties)
        while position < end and not edited:
            while position + 8 <= end and not has_nul_or_return(load_word(values, position)):
                position += 8
            stop = min(position + 8, end)
            while position < stop:
                byte = values[np.uint64(position)]
                if byte < 0x80 and properties[byte]:
                    edited = True
                    break
                position += 1
        if edited:
            flags[row] |= EDITED
            found = True
    return found


@numba.njit(cache=True, nogil=True)
def find_all(
    values: Bytes,
    starts: Offsets,
    ends: Offsets,
    todo: npt.NDArray[np.bool_],
    blocks: npt.NDArray[np.uint16],
    properties: npt.NDArray[np.uint32],
    pairs: npt.NDArray[np.uint64],
    drop_mark: bool,
    flags: Bytes,
) -> bool:
    """Flags EDITED, and NOT_COMPOSED and MANY_MARKS of what is left once the characters to drop are gone.

    Whether NFC may change a text is the quick check of UAX 15, section 9, with one refinement: a character that might
    compose ("Maybe") fails only if it really composes with the last starter.

    Returns:
      Whether any text was flagged as EDITED.
    """
    found = False
    for row in range(len(todo)):
        if not todo[row]:
            continue
        position, end = starts[row], ends[row]
        edited = drop_mark and _begins_with_mark(values, position, end, blocks, properties)
        starter: int | np.int64 = 0
        trailing_class: int | np.int64 = 0
        marks = 0
        while position < end:
            byte = values[np.uint64(position)]
            if byte < 0x80 and properties[byte] == 0:
                position += 1
                while position + 8 <= end:
                    word = load_word(values, position)
                    if has_controls(word) or not is_ascii(word):
                        break
                    position += 8
                while position < end and 0x20 <= values[np.uint64(position)] < 0x7F:
                    position += 1
                starter = np.int64(values[np.uint64(position - 1)])
                trailing_class = marks = 0
                continue
            code_point = code_point_at(values, position)
            character = character_properties(blocks, properties, code_point)
            position += sequence_length(byte)
            if character == 0:
                starter = code_point
                trailing_class = marks = 0
                continue
            if character & (DROPPED | LINE_END | RETURN):
                edited = True
                if not character & DROPPED:
                    starter = trailing_class = marks = 0
                continue
            leading_class = np.int64(character >> 8 & 0xFF)
            if character & NOT_NFC or (character & MAYBE and composes(pairs, starter, code_point)):
                flags[row] |= NOT_COMPOSED
            if leading_class == 0:
                starter = code_point
                marks = 0
            else:
                marks += 1
                if leading_class < trailing_class:
                    flags[row] |= NOT_COMPOSED
                if marks > MAX_MARKS:
                    flags[row] |= MANY_MARKS
            trailing_class = np.int64(character & 0xFF)
        if edited:
            flags[row] |= EDITED
            found = True
    return found


@numba.njit(cache=True)
def _content_start(
    values: Bytes, position: int, end: int, blocks: npt.NDArray[np.uint16], properties: npt.NDArray[np.uint32]
) -> int:
    """Where the white space, the byte order marks and the DROPPED characters end that a text begins with."""
    while position < end:
        code_point = code_point_at(values, position)
        if not (is_white(code_point) or code_point == 0xFEFF) and not (
            character_properties(blocks, properties, code_point) & DROPPED
        ):
            break
        position += sequence_length(values[np.uint64(position)])
    return position


@numba.njit(cache=True)
def _line_feed_follows(
    values: Bytes,
    position: int,
    end: int,
    content_start: int,
    blocks: npt.NDArray[np.uint16],
    properties: npt.NDArray[np.uint32],
) -> bool:
    """Whether the next character is LF, not counting what is DROPPED and byte order marks before `content_start`."""
    while position < end:
        byte = values[np.uint64(position)]
        if byte == 0x0A:
            return True
        code_point = code_point_at(values, position)
        if not (code_point == 0xFEFF and position < content_start) and not (
            character_properties(blocks, properties, code_point) & DROPPED
        ):
            return False
        position += sequence_length(byte)
    return False


@numba.njit(cache=True)
def _is_plain_windows_text(values: Bytes, position: int, end: int) -> bool:
    """Whether every LF comes right after a CR and every CR right before an LF, and there is no NUL."""
    after_return = np.uint64(0)
    while position + 8 <= end:
        word = load_word(values, position)
        returns = bytes_equal(word, np.uint64(0x0D0D0D0D0D0D0D0D))
        line_feeds = bytes_equal(word, np.uint64(0x0A0A0A0A0A0A0A0A))
        if line_feeds != returns << np.uint64(8) | after_return or bytes_equal(word, np.uint64(0)):
            return False
        after_return = returns >> np.uint64(56)
        position += 8
    expects = after_return != 0
    for i in range(np.uint64(position), np.uint64(end)):
        if (values[i] == 0x0A) != expects or values[i] == 0:
            return False
        expects = values[i] == 0x0D
    return not expects


@numba.njit(cache=True)
def _uses_one_line_end(
    values: Bytes,
    position: int,
    end: int,
    content_start: int,
    blocks: npt.NDArray[np.uint16],
    properties: npt.NDArray[np.uint32],
) -> bool:
    """Whether every line of a text ends in CR LF, or every line in CR, but for what is dropped."""
    line_feeds = returns = pairs = 0
    for i in range(position, end):
        byte = values[np.uint64(i)]
        line_feeds += byte == 0x0A
        if byte == 0x0D:
            returns += 1
            pairs += _line_feed_follows(values, i + 1, end, content_start, blocks, properties)
    return line_feeds == 0 or returns == line_feeds == pairs


@numba.njit(cache=True)
def _append_without_returns(values: Bytes, position: int, end: int, output: Bytes, written: int) -> int:
    """Copies bytes but CR; the length of the output then."""
    for i in range(np.uint64(position), np.uint64(end)):
        output[np.uint64(written)] = values[i]
        written += values[i] != 0x0D
    return written


@numba.njit(cache=True, nogil=True)
def edit_characters(
    values: Bytes,
    starts: Offsets,
    ends: Offsets,
    flags: Bytes,
    blocks: npt.NDArray[np.uint16],
    properties: npt.NDArray[np.uint32],
    line_ends: int,
    drop_mark: bool,
    beyond_ascii: bool,
    output: Bytes,
    output_offsets: Offsets,
) -> None:
    """Drops characters and replaces line ends in the texts flagged EDITED; copies the others.

    Args:
      line_ends: KEEP, UNIFORM or ALL.
      drop_mark: whether U+FEFF with nothing but white space before it is dropped.
      beyond_ascii: whether the table drops or replaces any character beyond ASCII.
      output: room for the result, as long as the input.
      output_offsets: where to put the offsets of the result.
    """
    written = 0
    pending = starts[0] if len(starts) else 0
    for row in range(len(starts)):
        position, end = starts[row], ends[row]
        if pending < position:  # the end of the text before or the start of this one is left out
            pending = position
        output_offsets[row] = written + position - pending
        if flags[row] & EDITED:
            content_start = _content_start(values, position, end, blocks, properties) if drop_mark else position
            replace = line_ends == ALL
            if line_ends == UNIFORM:
                marked = drop_mark and _begins_with_mark(values, position, end, blocks, properties)
                if not marked and not beyond_ascii and _is_plain_windows_text(values, position, end):
                    written = append(values, pending, output, written, written + position - pending)
                    written = _append_without_returns(values, position, end, output, written)
                    pending = end
                    continue
                replace = _uses_one_line_end(values, position, end, content_start, blocks, properties)
            while position < end:
                if position >= content_start:
                    while position + 8 <= end:
                        word = load_word(values, position)
                        if has_nul_or_return(word) or (beyond_ascii and (has_controls(word) or not is_ascii(word))):
                            break
                        position += 8
                    while position < end and 0x20 <= values[np.uint64(position)] < 0x7F:
                        position += 1
                    if position == end:
                        break
                byte = values[np.uint64(position)]
                if not beyond_ascii and byte >= 0x80 and position >= content_start:  # may be within a sequence
                    position += 1
                    continue
                if byte == 0x0D and replace and position + 1 < end and values[np.uint64(position + 1)] == 0x0A:
                    written = append(values, pending, output, written, written + position - pending)
                    position += 1
                    pending = position
                    continue
                code_point = code_point_at(values, position)
                character = character_properties(blocks, properties, code_point)
                here = written + position - pending
                dropped = character & DROPPED != 0 or (code_point == 0xFEFF and position < content_start)
                position += sequence_length(byte)
                if dropped:
                    written = append(values, pending, output, written, here)
                    pending = position
                    continue
                if character & LINE_END or (character & RETURN and replace):
                    written = append(values, pending, output, written, here)
                    pending = position
                    if character & RETURN and _line_feed_follows(
                        values, position, end, content_start, blocks, properties
                    ):
                        continue
                    output[written] = 0x0A
                    written += 1
        length = written + end - pending
        written = append(values, pending, output, written, length)
        pending = end
    output_offsets[-1] = written
