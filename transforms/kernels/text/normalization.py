"""Normalization of texts: what is stored, hashed and tokenized (docs/normalization.md: every rule with its reason).

A normalized text means what it meant: code compiles, tables keep their columns, words their spelling. So by default
only what is a property of the file, not of the text, goes: line ends of another system, a byte order mark, NUL. All
else is an option. Normalizing is a fixed point under every ``Normalization``: twice is once.

The rules that look at characters find out in one pass over the bytes whether a text has anything to do, and only such
a text is edited. Only texts that fail the quick check of UAX 15 are composed, by `unicodedata`. The rules about white
space within and between lines are a pass of their own, which none of the defaults needs.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.kernels.text import normalization_passes as passes
from transforms.kernels.text.normalization_lines import edit_lines
from transforms.kernels.text.normalization_passes import MANY_MARKS, MAX_MARKS, NOT_COMPOSED
from transforms.kernels.text.options import BYTE_ORDER_MARK, DEFAULT, DROPPABLE, EVERYTHING, OFF, Normalization
from transforms.kernels.text.unicode_tables import (
    BLANKS,
    LINE_ENDS,
    UnicodeTables,
    combining_classes,
    unicode_tables,
)

__all__ = [
    "DEFAULT",
    "EVERYTHING",
    "OFF",
    "UNICODE_VERSION",
    "Normalization",
    "has_content",
    "normalize",
    "normalize_reference",
]

UNICODE_VERSION = unicodedata.unidata_version

# What the 32-bit offsets of a string array can tell.
_MAX_STRING_BYTES = 2**31 - 1

_SPACES = BLANKS.replace("\t", "")
_WHITE_SPACE = BLANKS + LINE_ENDS
_LINE_ENDS_KEPT = LINE_ENDS.replace("\n", "")
_STYLES = {"keep": passes.KEEP, "uniform": passes.UNIFORM, "all": passes.ALL}


def normalize_reference(text: str, options: Normalization = DEFAULT) -> str:
    """One text, one rule after another: slow and obvious, the definition of ``normalize``."""
    for name in options.drop:
        for first, last in DROPPABLE[name]:
            text = re.sub(f"[{re.escape(chr(first))}-{re.escape(chr(last))}]", "", text)
    if BYTE_ORDER_MARK in options.drop:
        content = text.lstrip(_WHITE_SPACE + "\ufeff")
        text = text[: len(text) - len(content)].replace("\ufeff", "") + content
    if options.trim:
        text = text.rstrip(_WHITE_SPACE)
        content = text.lstrip(_WHITE_SPACE)
        before = text[: len(text) - len(content)]
        text = re.split(f"[{LINE_ENDS}]", before)[-1] + content
    if options.line_ends == "all":
        text = re.sub(f"\r\n|[{LINE_ENDS}]", "\n", text)
    elif options.line_ends == "uniform":
        returns, line_feeds, both = text.count("\r"), text.count("\n"), text.count("\r\n")
        if line_feeds == 0 or returns == line_feeds == both:
            text = re.sub("\r\n|\r", "\n", text)
    if options.nfc:
        text = unicodedata.normalize("NFC", text)
    if options.strip_lines:
        text = "\n".join(line.rstrip(BLANKS + _LINE_ENDS_KEPT) for line in text.split("\n"))
    if options.max_blanks:
        long = re.compile(f"([{_SPACES}]{{{options.max_blanks}}})[{_SPACES}]+")
        parts = re.split(f"([{LINE_ENDS}])", text)
        for i, part in enumerate(parts):
            content = part.lstrip(BLANKS)
            parts[i] = part[: len(part) - len(content)] + long.sub(r"\1", content)
        text = "".join(parts)
    if options.max_blank_lines:
        most = options.max_blank_lines + 1
        text = re.sub(f"\n{{{most + 1},}}", "\n" * most, text)
    return text


def normalize(
    text: pa.StringArray, options: Normalization = DEFAULT, known: npt.NDArray[np.bool_] | None = None
) -> pa.StringArray:
    """Normalizes every text of a column.

    Equal to ``normalize_reference`` on every text. Time and memory are proportional to the bytes, whatever they are.

    Args:
      text: string or large_string, valid UTF-8; may be a slice.
      options: the rules.
      known: one a text: whether it is known to be normalized. Such a text isn't looked at.

    Returns:
      An array of the same type, length and nulls. It is ``text`` itself if nothing in it might have to change.

    Raises:
      TypeError: ``text`` isn't an array of strings.
      ValueError: composing made a string array longer than its 32-bit offsets can tell.
    """
    offset_type, values, offsets = _buffers(text)
    if offsets[0] == offsets[-1] or options == OFF or (known is not None and known.all()):
        return text
    todo = text.is_valid().to_numpy(zero_copy_only=False) & (np.diff(offsets) > 0)
    if known is not None:
        todo &= ~known

    flags = np.zeros(len(text), np.uint8)
    result, new_offsets = _edit_characters(values, offsets, todo, options, flags)
    if options.nfc and (composed := _compose(result, new_offsets, flags)):
        result, new_offsets = _replace(result, new_offsets, composed)
    if options.strip_lines or options.max_blanks or options.max_blank_lines:
        most = options.max_blank_lines + 1 if options.max_blank_lines else 0
        output, output_offsets = _room(new_offsets)
        if edit_lines(result, new_offsets, todo, options.strip_lines, options.max_blanks, most, output, output_offsets):
            result, new_offsets = _read_only(output[: output_offsets[-1]]), output_offsets
    if result is values:
        return text
    if new_offsets[-1] > _MAX_STRING_BYTES and offset_type is np.int32:
        raise ValueError(
            f"text: {len(text)} texts of {offsets[-1] - offsets[0]} bytes have {new_offsets[-1]} bytes in NFC, too "
            "many for a string array: give smaller batches or large_string"
        )
    valid = text.is_valid().to_numpy(zero_copy_only=False)
    validity = pa.py_buffer(np.packbits(valid, bitorder="little")) if text.null_count else None
    buffers = [validity, pa.py_buffer(new_offsets.astype(offset_type)), pa.py_buffer(result)]
    return pa.Array.from_buffers(text.type, len(text), buffers, text.null_count)


def has_content(text: pa.StringArray) -> npt.NDArray[np.bool_]:
    """Whether each text has anything to see: a character that is neither white space nor in ``DROPPABLE``.

    A null has none. Reads no further than the first such character.
    """
    _, values, offsets = _buffers(text)
    tables = unicode_tables(False, tuple(DROPPABLE))
    found = passes.find_visible(values, offsets[:-1], offsets[1:], tables.blocks, tables.properties)
    return found & text.is_valid().to_numpy(zero_copy_only=False)


def _buffers(text: pa.StringArray) -> tuple[type[np.signedinteger], passes.Bytes, passes.Offsets]:
    """Type of the offsets, bytes and offsets of an array of strings."""
    if not isinstance(text, pa.StringArray | pa.LargeStringArray):
        raise TypeError(
            f"text: normalize takes a string or large_string array, not {getattr(text, 'type', type(text))}"
        )
    offset_type: type[np.signedinteger] = np.int32 if pa.types.is_string(text.type) else np.int64
    _, offsets_buffer, values_buffer = text.buffers()
    if not len(text) or values_buffer is None:
        return offset_type, np.zeros(0, np.uint8), np.zeros(len(text) + 1, np.int64)
    offsets = np.frombuffer(offsets_buffer, offset_type)[text.offset : text.offset + len(text) + 1].astype(np.int64)
    return offset_type, _read_only(np.frombuffer(values_buffer, np.uint8)), offsets


def _read_only(values: passes.Bytes) -> passes.Bytes:
    """One compiled version of the passes, whether or not Arrow says that the buffer may be written."""
    values.flags.writeable = False
    return values


def _room(offsets: passes.Offsets) -> tuple[passes.Bytes, passes.Offsets]:
    """For a result as long as these texts, and its offsets. Pages that are never written to cost nothing."""
    return np.empty(offsets[-1] - offsets[0], np.uint8), np.empty(len(offsets), np.int64)


def _tables(options: Normalization) -> UnicodeTables:
    line_ends = {"keep": "", "uniform": "\r", "all": _LINE_ENDS_KEPT}[options.line_ends]
    return unicode_tables(options.nfc, options.drop, line_ends)


def _edit_characters(
    values: passes.Bytes,
    offsets: passes.Offsets,
    todo: npt.NDArray[np.bool_],
    options: Normalization,
    flags: npt.NDArray[np.uint8],
) -> tuple[passes.Bytes, passes.Offsets]:
    """The rules ``drop``, ``trim`` and ``line_ends``: the bytes themselves if nothing is edited. Sets the flags."""
    tables = _tables(options)
    drop_mark = BYTE_ORDER_MARK in options.drop
    starts, ends = offsets[:-1], offsets[1:]
    moved = False
    if options.trim:
        starts, ends = starts.copy(), ends.copy()
        moved = passes.trim_ends(values, starts, ends, todo, tables.blocks, tables.properties, drop_mark)
    beyond_ascii = options.line_ends == "all" or any(
        last > 0x7F for name in options.drop for _, last in DROPPABLE[name]
    )
    if options.nfc or beyond_ascii:
        found = passes.find_all(values, starts, ends, todo, *tables, drop_mark, flags)
    else:
        found = passes.find_controls(values, starts, ends, todo, tables.blocks, tables.properties, drop_mark, flags)
    if not found and not moved:
        return values, offsets
    output, output_offsets = _room(offsets)
    passes.edit_characters(
        values, starts, ends, flags, tables.blocks, tables.properties, _STYLES[options.line_ends], drop_mark,
        beyond_ascii, output, output_offsets,
    )  # fmt: skip
    return _read_only(output[: output_offsets[-1]]), output_offsets


def _compose(
    values: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], flags: npt.NDArray[np.uint8]
) -> dict[int, bytes]:
    """NFC of the flagged rows that it changes, by row in order."""
    composed = {}
    for row in np.flatnonzero(flags & NOT_COMPOSED).tolist():
        text = values[offsets[row] : offsets[row + 1]].tobytes().decode()
        ordered = _order_marks(text) if flags[row] & MANY_MARKS else text
        normalized = unicodedata.normalize("NFC", ordered)
        if normalized != text:
            composed[row] = normalized.encode()
    return composed


def _replace(
    values: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], replacements: dict[int, bytes]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The values and offsets with some rows replaced."""
    lengths = np.diff(offsets)
    pieces: list[Any] = []
    copied = offsets[0]
    for row, replacement in replacements.items():
        pieces += (values[copied : offsets[row]], replacement)
        copied = offsets[row + 1]
        lengths[row] = len(replacement)
    pieces.append(values[copied : offsets[-1]])
    replaced = np.frombuffer(b"".join(pieces), np.uint8)
    return replaced, np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


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
