"""What the stored fingerprints have of one document."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.columns import FINGERPRINTS
from schemas.run_layout import FIRST_ROW, PARENT
from schemas.shards import split_document_id
from transforms.io.fingerprint_objects import read_fingerprints, schema_of
from transforms.io.own_objects import opened
from transforms.io.stage_objects import census_in


def stored_row(uri: str, document: int, columns: Sequence[str] | None = None) -> pa.Table:
    """A document's row of the fingerprint object of its shard; no row if it isn't there. Reads one row group.

    Args:
      uri: the fingerprint object.
      document: its id.
      columns: which columns; by default those that a run has kept or computed beside the pipeline's own.

    Raises:
      DamagedObject, StorageError: the object can't be read.
    """
    number, row = split_document_id(document)
    with opened(uri) as file:
        parquet = pq.ParquetFile(file)
        metadata = parquet.metadata.metadata  # the census is known, and written, at the end: the schema hasn't it
        census = census_in(metadata)
        if census is None:
            place = row - int(metadata[FIRST_ROW])
        else:
            place = int(census.starts[number - int(posixpath.basename(uri).partition("-")[0])]) + row
        if metadata.get(PARENT):
            wanted = schema_of(uri).names if columns is None else columns
            return read_fingerprints(uri, wanted, dropped_too=True).table.slice(place, 1)
        names = [name for name in parquet.schema_arrow.names if name not in FINGERPRINTS]
        for group in range(parquet.num_row_groups):
            rows = parquet.metadata.row_group(group).num_rows
            if place < rows:
                table = parquet.read_row_group(group, columns=list(names if columns is None else columns))
                return table.slice(place, 1)
            place -= rows
        return parquet.schema_arrow.empty_table()


def attributes_of(uri: str, document: int) -> dict[str, Any]:
    """The kept columns and attributes of a document; arguments and errors as of ``stored_row``."""
    found = stored_row(uri, document).to_pylist()
    return {name: value for name, value in found[0].items() if name not in FINGERPRINTS} if found else {}


def has_all_shingles(uri: str, document: int) -> bool:
    """Whether a document's shingles are stored, so that it is compared exactly; else it has a signature, or nothing.

    An exact duplicate of a document has what that has. Arguments and errors as of ``stored_row``.
    """
    return bool(stored_row(uri, document, ["shingles"])["shingles"].is_valid().to_pylist() == [True])
