"""What the readers share: errors and constants."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from schemas import outcomes
from schemas.errors import ToldError
from transforms.io import storage
from transforms.io.read_options import MIB, ReadOptions

LOGGER = logging.getLogger(__name__)

BATCH_BYTES = 16 * MIB  # text and ids of one batch: its overhead is forgotten, and many can be held
BATCH_ROWS = 1 << 16  # bounds a batch of rows without text
SHARD_ROWS = 1 << 20  # bounds the packed arrays of a shard, whatever the length of its documents
MAX_LINE_BYTES = 2_000_000_000  # the offsets of an Arrow string are 32 bits, and other lines share an array with it


class UnreadableSource(ToldError):
    """The data of a source can't be decoded: it is the data's fault, and trying again won't help.

    A fault of the storage is a ``StorageError`` instead.
    """

    def __init__(self, uri: str, reason: str):
        super().__init__(uri, reason)
        self.uri = uri
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.uri}: {self.reason}"


Warn = Callable[[str], None]
"""What takes a sentence about a source that is read although something is wrong with it."""


def log_warning(uri: str) -> Warn:
    """Warnings about this source go into the log."""
    return lambda warning: LOGGER.warning("%s: %s", uri, warning)


@contextlib.contextmanager
def decoding(uri: str, where: str) -> Iterator[None]:
    """What pyarrow says of bad data becomes ``UnreadableSource``; faults of the storage and lack of memory pass.

    pyarrow raises plain ``OSError`` for corrupt data, and passes on what the file object raised, which is always a
    ``StorageError``.
    """
    try:
        yield
    except (storage.StorageError, MemoryError):
        raise
    except (OSError, pa.ArrowException, UnicodeDecodeError, OverflowError) as error:
        raise UnreadableSource(uri, f"{where}: {str(error).strip() or type(error).__name__}") from error


_WORDS = {
    outcomes.NULL_TEXT: "the text {column} is null",
    outcomes.EMPTY_TEXT: "the text {column} is empty",
    outcomes.INVALID_UTF8: "the text {column} isn't UTF-8",
    outcomes.INVALID_JSON: "it is no JSON object",
    outcomes.MISSING_TEXT: "there is no field {column}",
    outcomes.TEXT_NOT_A_STRING: "the text {column} isn't a string",
    outcomes.BROKEN_RECORD: "the record is damaged",
    outcomes.TRUNCATED_RECORD: "the record is cut short",
    outcomes.TOO_LARGE: "the record is too large",
    outcomes.NOT_A_PAGE: "the record holds no page",
    outcomes.HTTP_STATUS: "the HTTP status isn't 200",
    outcomes.NOT_TEXT: "the record isn't text",
    outcomes.NOT_EXTRACTED: "the page is HTML, which `python -m beam_pipeline extract` turns into text",
    outcomes.UNKNOWN_CHARSET: "the bytes are text in no charset",
}


class Usable:
    """Counts what becomes of a source's rows, to tell a source of which none can be used."""

    def __init__(self) -> None:
        self._counts = np.zeros(256, np.int64)

    def count(self, batch: pa.RecordBatch) -> None:
        """Takes the next rows."""
        self._counts += np.bincount(batch["outcome"].fill_null(0).to_numpy(), minlength=256)

    def refuse_if_none(self, uri: str, options: ReadOptions, hint: str = "") -> None:
        """After the last row.

        Raises:
          UnreadableSource: there are rows, but none is usable; with the commonest reason.
        """
        rows = int(self._counts.sum())
        if rows and not self._counts[0]:
            code = int(self._counts.argmax())
            words = _WORDS[code].format(column=f"{options.text_column!r} (text_column)")
            of_rows = "" if self._counts[code] == rows else f" in {self._counts[code]:,} of them"
            reason = outcomes.OWN[code][1]
            raise UnreadableSource(uri, f"none of its {rows:,} rows can be used:{of_rows} {words} ({reason}){hint}")
