"""The parts of an index of fingerprints: records sorted by a 64-bit key, in which a few of many are found.

A part is one object: a header, a Bloom filter of the keys (``transforms.kernels.deduplication.key_filter``), the first
key of each page, and pages of 512 bytes of records. A look for keys reads the blocks of the filter that they are in,
and the pages of those that the filter lets pass. So 10 bits are read of a record that isn't wanted, not 128.
"""

from __future__ import annotations

from collections.abc import Iterator

import numba
import numpy as np

from transforms.io import storage
from transforms.io.own_objects import DamagedObject
from transforms.io.random_access import RandomAccess
from transforms.kernels.deduplication import key_filter
from transforms.kernels.deduplication.blocks import run_starts

TEXTS = np.dtype([("key", "<u8"), ("low", "<u8"), ("document", "<u8")])
"""Both halves of a text's hash, mixed; the second half; the document's id in the corpus."""
BANDS = np.dtype([("key", "<u8"), ("address", "<u8")])
"""A bucket, mixed; the address of a sketch."""
RECORDS = {"texts": TEXTS, "bands": BANDS}

MOST_OF_A_KEY = 8
"""So many of a key's first records are found, and so many of its last: of a bucket, one compares no more."""
_PAGE_BYTES = 512
_HEADER = np.dtype([("magic", "S8"), ("records", "<u8"), ("blocks", "<u8"), ("bits", "<u8"), ("bytes", "<u8")])
_MAGIC = b"BPINDEX1"
_KEYS_AT_ONCE, _PAGES_AT_ONCE = 1 << 17, 1 << 16
_WRITTEN_AT_ONCE = 1 << 20


def write_part(uri: str, records: np.ndarray, bits: int) -> None:
    """Writes a part.

    Args:
      records: ``TEXTS`` or ``BANDS`` (n,), sorted by key and then by document or address.
      bits: how many first bits of the keys are the part's number.
    """
    keys = np.ascontiguousarray(records["key"])
    blocks = key_filter.filter_of(keys, bits)
    header = np.array([(_MAGIC, len(records), len(blocks), bits, records.dtype.itemsize)], _HEADER)
    with storage.open_output(uri) as file:
        file.write(header.tobytes())
        file.write(blocks.tobytes())
        file.write(keys[:: _page_records(records.dtype)].tobytes())
        for start in range(0, len(records), _WRITTEN_AT_ONCE):
            file.write(records[start : start + _WRITTEN_AT_ONCE].tobytes())


class Part:
    """A part that is looked into; a context manager.

    Args:
      uri: its object.
      kind: dtype of its records.

    Raises:
      DamagedObject: it is cut short, or is none.
    """

    def __init__(self, uri: str, kind: np.dtype):
        self._kind, self._page = kind, _page_records(kind)
        self._file = RandomAccess(uri)
        header = np.zeros(1, _HEADER)
        stored = self._file.read(0, _HEADER.itemsize)
        header.view(np.uint8)[: len(stored)] = stored
        magic, self.count, self._blocks, self._bits, width = header[0].item()
        pages = -(-self.count // self._page)
        self._fences_at = _HEADER.itemsize + key_filter.BLOCK_BYTES * self._blocks
        self._records_at = self._fences_at + 8 * pages
        if (magic, width, self._file.size) != (_MAGIC, kind.itemsize, self._records_at + kind.itemsize * self.count):
            self.close()
            raise DamagedObject(
                f"{uri}: is cut short or damaged; restore the folder index/ from a copy, or begin a corpus anew"
            )
        self._fences = self._file.read(self._fences_at, 8 * pages).view("<u8")

    def __enter__(self) -> Part:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the object."""
        self._file.__exit__(None, None, None)

    def all(self) -> np.ndarray:
        """All records, to be merged with others'."""
        return self._file.read(self._records_at, self._kind.itemsize * self.count).view(self._kind)

    def find(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The records of some keys: of each key the first and the last ``MOST_OF_A_KEY``, at most.

        Args:
          keys: uint64 (n,), sorted, each once, with this part's first bits.

        Returns:
          int64 (m,), which key each record is of, ascending; and the records (m,). Memory: 50 MB, and the records.
        """
        at, found = [np.empty(0, np.int64)], [np.empty(0, self._kind)]
        if self.count:
            for start in range(0, len(keys), _KEYS_AT_ONCE):
                for which, records in self._find(keys[start : start + _KEYS_AT_ONCE]):
                    at.append(which + start)
                    found.append(records)
        return ends_of_keys(np.concatenate(at), np.concatenate(found))

    def _find(self, keys: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        blocks = key_filter.blocks_of(keys, self._bits, self._blocks)
        first_of_block = run_starts(blocks)
        needed, at = blocks[first_of_block], np.cumsum(first_of_block) - 1
        starts = _HEADER.itemsize + key_filter.BLOCK_BYTES * needed
        read = self._file.gather(starts, np.full(len(starts), key_filter.BLOCK_BYTES))
        there = np.flatnonzero(key_filter.may_have(keys, read.view("<u8").reshape(-1, 8), at))
        first = np.maximum(np.searchsorted(self._fences, keys[there], "left") - 1, 0)
        last = np.maximum(np.searchsorted(self._fences, keys[there], "right") - 1, first)
        # A key with very many records: the pages where they begin and end, and their neighbours.
        second = np.minimum(first + 1, last)
        pages = np.stack([first, second, np.maximum(last - 1, second), last], axis=1)
        wanted = np.ones(pages.shape, np.bool_)
        wanted[:, 1:] = pages[:, 1:] != pages[:, :-1]
        which, pages = np.repeat(there, 4)[wanted.reshape(-1)], pages[wanted]
        for start in range(0, len(which), _PAGES_AT_ONCE):
            stop = start + _PAGES_AT_ONCE
            yield self._match(keys, which[start:stop], pages[start:stop])

    def _match(self, keys: np.ndarray, which: np.ndarray, pages: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        needed, at = np.unique(pages, return_inverse=True)
        width = self._page * self._kind.itemsize
        read = self._file.gather(self._records_at + width * needed, np.full(len(needed), width)).view(self._kind)
        counts = np.minimum(self.count - needed * self._page, self._page)
        starts = np.cumsum(counts) - counts
        matched, records = _matches(np.ascontiguousarray(read["key"]), starts[at], starts[at] + counts[at], keys[which])
        order = np.argsort(which[matched], kind="stable")
        return which[matched][order], read[records][order]


def ends_of_keys(at: np.ndarray, records: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each key's records the first and the last ``MOST_OF_A_KEY``, by document or address.

    Args:
      at: int64 (n,), which key each record is of.
      records: ``TEXTS`` or ``BANDS`` (n,), each once.
    """
    order = np.lexsort((records[records.dtype.names[-1]], at))  # type: ignore[index]
    at, records = at[order], records[order]
    from_first = np.arange(len(at)) - np.searchsorted(at, at, "left")
    from_last = np.searchsorted(at, at, "right") - 1 - np.arange(len(at))
    chosen = (from_first < MOST_OF_A_KEY) | (from_last < MOST_OF_A_KEY)
    return at[chosen], records[chosen]


def _page_records(kind: np.dtype) -> int:
    return _PAGE_BYTES // kind.itemsize


@numba.njit(cache=True, nogil=True)
def _matches(
    stored: np.ndarray, starts: np.ndarray, stops: np.ndarray, keys: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which look has found a record, and which: int64 (m,) each. ``stored`` is sorted between each start and stop."""
    firsts, counts = np.empty(len(keys), np.int64), np.empty(len(keys), np.int64)
    for i in range(len(keys)):
        low, high = starts[i], stops[i]
        while low < high:
            middle = (low + high) // 2
            if stored[middle] < keys[i]:
                low = middle + 1
            else:
                high = middle
        firsts[i], counts[i] = low, 0
        while low < stops[i] and stored[low] == keys[i]:
            counts[i] += 1
            low += 1
    total = counts.sum()
    looks, records = np.empty(total, np.int64), np.empty(total, np.int64)
    filled = 0
    for i in range(len(keys)):
        for k in range(counts[i]):
            looks[filled], records[filled] = i, firsts[i] + k
            filled += 1
    return looks, records
