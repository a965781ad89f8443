"""How much of a text an editor has changed: characters removed, replaced and added; 300 MB/s and more."""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

LOOK_AHEAD = 64  # lines after one that differs, within which its like is looked for

REMOVED, REPLACED, ADDED = range(3)


def count_edits(before: pa.StringArray, after: pa.StringArray) -> npt.NDArray[np.uint32]:
    """Characters (code points) of each text that were removed, replaced by others, and added: uint32, three a text.

    Exact where an editor only removes or only adds. Else texts are compared line by line: lines that are gone are
    removed, new ones added; of a line that was changed, what lies between the first and the last character that
    differ counts as replaced. Texts must not be null.
    """
    counts = np.zeros((len(before), 3), np.uint32)
    _count(*_buffers(before), *_buffers(after), counts)
    return counts


def _buffers(text: pa.StringArray) -> tuple[np.ndarray, np.ndarray]:
    _, offsets, data = text.buffers()
    if not len(text):
        return np.zeros(1, np.int64), np.zeros(0, np.uint8)
    places = np.frombuffer(offsets, np.int32, len(text) + 1, text.offset * 4).astype(np.int64)
    content = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    content.flags.writeable = False  # Arrow's buffers are now writable and now not; numba would compile for both
    return places, content


@numba.njit(cache=True, nogil=True)
def _count(a_places, a, b_places, b, counts):  # type: ignore[no-untyped-def]
    for row in range(len(counts)):
        a_start, a_stop, b_start, b_stop = a_places[row], a_places[row + 1], b_places[row], b_places[row + 1]
        first, last = _ends(a, a_start, a_stop, b, b_start, b_stop)
        if not _one_way(a, a_start + first, a_stop - last, b, b_start + first, b_stop - last, counts[row]):
            while first and a[a_start + first - 1] != 10:  # whole lines
                first -= 1
            while last and a[a_stop - last - 1] != 10:
                last -= 1
            _compare_lines(a, a_start + first, a_stop - last, b, b_start + first, b_stop - last, counts[row])


@numba.njit(cache=True)
def _characters(data, start, stop):  # type: ignore[no-untyped-def]
    count = 0
    for i in range(start, stop):
        count += (data[i] & 0xC0) != 0x80
    return count


@numba.njit(cache=True)
def _is_within(short, start, stop, long, long_start, long_stop):  # type: ignore[no-untyped-def]
    """Whether the bytes of one stand in the other, in order."""
    for i in range(long_start, long_stop):
        if start == stop:
            return True
        if short[start] == long[i]:
            start += 1
    return start == stop


@numba.njit(cache=True)
def _ends(a, a_start, a_stop, b, b_start, b_stop):  # type: ignore[no-untyped-def]
    """How many bytes two texts have in common at the beginning and, of the rest, at the end; whole characters."""
    most = min(a_stop - a_start, b_stop - b_start)
    first = 0
    while first < most and a[a_start + first] == b[b_start + first]:
        first += 1
    while first and (
        (a_start + first < a_stop and a[a_start + first] & 0xC0 == 0x80)
        or (b_start + first < b_stop and b[b_start + first] & 0xC0 == 0x80)
    ):
        first -= 1
    last = 0
    while last < most - first and a[a_stop - last - 1] == b[b_stop - last - 1]:
        last += 1
    while last and a[a_stop - last] & 0xC0 == 0x80:
        last -= 1
    return first, last


@numba.njit(cache=True)
def _one_way(a, a_start, a_stop, b, b_start, b_stop, counts):  # type: ignore[no-untyped-def]
    """Counts what was only removed or only added; false if it was something else."""
    if _is_within(b, b_start, b_stop, a, a_start, a_stop):
        counts[REMOVED] += _characters(a, a_start, a_stop) - _characters(b, b_start, b_stop)
    elif _is_within(a, a_start, a_stop, b, b_start, b_stop):
        counts[ADDED] += _characters(b, b_start, b_stop) - _characters(a, a_start, a_stop)
    else:
        return False
    return True


@numba.njit(cache=True)
def _line_end(data, start, stop):  # type: ignore[no-untyped-def]
    """The place after the line break, or after the text."""
    while start < stop:
        start += 1
        if data[start - 1] == 10:
            break
    return start


@numba.njit(cache=True)
def _equal(a, a_start, a_stop, b, b_start, b_stop):  # type: ignore[no-untyped-def]
    """Whether two lines are the same and say anything, whatever ends them."""
    if a_stop > a_start and a[a_stop - 1] == 10:
        a_stop -= 1
    if b_stop > b_start and b[b_stop - 1] == 10:
        b_stop -= 1
    if a_stop - a_start != b_stop - b_start or a_start == a_stop:
        return False
    for i in range(a_stop - a_start):  # noqa: SIM110 - numba knows no generators
        if a[a_start + i] != b[b_start + i]:
            return False
    return True


@numba.njit(cache=True)
def _ahead(data, start, stop, line, line_start, line_stop):  # type: ignore[no-untyped-def]
    """How many lines come before one like this and where it begins; 0 lines if there is none near."""
    place = start
    for count in range(LOOK_AHEAD):
        if place == stop:
            break
        end = _line_end(data, place, stop)
        if count and _equal(data, place, end, line, line_start, line_stop):
            return count, place
        place = end
    return 0, start


@numba.njit(cache=True)
def _compare_lines(a, a_start, a_stop, b, b_start, b_stop, counts):  # type: ignore[no-untyped-def]
    while a_start < a_stop and b_start < b_stop:
        a_end, b_end = _line_end(a, a_start, a_stop), _line_end(b, b_start, b_stop)
        if not _equal(a, a_start, a_end, b, b_start, b_end):
            gone, after_gone = _ahead(a, a_start, a_stop, b, b_start, b_end)
            new, after_new = _ahead(b, b_start, b_stop, a, a_start, a_end)
            if gone and (not new or gone <= new):
                counts[REMOVED] += _characters(a, a_start, after_gone)
                a_start = after_gone
                continue
            if new:
                counts[ADDED] += _characters(b, b_start, after_new)
                b_start = after_new
                continue
        first, last = _ends(a, a_start, a_end, b, b_start, b_end)
        if not _one_way(a, a_start + first, a_end - last, b, b_start + first, b_end - last, counts):
            counts[REPLACED] += _characters(a, a_start + first, a_end - last)
        a_start, b_start = a_end, b_end
    counts[REMOVED] += _characters(a, a_start, a_stop)
    counts[ADDED] += _characters(b, b_start, b_stop)
