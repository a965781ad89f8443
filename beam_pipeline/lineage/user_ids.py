"""Documents by the user's own ids, which the fingerprint objects hold: PostgreSQL has no entry a document."""

from __future__ import annotations

import bisect
import concurrent.futures
import uuid

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.run_layout import RunLayout
from schemas.shards import document_id
from transforms.io.lineage import Lineage
from transforms.io.own_objects import opened

_READERS = 16  # it is mostly waiting for the store


def find_by_user_id(lineage: Lineage, run: str, user_id: str, output: str = "") -> list[int]:
    """The documents of a run with this id of the user's own, ascending; ids needn't be unique.

    Reads, of every fingerprint object, the footer and the row groups of the id column whose smallest and largest id
    (Parquet statistics) have this one between them. With ids in the order of the rows that is one row group in all;
    with random ids it is the whole column. docs/lineage.md has the figures.

    Args:
      output: where the run's output is now, if it isn't where the run wrote it.

    Raises:
      StorageError: an object can't be read.
    """
    shards = lineage.read(
        lambda connection: connection.execute(
            "SELECT settings ->> 'output', shard, source, first_row, first_places FROM segments JOIN runs USING (run)"
            " WHERE run = %s AND rows > 0 ORDER BY source, first_row",
            (uuid.UUID(run),),
        ).fetchall()
    )

    def search(row: tuple[str, str, int, int, list[int] | None]) -> list[int]:
        written_to, shard, source, first_row, first_places = row
        places = rows_with_id(RunLayout(output or written_to).fingerprints_of(shard), user_id)
        if first_places is None:
            return [document_id(source, first_row + place) for place in places]
        position = [bisect.bisect_right(first_places, place + 1) - 1 for place in places]  # they count from 1
        return [
            document_id(source + at, place + 1 - first_places[at]) for at, place in zip(position, places, strict=True)
        ]

    with concurrent.futures.ThreadPoolExecutor(_READERS) as pool:
        return [document for found in pool.map(search, shards) for document in found]


def rows_with_id(uri: str, user_id: str) -> list[int]:
    """The rows of one fingerprint object that have this id."""
    found: list[int] = []
    with opened(uri) as file:
        parquet = pq.ParquetFile(file)
        column = parquet.schema_arrow.get_field_index("id")
        first = 0
        for group in range(parquet.num_row_groups):
            metadata = parquet.metadata.row_group(group)
            statistics = metadata.column(column).statistics
            known = statistics is not None and statistics.has_min_max
            if not known or statistics.min <= user_id <= statistics.max:
                ids = parquet.read_row_group(group, columns=["id"])["id"]
                equal = pc.fill_null(pc.equal(ids, pa.scalar(user_id, pa.string())), False)
                found += [first + place for place in pc.indices_nonzero(equal).to_pylist()]
            first += metadata.num_rows
    return found
