"""What the readers share: options, errors, constants."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa

from schemas import outcomes
from schemas.columns import DOCUMENTS
from schemas.errors import ToldError
from transforms.io import storage
from transforms.io.readers.kept_columns import KeptColumn
from transforms.io.storage.globs import is_from

LOGGER = logging.getLogger(__name__)

MIB = 1 << 20
PLAIN_TEXT = ("no", "file", "paragraph")
FORMATS = {
    "parquet": "parquet", "arrow": "arrow", "csv": "csv", "jsonl": "json lines", "text": "plain text", "warc": "warc"
}  # fmt: skip
"""What a source's format may be named in settings -> the name of its reader."""
BATCH_BYTES = 16 * MIB  # text and ids of one batch: its overhead is forgotten, and many can be held
BATCH_ROWS = 1 << 16  # bounds a batch of rows without text
SHARD_ROWS = 1 << 20  # bounds the packed arrays of a shard, whatever the length of its documents
MAX_LINE_BYTES = 2_000_000_000  # the offsets of an Arrow string are 32 bits, and other lines share an array with it


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """How sources are read.

    Attributes:
      text_column: column or JSON field of the text.
      id_column: column or JSON field of the user's own id; a source without it has null ids.
      shard_bytes: uncompressed bytes of text after which a Parquet shard ends, at the next row group.
      plain_text: what a document is in a source that is plain text: the whole ``file`` or a ``paragraph``; ``no``: such
        a source isn't read.
      columns: what else is read; null in a source that hasn't it.
      of_inputs: inputs with options of their own: file, folder, prefix or glob, its text column, its id column, its
        format.
      format: one of ``FORMATS`` that sources have, or members of archives; recognized by their content if it is empty.
    """

    text_column: str = "text"
    id_column: str = "id"
    shard_bytes: int = 128 * MIB
    plain_text: str = "no"
    columns: tuple[KeptColumn, ...] = ()
    of_inputs: tuple[tuple[str, str, str, str], ...] = ()
    format: str = ""

    def __post_init__(self) -> None:
        for name in ("text_column", "id_column"):
            if not getattr(self, name):
                raise ValueError(f"{name}: must name a column, but is empty")
        if self.text_column == self.id_column:
            raise ValueError(f"id_column: {self.id_column!r} is text_column already; the two must differ")
        if self.plain_text not in PLAIN_TEXT:
            raise ValueError(f"plain_text: must be one of {', '.join(PLAIN_TEXT)}, but is {self.plain_text!r}")
        if self.format and self.format not in FORMATS:
            raise ValueError(f"format: must be one of {', '.join(FORMATS)}, but is {self.format!r}")
        if self.shard_bytes < 1:
            raise ValueError(f"shard_bytes: must be at least 1, but is {self.shard_bytes}")

    def of_source(self, uri: str) -> ReadOptions:
        """With the options of the first input that has some of its own and that the source is from."""
        for place, text_column, id_column, name in self.of_inputs:
            if is_from(place, uri):
                plain_text = "file" if name == "text" and self.plain_text == "no" else self.plain_text
                return dataclasses.replace(
                    self, text_column=text_column, id_column=id_column, format=name, plain_text=plain_text, of_inputs=()
                )
        return self

    @property
    def schema(self) -> pa.Schema:
        """What batches of documents have: ``schemas.columns.DOCUMENTS`` and the kept columns."""
        return pa.schema([*DOCUMENTS, *(column.field for column in self.columns)])


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
