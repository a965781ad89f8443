"""Reading the Parquet objects that a run has written itself: one that is cut short or damaged is known by name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa

from schemas.errors import ToldError
from transforms.io import storage

RUN_AGAIN = "run the pipeline over it again: what can't be read is made anew"
MADE_AGAIN = "it is made again"


class DamagedObject(ToldError):
    """An object of a run is there but can't be read; the message says which, and how to have it made again."""


@contextlib.contextmanager
def opened(uri: str, remedy: str = RUN_AGAIN, etag: str | None = None, size: int | None = None) -> Iterator[BinaryIO]:
    """The object, to be read by pyarrow in the block; ``etag`` and ``size`` as for ``storage.open_input``.

    Raises:
      DamagedObject: what is in it isn't what was written. pyarrow tells a missing footer, a page that can't be
        unpacked and the like by several exceptions, none of which names the object.
      StorageError: the store fails; that says nothing of what is in the object.
    """
    try:
        with storage.open_input(uri, etag, size) as file:
            yield file
    except (storage.StorageError, MemoryError):
        raise
    except (pa.ArrowException, OSError) as error:
        raise DamagedObject(f"{uri}: is cut short or damaged ({_first_line(error)}); {remedy}") from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:200].rstrip(".") or type(error).__name__
