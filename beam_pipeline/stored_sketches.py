"""What the stored fingerprints have of one document."""

from __future__ import annotations

import pyarrow.parquet as pq

from transforms.io.own_objects import opened


def has_all_shingles(uri: str, source_row: int) -> bool:
    """Whether a document's shingles are stored, so that it is compared exactly; else it has a signature, or nothing.

    An exact duplicate of a document has what that has.

    Args:
      uri: the fingerprint object of its shard.

    Raises:
      DamagedObject, StorageError: the object can't be read.
    """
    with opened(uri) as file:
        parquet = pq.ParquetFile(file)
        row = source_row - int(parquet.schema_arrow.metadata[b"beam_pipeline.first_row"])
        for group in range(parquet.num_row_groups):
            rows = parquet.metadata.row_group(group).num_rows
            if row < rows:
                return bool(parquet.read_row_group(group, columns=["shingles"])["shingles"][row].is_valid)
            row -= rows
    return False
