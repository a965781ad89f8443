"""Fingerprint: what identifies a text and what is like it (``transforms.kernels.deduplication.fingerprinting``)."""

from __future__ import annotations

import dataclasses

import pyarrow as pa

from transforms.batches import Batch
from transforms.box import Box
from transforms.kernels.deduplication.fingerprinting import content_hashes, fingerprint
from transforms.kernels.deduplication.options import DEFAULT, MinHash


def fingerprint_batch(batch: Batch, options: MinHash | None, stored: tuple[str, ...] = ()) -> Batch:
    """The batch with its texts replaced by their fingerprints (``schemas.columns.fingerprints``)."""
    with batch.at_work("Fingerprint"):
        text = batch.data["text"]
        found = fingerprint(text, options)._asdict() if options else {"content_hash": content_hashes(text)}
        columns = {
            name: batch.data[name]
            for name in ("id", "outcome", "language", "language_score", "text_bytes", "already_normalized")
        }
        columns |= found | {name: batch.data[name] for name in stored}
        return batch.with_data(pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns)))


def as_stored(data: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Fingerprints with the schema of their object (``schemas.columns.fingerprints``)."""
    outcome = data["outcome"].cast(schema.field("outcome").type)
    arrays = [outcome if name == "outcome" else data[name] for name in schema.names]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


@dataclasses.dataclass
class Fingerprint(Box):
    """From ``Batch`` with texts: the same documents as fingerprints, without text.

    Attributes:
      options: how texts are made comparable; None: only exact copies are looked for, by their hashes.
      stored: kept columns and attributes, which stay.
    """

    options: MinHash | None = DEFAULT
    stored: tuple[str, ...] = ()

    def apply(self, batch: Batch) -> Batch:
        """A pure function of each batch (``fingerprint_batch``)."""
        return fingerprint_batch(batch, self.options, self.stored)
