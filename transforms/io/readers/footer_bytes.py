"""Where things are in a Parquet footer, found without decoding the rest of it: 300 MB/s.

A footer names every column of every row group, and a file may have a million of those. Of a damaged or unusual footer
pyarrow can end the process, so what we hand to it is a footer of our own with nothing in it but the columns that are
read (``transforms.io.readers.parquet_footer``). Here every byte is looked at before it is trusted: a number outside the
footer, a list longer than its bytes, a struct without an end gives -1.

Format: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift, in Thrift's compact
protocol.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

MOST_LEVELS = 64  # of structs and lists within each other; Parquet needs 10
FIELDS = 32  # field ids that are noted: all of Parquet's are smaller

_TRUE, _FALSE, _I8, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12

ELEMENT = ("start", "end", "name_start", "name_end", "children", "type", "repetition")
"""Columns of ``schema_elements``; ``type`` is -1 for a group, ``repetition`` is 2 for a repeated element."""
CHUNK = ("state", "type", "codec", "values", "uncompressed", "compressed", "data_page", "dictionary_page")
"""Columns of ``column_chunks``; ``dictionary_page`` is -1 if there is none."""
READABLE, ENCRYPTED, INCOMPLETE, ELSEWHERE = 0, 1, 2, 3
"""States of a column chunk; elsewhere: in another file."""

Bytes = npt.NDArray[np.uint8]


@numba.njit(cache=True)
def _varint(data, at):  # type: ignore[no-untyped-def]
    """A number of at most 64 bits and the place after it, which is -1 if there is none."""
    value, shift = np.uint64(0), np.uint64(0)
    while at < len(data) and shift < 64:
        byte = np.uint64(data[at])
        at += 1
        value |= (byte & np.uint64(0x7F)) << shift
        if byte < 0x80:
            return np.int64(value), at
        shift += np.uint64(7)
    return np.int64(0), -1


@numba.njit(cache=True)
def _integer(data, at):  # type: ignore[no-untyped-def]
    """The integer whose bytes begin here: zigzag, checked already."""
    value, _ = _varint(data, at)
    value = np.uint64(value)
    return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1))


@numba.njit(cache=True)
def _list(data, at):  # type: ignore[no-untyped-def]
    """Number and type of a list's elements and the place of the first, which is -1 if there can't be so many."""
    if at >= len(data):
        return np.int64(0), 0, -1
    head = data[at]
    count, kind = np.int64(head >> 4), np.int64(head & 0x0F)
    at += 1
    if count == 15:
        count, at = _varint(data, at)
    if at < 0 or count < 0 or count > len(data) - at:
        return np.int64(0), 0, -1
    return count, kind, at


@numba.njit(cache=True)
def _skip(data, at, kind, stack):  # type: ignore[no-untyped-def]
    """The place after a value, or -1. ``stack``: int64 of two rows and ``MOST_LEVELS`` columns, to work in."""
    depth = -1  # stack[0]: type of the elements of a list, 0 for a struct; stack[1]: how many are left
    while True:
        if kind in (_STRUCT, _LIST, _SET):
            depth += 1
            if depth == MOST_LEVELS:
                return -1
            stack[0, depth] = 0
            if kind != _STRUCT:
                stack[1, depth], stack[0, depth], at = _list(data, at)
                if at < 0 or stack[0, depth] == 0:
                    return -1
        elif kind == _I8:
            at += 1
        elif kind == _DOUBLE:
            at += 8
        elif kind in (_I16, _I32, _I64):
            _, at = _varint(data, at)
        elif kind == _BINARY:
            size, at = _varint(data, at)
            if at < 0 or size < 0 or size > len(data) - at:
                return -1
            at += size
        elif kind != _TRUE and kind != _FALSE:
            return -1
        if at < 0 or at > len(data):
            return -1
        while True:
            if depth < 0:
                return at
            if stack[0, depth] == 0:
                kind, _, at = _field(data, at, 0)
                if at < 0:
                    return -1
                if kind:
                    break
                depth -= 1
            elif stack[1, depth] == 0:
                depth -= 1
            else:
                stack[1, depth] -= 1
                kind = stack[0, depth]
                if kind != _TRUE and kind != _FALSE:
                    break
                at += 1  # in a list a truth value takes a byte


@numba.njit(cache=True)
def _field(data, at, last):  # type: ignore[no-untyped-def]
    """Type and id of a struct's next field, and the place of its value; type 0 at the end, place -1 if cut short."""
    if at >= len(data):
        return np.int64(0), np.int64(0), -1
    head = np.int64(data[at])
    at += 1
    if head & 0x0F == 0:
        return np.int64(0), np.int64(0), at
    if head >> 4:
        return head & 0x0F, last + (head >> 4), at
    start = at
    _, at = _varint(data, at)
    return head & 0x0F, (_integer(data, start) if at >= 0 else np.int64(0)), at


@numba.njit(cache=True)
def _fields(data, at, kinds, starts, ends, stack):  # type: ignore[no-untyped-def]
    """Notes type and place of every field of a struct by its id, type 0 if it has none. The struct's end, or -1."""
    kinds[:] = 0
    field = np.int64(0)
    while True:
        kind, field, at = _field(data, at, field)
        if at < 0 or kind == 0:
            return at
        end = _skip(data, at, kind, stack)
        if end < 0:
            return -1
        if 0 <= field < FIELDS:
            kinds[field], starts[field], ends[field] = kind, at, end
        at = end


@numba.njit(cache=True)
def fields(data: Bytes) -> npt.NDArray[np.int64]:
    """Type, start and end of each field of the struct at the beginning, one row a field id; the type in row 0 is -1
    if the struct is damaged."""
    found = np.zeros((FIELDS, 3), np.int64)
    stack = np.zeros((2, MOST_LEVELS), np.int64)
    if _fields(data, 0, found[:, 0], found[:, 1], found[:, 2], stack) < 0:
        found[0, 0] = -1
    return found


@numba.njit(cache=True)
def integer(data: Bytes, at: int) -> int:
    """The integer in a field that ``fields`` has found."""
    return _integer(data, at)


@numba.njit(cache=True)
def schema_elements(data: Bytes, at: int) -> npt.NDArray[np.int64]:
    """``ELEMENT`` of every element of the list that begins at ``at``; no rows if it is damaged."""
    count, kind, at = _list(data, at)
    none = np.zeros((0, 7), np.int64)
    if at < 0 or kind != _STRUCT:
        return none
    found = np.zeros((count, 7), np.int64)
    noted = np.zeros((3, FIELDS), np.int64)
    kinds, starts, ends = noted[0], noted[1], noted[2]
    stack = np.zeros((2, MOST_LEVELS), np.int64)
    for i in range(count):
        row = found[i]
        row[0] = at
        at = _fields(data, at, kinds, starts, ends, stack)
        if at < 0 or kinds[4] != _BINARY:
            return none
        size, name = _varint(data, starts[4])
        row[1], row[2], row[3] = at, name, name + size
        row[4] = _integer(data, starts[5]) if kinds[5] == _I32 else 0
        row[5] = _integer(data, starts[1]) if kinds[1] == _I32 else -1
        row[6] = _integer(data, starts[3]) if kinds[3] == _I32 else 0
    return found


@numba.njit(cache=True)
def column_chunks(
    data: Bytes, at: int, leaves: int, wanted: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows of every row group, and ``CHUNK`` of its wanted columns.

    Args:
      data: the footer.
      at: where its list of row groups begins.
      leaves: how many columns each has.
      wanted: which of them, ascending.

    Returns:
      int64 by row group; int64 by row group, wanted column and entry of ``CHUNK``. Both are empty and the second has no
      wanted columns if a row group is damaged.
    """
    count, kind, at = _list(data, at)
    none = np.zeros(0, np.int64), np.zeros((0, 0, 8), np.int64)
    if at < 0 or (kind != _STRUCT and count):
        return none
    rows = np.zeros(count, np.int64)
    chunks = np.zeros((count, len(wanted), 8), np.int64)
    noted = np.zeros((3, FIELDS), np.int64)
    kinds, starts, ends = noted[0], noted[1], noted[2]
    stack = np.zeros((2, MOST_LEVELS), np.int64)
    for group in range(count):
        at = _fields(data, at, kinds, starts, ends, stack)
        if at < 0 or kinds[1] != _LIST or kinds[3] != _I64:
            return none
        rows[group] = _integer(data, starts[3])
        columns, kind, place = _list(data, starts[1])
        if columns != leaves or kind != _STRUCT:
            return none
        column = 0
        for i in range(len(wanted)):
            while column < wanted[i]:
                place = _skip(data, place, _STRUCT, stack)
                column += 1
            place = _fields(data, place, kinds, starts, ends, stack)
            column += 1
            _chunk(data, kinds, starts, ends, stack, chunks[group, i])
    return rows, chunks


@numba.njit(cache=True)
def _chunk(data, kinds, starts, ends, stack, chunk):  # type: ignore[no-untyped-def]
    """Fills one ``CHUNK`` from the fields of a ColumnChunk."""
    if kinds[8] or kinds[9]:
        chunk[0] = ENCRYPTED
    elif kinds[1] == _BINARY and ends[1] - starts[1] > 1:
        chunk[0] = ELSEWHERE
    elif kinds[3] != _STRUCT:
        chunk[0] = INCOMPLETE
    if chunk[0]:
        return
    _fields(data, starts[3], kinds, starts, ends, stack)
    if kinds[1] != _I32 or kinds[4] != _I32:
        chunk[0] = INCOMPLETE
        return
    for field in (5, 6, 7, 9):
        if kinds[field] != _I64:
            chunk[0] = INCOMPLETE
            return
    chunk[1], chunk[2] = _integer(data, starts[1]), _integer(data, starts[4])
    chunk[3], chunk[4], chunk[5] = _integer(data, starts[5]), _integer(data, starts[6]), _integer(data, starts[7])
    chunk[6] = _integer(data, starts[9])
    chunk[7] = _integer(data, starts[11]) if kinds[11] == _I64 else -1
