"""Normalization of texts: what is stored, hashed and tokenized. It stays readable text, and is a fixed point.

The rules, in order:

1. Line ends: CR LF, CR, VT, FF, U+0085, U+2028, U+2029 become LF.
2. Junk goes: control characters (Cc) but tab and LF, and what is invisible and carries no spelling: U+00AD, U+180E,
   U+200B, U+200E, U+200F, U+202A-U+202E, U+2060-U+2064, U+2066-U+206F, U+FEFF, U+FFF9-U+FFFB. The joiners U+200C and
   U+200D, variation selectors and tag characters stay: they carry spelling and emoji. Junk goes before composition,
   so a base and a mark which it parted compose.
3. Unicode normalization form C (UAX 15), in the version ``UNICODE_VERSION``.
4. Blanks (space, tab, U+00A0, U+1680, U+2000-U+200A, U+202F, U+205F, U+3000) at the end of a line go; a run of more
   than 16 is cut to its first 16, so indentation of code survives. Nothing is replaced: a tab stays a tab.
5. More than two LF in a row are cut to two, one blank line. Blanks and LF at both ends of the document go.

Rules 4 and 5 may be applied before or after 3: LF and blanks are starters that neither compose with anything nor stand
in the decomposition of anything but a blank (U+2000 and U+2001 become U+2002 and U+2003). So one compiled pass over the
UTF-8 bytes applies 1, 2, 4 and 5 and checks what it writes for 3; only documents that fail the check are composed,
by `unicodedata`. The check is the quick check of UAX 15, section 9, with one refinement: a character that might
compose ("Maybe") fails only if it really composes with the last starter.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.kernels.unicode_tables import (
    BLANK,
    BLANKS,
    JUNK,
    JUNK_CHARACTERS,
    LINE_END,
    LINE_ENDS,
    MAYBE,
    NOT_NFC,
    character_properties,
    combining_classes,
    composes,
    unicode_tables,
)
from transforms.kernels.utf8 import is_plain_ascii, load_word

UNICODE_VERSION = unicodedata.unidata_version

MAX_BLANKS = 16
MAX_LINE_ENDS = 2
# unicodedata sorts the marks of a character by insertion, quadratic in their number. Runs above the bound of the
# Stream-Safe Text Format (UAX 15, section 13) are sorted here first; no language comes near it.
MAX_MARKS = 30

# What the 32-bit offsets of a string array can tell.
_MAX_STRING_BYTES = 2**31 - 1

# Flags of a document: NFC may change it; it has a run of more than MAX_MARKS.
_NOT_COMPOSED = 1
_MANY_MARKS = 2

_LINE_END = re.compile(f"\r\n|[{LINE_ENDS}]")
_JUNK = re.compile(f"[{re.escape(JUNK_CHARACTERS)}]")
_LONG_BLANKS = re.compile(f"([{BLANKS}]{{{MAX_BLANKS}}})[{BLANKS}]+")
_MANY_LINE_ENDS = re.compile(f"\n{{{MAX_LINE_ENDS + 1},}}")


def normalize_reference(text: str) -> str:
    """One text, one rule after another: slow and obvious, the definition of ``normalize``."""
    text = _LINE_END.sub("\n", text)
    text = _JUNK.sub("", text)
    text = unicodedata.normalize("NFC", text)
    text = "\n".join(line.rstrip(BLANKS) for line in text.split("\n"))
    text = _LONG_BLANKS.sub(r"\1", text)
    text = _MANY_LINE_ENDS.sub("\n" * MAX_LINE_ENDS, text)
    return text.strip(BLANKS + "\n")


def normalize(text: pa.StringArray, clean: npt.NDArray[np.bool_] | None = None) -> pa.StringArray:
    """Normalizes every text of a column by the rules of this module.

    Equal to ``normalize_reference`` on every text. Time and memory are proportional to the bytes, whatever they are.
    Measured on one core: 300 MB/s on the raw 500-language corpus of FACTS, 600 once it is normalized (text that is
    clean already is only read), 2,600 on clean ASCII in lines; the reference does 18, pyarrow's
    ``utf8_normalize`` alone 64.

    Args:
      text: string or large_string, valid UTF-8; may be a slice.
      clean: one a text: whether it is known to be normalized. Such a text isn't looked at.

    Returns:
      An array of the same type, length and nulls; a text of which nothing is left is "". It is ``text`` itself if that
      was normalized already.

    Raises:
      TypeError: ``text`` isn't an array of strings.
      ValueError: composing made a string array longer than its 32-bit offsets can tell.
    """
    if not isinstance(text, pa.StringArray | pa.LargeStringArray):
        raise TypeError(
            f"text: normalize takes a string or large_string array, not {getattr(text, 'type', type(text))}"
        )
    if len(text) == text.null_count or (clean is not None and clean.all()):
        return text
    offset_type: type[np.signedinteger] = np.int32 if pa.types.is_string(text.type) else np.int64
    _, offsets_buffer, values_buffer = text.buffers()
    offsets = np.frombuffer(offsets_buffer, offset_type)[text.offset : text.offset + len(text) + 1].astype(np.int64)
    if offsets[0] == offsets[-1]:
        return text
    values = np.frombuffer(values_buffer, np.uint8)
    values.flags.writeable = False  # one compiled version, whether or not Arrow says that the buffer may be written
    valid = text.is_valid().to_numpy(zero_copy_only=False)

    # Pages of `output` that are never written to cost nothing.
    output = np.empty(offsets[-1] - offsets[0], np.uint8)
    output_offsets: npt.NDArray[np.int64] = np.empty(len(offsets), np.int64)
    flags = np.zeros(len(text), np.uint8)
    passed = np.zeros(len(text), np.bool_) if clean is None else clean
    edited = _clean(values, offsets, valid, passed, *unicode_tables(), output, output_offsets, flags)
    cleaned = output[: output_offsets[-1]] if edited else values[offsets[0] : offsets[-1]]
    composed = _compose(cleaned, output_offsets, flags)
    if not edited and not composed:
        return text

    result: npt.NDArray[np.uint8] | bytes = cleaned
    if composed:
        result, output_offsets = _replace(cleaned, output_offsets, composed)
    if output_offsets[-1] > _MAX_STRING_BYTES and offset_type is np.int32:
        raise ValueError(
            f"text: {len(text)} texts of {offsets[-1] - offsets[0]} bytes have {output_offsets[-1]} bytes in NFC, too "
            "many for a string array: give smaller batches or large_string"
        )
    validity = pa.py_buffer(np.packbits(valid, bitorder="little")) if text.null_count else None
    buffers = [validity, pa.py_buffer(output_offsets.astype(offset_type)), pa.py_buffer(result)]
    return pa.Array.from_buffers(text.type, len(text), buffers, text.null_count)


def _compose(
    values: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], flags: npt.NDArray[np.uint8]
) -> dict[int, bytes]:
    """NFC of the flagged rows that it changes, by row in order."""
    composed = {}
    for row in np.flatnonzero(flags & _NOT_COMPOSED).tolist():
        text = values[offsets[row] : offsets[row + 1]].tobytes().decode()
        ordered = _order_marks(text) if flags[row] & _MANY_MARKS else text
        normalized = unicodedata.normalize("NFC", ordered)
        if normalized != text:
            composed[row] = normalized.encode()
    return composed


def _replace(
    values: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], replacements: dict[int, bytes]
) -> tuple[bytes, npt.NDArray[np.int64]]:
    """The values and offsets with some rows replaced."""
    lengths = np.diff(offsets)
    pieces: list[Any] = []
    copied = 0
    for row, replacement in replacements.items():
        pieces += (values[copied : offsets[row]], replacement)
        copied = offsets[row + 1]
        lengths[row] = len(replacement)
    pieces.append(values[copied : offsets[-1]])
    return b"".join(pieces), np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


def _order_marks(text: str) -> str:
    """A canonically equivalent text with the long runs of marks decomposed and sorted by class, in linear time."""
    decompositions = {character: unicodedata.normalize("NFD", character) for character in set(text)}
    marks = {
        ord(mark): decomposed for mark, decomposed in decompositions.items() if unicodedata.combining(decomposed[0])
    }
    code_points = np.frombuffer(text.translate(marks).encode("utf-32-le"), np.uint32).copy()
    classes = combining_classes(code_points)
    runs = np.flatnonzero(np.diff(classes > 0, prepend=False, append=False)).reshape(-1, 2)
    for start, end in runs[runs[:, 1] - runs[:, 0] > MAX_MARKS].tolist():
        order = np.argsort(classes[start:end], kind="stable")  # a radix sort, for bytes
        code_points[start:end] = code_points[start:end][order]
    return code_points.tobytes().decode("utf-32-le")


@numba.njit(cache=True)
def _settle(
    values: npt.NDArray[np.uint8], pending: int, output: npt.NDArray[np.uint8], written: int, length: int
) -> int:
    """Makes the output `length` bytes long: appends bytes from `pending` on, or takes back the last ones written."""
    # Unsigned indices need no check for being negative; with the check this copied a byte at a time.
    source, target = np.uint64(pending), np.uint64(written)
    for i in range(np.uint64(max(0, length - written))):
        output[target + i] = values[source + i]
    return length


@numba.njit(cache=True, nogil=True)
def _clean(
    values: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    valid: npt.NDArray[np.bool_],
    passed: npt.NDArray[np.bool_],
    blocks: npt.NDArray[np.uint16],
    properties: npt.NDArray[np.uint32],
    pairs: npt.NDArray[np.uint64],
    output: npt.NDArray[np.uint8],
    output_offsets: npt.NDArray[np.int64],
    flags: npt.NDArray[np.uint8],
) -> bool:
    """Rules 1, 2, 4, 5 on all rows, and the check for 3.

    What is kept is copied late and in one go: bytes from `pending` to `position` belong to the output but aren't there
    yet, so that `written + position - pending` is the length of the output if the text ended here. Positions in the
    output (`line_end`, `content_end`) are kept in that measure. If nothing is edited, nothing is copied.

    Args:
      values, offsets, valid: the texts.
      passed: those that are normalized already.
      blocks, properties, pairs: see ``UnicodeTables``.
      output: room for the result, as long as the input.
      output_offsets: where to put the offsets of the result.
      flags: zeros; where to put _NOT_COMPOSED and _MANY_MARKS.

    Returns:
      Whether anything was edited. If not, `output` wasn't written to; the result is the input.
    """
    written = 0
    pending = offsets[0]
    for row in range(len(valid)):
        position = offsets[row]
        end = offsets[row + 1]
        row_start = written + position - pending
        output_offsets[row] = row_start
        if passed[row]:
            continue
        if not valid[row]:
            if position < end:  # a null may have bytes
                written = _settle(values, pending, output, written, row_start)
                pending = end
            continue

        # Nothing may come before the first content: as if as many blanks and line ends as can be had just been.
        blanks = MAX_BLANKS
        line_ends = MAX_LINE_ENDS
        line_end = row_start  # where the output is cut if the line ends after the present run of blanks
        content_end = row_start  # where it is cut if the document does
        starter: int | np.int64 = 0
        trailing_class: int | np.int64 = 0
        marks = 0
        while position < end:
            byte = values[np.uint64(position)]
            if 0x20 < byte < 0x7F:
                while position + 8 <= end and is_plain_ascii(load_word(values, position)):
                    position += 8
                while position < end and 0x20 < values[np.uint64(position)] < 0x7F:
                    position += 1
                while values[np.uint64(position - 1)] == 0x20:  # at most 7
                    position -= 1
                starter = np.int64(values[np.uint64(position - 1)])
                trailing_class = marks = blanks = line_ends = 0
                continue
            if byte < 0x80:
                size = 1
                code_point = np.int64(byte)
            elif byte < 0xE0:
                size = 2
                code_point = np.int64(byte & 0x1F) << 6 | np.int64(values[np.uint64(position + 1)] & 0x3F)
            elif byte < 0xF0:
                size = 3
                code_point = (
                    np.int64(byte & 0x0F) << 12
                    | np.int64(values[np.uint64(position + 1)] & 0x3F) << 6
                    | np.int64(values[np.uint64(position + 2)] & 0x3F)
                )
            else:
                size = 4
                code_point = (
                    np.int64(byte & 0x07) << 18
                    | np.int64(values[np.uint64(position + 1)] & 0x3F) << 12
                    | np.int64(values[np.uint64(position + 2)] & 0x3F) << 6
                    | np.int64(values[np.uint64(position + 3)] & 0x3F)
                )
            character = character_properties(blocks, properties, code_point)
            if character == 0:
                starter = code_point
                trailing_class = marks = blanks = line_ends = 0
                position += size
                continue

            if character & NOT_NFC:
                flags[row] |= _NOT_COMPOSED
            if not character & (BLANK | LINE_END | JUNK):
                leading_class = np.int64(character >> 8 & 0xFF)
                if character & MAYBE and composes(pairs, starter, code_point):
                    flags[row] |= _NOT_COMPOSED
                if leading_class == 0:
                    starter = code_point
                    marks = 0
                else:
                    marks += 1
                    if leading_class < trailing_class:
                        flags[row] |= _NOT_COMPOSED
                    if marks > MAX_MARKS:
                        flags[row] |= _MANY_MARKS
                trailing_class = np.int64(character & 0xFF)
                blanks = line_ends = 0
                position += size
                continue

            here = written + position - pending
            position += size
            if character & JUNK or (byte == 0x0D and position < end and values[position] == 0x0A):
                written = _settle(values, pending, output, written, here)
                pending = position
                continue
            starter = trailing_class = marks = 0
            if blanks == 0 and line_ends == 0:
                content_end = here
            if character & BLANK:
                if blanks == 0:
                    line_end = here
                if blanks == MAX_BLANKS:
                    written = _settle(values, pending, output, written, here)
                    pending = position
                else:
                    blanks += 1
                continue
            if blanks == 0:
                line_end = here
            if line_ends == MAX_LINE_ENDS:
                written = _settle(values, pending, output, written, line_end)
                pending = position
                blanks = MAX_BLANKS if line_end == row_start else 0
                continue
            if blanks > 0 or byte != 0x0A:
                written = _settle(values, pending, output, written, line_end)
                output[written] = 0x0A
                written += 1
                pending = position
            blanks = 0
            line_ends += 1

        if (blanks > 0 or line_ends > 0) and written + end - pending > content_end:
            written = _settle(values, pending, output, written, content_end)
            pending = end

    length = written + offsets[-1] - pending
    output_offsets[-1] = length
    if pending == offsets[0]:
        return False
    _settle(values, pending, output, written, length)
    return True
