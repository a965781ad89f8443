"""The documents and tokens of a run's token objects (``schemas.columns.tokens``), a row group at a time."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.errors import ToldError
from schemas.exports import Unit
from transforms.io.own_objects import DamagedObject, opened
from transforms.io.token_lists.list_reader import read_lists

IDENTITY = ("id", "n_tokens")


class NoSuchColumn(ToldError):
    """A column that a mixture or a condition names isn't in the token objects."""


class TokenObject:
    """An open token object.

    Attributes:
      rows: documents of each row group.
      metadata: of the footer.
      id_type: of the token ids.
    """

    def __init__(self, uri: str, file: BinaryIO, decisions: str = "") -> None:
        self.uri, self._file, self._decisions = uri, file, decisions
        self._parquet = pq.ParquetFile(file)
        metadata = self._parquet.metadata
        self.rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        self.metadata = metadata.metadata or {}
        self.id_type: pa.DataType = self._parquet.schema_arrow.field("input_ids").type.value_type

    def documents(self, columns: Sequence[str], groups: Sequence[int] | None = None) -> pa.Table:
        """``id``, ``n_tokens`` and other columns of row groups; with decisions, ``cluster_size`` is theirs and 0 if
        the document doesn't stay.

        Raises:
          NoSuchColumn: the object doesn't have one of the columns.
        """
        names = self._parquet.schema_arrow.names
        wanted = list(dict.fromkeys([*IDENTITY, *columns, *(("source",) if self._decisions else ())]))
        for name in wanted:
            if name not in names:
                raise NoSuchColumn(
                    f"{self.uri} has no column {name!r}; it has {', '.join(names)}. "
                    "The run's setting token_columns adds kept columns and attributes"
                )
        groups = range(len(self.rows)) if groups is None else groups
        table = self._parquet.read_row_groups(list(groups), columns=wanted, use_threads=False)
        if self._decisions:
            sizes = pa.array(_decided_sizes(self._decisions, table))
            if "cluster_size" in table.column_names:
                return table.set_column(table.column_names.index("cluster_size"), "cluster_size", sizes)
            return table.append_column("cluster_size", sizes)
        return table

    def tokens(self, group: int, lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.unsignedinteger]:
        """All token ids of a row group, one document after the other."""
        dtype = np.uint16 if self.id_type == pa.uint16() else np.uint32
        try:
            return read_lists(self._file, self._parquet, group, "input_ids", lengths, dtype)
        except (ValueError, LookupError) as error:
            raise DamagedObject(f"{self.uri}: is damaged ({error}); run the pipeline over it again") from error


@contextlib.contextmanager
def open_object(uri: str, etag: str, size: int, decisions: str = "") -> Iterator[TokenObject]:
    """A token object as it was when the export was planned.

    Raises:
      SourceChanged: it isn't the pinned one any more.
      DamagedObject: it can't be read.
    """
    with opened(uri, etag=etag, size=size) as file:
        yield TokenObject(uri, file, decisions)


def open_unit(unit: Unit) -> contextlib.AbstractContextManager[TokenObject]:
    """The object that a unit is in."""
    return open_object(unit.uri, unit.etag, unit.size, unit.decisions)


def _decided_sizes(decisions: str, documents: pa.Table) -> npt.NDArray[np.uint32]:
    """``cluster_size`` by the decisions on the documents (``schemas.columns.DECIDED``), 0 for those dropped."""
    sources, rows, sizes = _decisions(decisions)
    column = documents["source"].combine_chunks()
    number = pc.index_in(column.dictionary, value_set=sources).fill_null(len(sources)).to_numpy()
    which = number[column.indices.to_numpy()].astype(np.int64)
    keys = which << 32 | (documents["id"].to_numpy() & np.uint64(0xFFFFFFFF)).astype(np.int64)
    place = np.minimum(np.searchsorted(rows, keys), len(rows) - 1)
    found = rows[place] == keys if len(rows) else np.zeros(len(keys), np.bool_)
    if not found.all():
        raise DamagedObject(
            f"{decisions}: says nothing about document {documents['id'].to_numpy()[~found][0]}: "
            "decide again, on this run"
        )
    return sizes[place]


@functools.lru_cache(maxsize=2)
def _decisions(uri: str) -> tuple[pa.Array, npt.NDArray[np.int64], npt.NDArray[np.uint32]]:
    """Sources; keys of the documents, sorted (source, row); their ``cluster_size``."""
    with opened(uri) as file:
        table = pq.read_table(file, columns=["source", "source_row", "cluster_size"])
    source = table["source"].combine_chunks()
    source = source if isinstance(source, pa.DictionaryArray) else source.dictionary_encode()
    keys = source.indices.to_numpy().astype(np.int64) << 32 | table["source_row"].to_numpy().astype(np.int64)
    order = np.argsort(keys)
    return source.dictionary, keys[order], table["cluster_size"].to_numpy()[order]
