"""How sources are read: the options, apart from the readers, which take a while to be imported."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

import pyarrow as pa

from schemas.columns import DOCUMENTS
from transforms.io.kept_columns import KeptColumn
from transforms.io.storage.globs import is_from
from transforms.options import check, option

MIB = 1 << 20

PlainText = Literal["no", "file", "paragraph"]


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
      format: that sources have, or members of archives (``transforms.io.readers.registry.FORMATS``); recognized by
        their content if it is empty.

    Raises:
      ValueError: an option is out of range; the message names it.
    """

    text_column: str = option("text", "column or JSON field with the text", metavar="NAME", min_length=1)
    id_column: str = option("id", "column or field with your id, if there", metavar="NAME", min_length=1)
    shard_bytes: int = option(
        128 * MIB, "text in one shard, the unit of work, retry and output, e.g. 128MiB", metavar="SIZE", ge=1
    )
    plain_text: PlainText = option(
        "no",
        "what a document is in sources that are plain text; no: they aren't read",
        choices=get_args(PlainText),
    )
    columns: tuple[KeptColumn, ...] = ()
    of_inputs: tuple[tuple[str, str, str, str], ...] = ()
    format: str = ""

    def __post_init__(self) -> None:
        check(self)
        if self.text_column == self.id_column:
            raise ValueError(f"id_column: {self.id_column!r} is text_column already; the two must differ")

    def of_source(self, uri: str) -> ReadOptions:
        """With the options of the first input that has some of its own and that the source is from."""
        for place, text_column, id_column, name in self.of_inputs:
            if is_from(place, uri):
                plain_text: PlainText = "file" if name == "text" and self.plain_text == "no" else self.plain_text
                return dataclasses.replace(
                    self, text_column=text_column, id_column=id_column, format=name, plain_text=plain_text, of_inputs=()
                )
        return self

    @property
    def schema(self) -> pa.Schema:
        """What batches of documents have: ``schemas.columns.DOCUMENTS`` and the kept columns."""
        return pa.schema([*DOCUMENTS, *(column.field for column in self.columns)])
