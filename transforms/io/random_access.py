"""Many small ranges of one object: mapped into memory where it is a local file, else fetched several at a time."""

from __future__ import annotations

import io
import mmap
from types import TracebackType

import numba
import numpy as np

from transforms.io import storage

GAP_BYTES = 64 << 10
"""Ranges of a remote object that are closer than this are fetched together: what a request costs besides its bytes."""
TOGETHER_BYTES = 8 << 20
"""What one request fetches at most, unless one range is larger."""


class RandomAccess:
    """An object that is read in ranges; a context manager.

    Args:
      uri: the object.

    Raises:
      StorageError: it can't be opened, or read.
    """

    def __init__(self, uri: str):
        self.uri = uri
        self._file = storage.open_input(uri)
        self._mapped: mmap.mmap | None = None
        self.size = self._file.seek(0, io.SEEK_END)
        try:
            if self.size:
                self._mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        except io.UnsupportedOperation:  # it isn't a local file
            pass

    def __enter__(self) -> RandomAccess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._mapped = None  # unmapped when the last array on it is gone
        self._file.close()

    def read(self, start: int, length: int) -> np.ndarray:
        """One range: uint8 (length,); shorter at the end of the object."""
        return self.gather(np.array([start]), np.array([length]))

    def gather(self, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Ranges one after the other: uint8. One that goes beyond the end of the object is cut there.

        Args:
          starts: int64 (n,), ascending.
          lengths: int64 (n,), bytes.
        """
        starts = np.minimum(starts.astype(np.int64), self.size)
        lengths = np.minimum(lengths.astype(np.int64), self.size - starts)
        into = np.cumsum(lengths) - lengths
        gathered = np.empty(int(lengths.sum()), np.uint8)
        if self._mapped is not None:
            _copy(np.frombuffer(self._mapped, np.uint8), starts, lengths, into, gathered)
            return gathered
        first = 0
        while first < len(starts):
            begin, end, last = int(starts[first]), int(starts[first] + lengths[first]), first + 1
            while last < len(starts) and starts[last] <= end + GAP_BYTES:
                after = max(end, int(starts[last] + lengths[last]))
                if after - begin > TOGETHER_BYTES:
                    break
                end, last = after, last + 1
            self._file.seek(begin)
            fetched = np.frombuffer(self._file.read(end - begin), np.uint8)
            _copy(fetched, starts[first:last] - begin, lengths[first:last], into[first:last], gathered)
            first = last
        return gathered


@numba.njit(cache=True, nogil=True)
def _copy(data: np.ndarray, starts: np.ndarray, lengths: np.ndarray, into: np.ndarray, gathered: np.ndarray) -> None:
    for i in range(len(starts)):
        gathered[into[i] : into[i] + lengths[i]] = data[starts[i] : starts[i] + lengths[i]]
