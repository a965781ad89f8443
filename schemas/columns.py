"""Arrow schemas of everything the pipeline holds in flight or stores: one place where each column is explained."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

CONTENT_HASH_BYTES = 16

# A batch of documents in flight, between reading and fingerprinting. All rows of the source are there, in order;
# `text` is null exactly where `outcome` is set, so every kernel works on the texts of active documents.
DOCUMENTS = pa.schema(
    [
        pa.field("row", pa.uint32()),  # row in the source; in a packed shard, the place
        pa.field("id", pa.string()),  # the user's own id, null if there is none
        pa.field("text", pa.string()),  # null if the document is not active
        pa.field("outcome", pa.uint8()),  # null of an active document, else why it is out (schemas.outcomes); uint16
        # after a filter of a run with more reasons than one byte has codes for
    ]
)


def fingerprints(
    bands: int, signature_size: int, more: Iterable[pa.Field] = (), wide_outcomes: bool = False
) -> pa.Schema:
    """One row a document of the shard, in source order: row k is at place k (``schemas.shards``).

    Args:
      bands: number of LSH bands; 0: nothing is stored by which near-duplicates are found.
      signature_size: bytes of the MinHash signature, one byte a bin.
      more: the source columns that are kept, and what the recipe's steps have found out about each document, dropped
        ones too; null behind the step that dropped it.
      wide_outcomes: whether the run has more reasons than one byte has codes for.
    """
    sketch = [
        pa.field("signature", pa.binary(signature_size)),  # null if there are `shingles`, or none to be listed
        pa.field("shingles", pa.large_binary()),  # of a short text, all: sorted distinct hashes, uint32 each
        pa.field("bands", pa.binary(8 * bands)),  # one little-endian 64-bit hash a band; null: too short to shingle
    ]
    return pa.schema(
        [
            pa.field("id", pa.string()),  # the user's own id
            # null of an active document, else why it is out
            pa.field("outcome", pa.uint16() if wide_outcomes else pa.uint8()),
            pa.field("language", pa.dictionary(pa.int32(), pa.string())),  # as the model gives it; null if out before
            pa.field("language_score", pa.float32()),  # the model's probability
            pa.field("text_bytes", pa.uint32()),  # UTF-8 bytes of the normalized text; null: never had one
            pa.field(
                "already_normalized", pa.bool_()
            ),  # whether the text was normalized as it came; pass 3 leaves it as it is
            pa.field("content_hash", pa.binary(CONTENT_HASH_BYTES)),  # mmh3 x64 128 of the normalized text
            *(sketch if bands else ()),
            *more,
        ]
    )


FINGERPRINTS = frozenset(fingerprints(1, 1).names)
"""The names of columns that fingerprint objects have of their own."""


def tokens(id_type: pa.DataType | None, with_text: bool, more: Iterable[pa.Field] = ()) -> pa.Schema:
    """One row a kept document of the shard, in source order.

    Args:
      id_type: ``uint16`` where the vocabulary allows it, else ``uint32``; None of a run that writes text, whose rows
        have no ``input_ids`` and ``n_tokens``.
      with_text: whether the normalized text stands beside its tokens.
      more: kept columns and attributes.
    """
    ids = [] if id_type is None else [pa.field("input_ids", pa.list_(id_type)), pa.field("n_tokens", pa.uint32())]
    fields = [
        *ids,
        pa.field("id", pa.uint64()),  # (source number << 32) | row: unique within the run only
        pa.field("user_id", pa.string()),  # the user's own id, null if there is none
        pa.field("language", pa.dictionary(pa.int32(), pa.string())),
        pa.field("language_score", pa.float32()),
        pa.field("cluster_size", pa.uint32()),  # 1 + documents dropped with this one as witness
        pa.field("source", pa.dictionary(pa.int32(), pa.string())),  # URI
        pa.field("source_row", pa.uint32()),
    ]
    if with_text or id_type is None:
        fields.append(pa.field("text", pa.string()))
    return pa.schema([*fields, *more])


# The sources of a run, pinned when they were listed.
SOURCES = pa.schema(
    [
        pa.field("number", pa.uint32()),
        pa.field("uri", pa.string()),
        pa.field("etag", pa.string()),
        pa.field("size", pa.int64()),  # bytes as stored
        pa.field(
            "packed", pa.uint32()
        ),  # small sources in the shard that begins here; 0: in one that began before; 1: alone
    ]
)

# The audit of the deduplication: a sample of pairs whose texts were read again
# (transforms.deduplication.audit_duplicates).
AUDIT = pa.schema(
    [
        pa.field("removed", pa.bool_()),  # removed as a near-duplicate; else a near miss, a candidate not verified
        pa.field("source", pa.uint32()),  # number of the document's source
        pa.field("source_row", pa.uint32()),
        pa.field("witness_source", pa.uint32()),  # of the document that it was compared with
        pa.field("witness_row", pa.uint32()),
        pa.field("similarity", pa.float32()),  # as pass 2 had it
        pa.field("true_similarity", pa.float64()),  # Jaccard similarity of the two texts' sets of shingles
        pa.field("contained", pa.float64()),  # the share of the document's shingles that the witness has
        pa.field("contains", pa.float64()),  # the share of the witness's shingles that the document has
    ]
)

# Documents of a shard that a run of a corpus drops for documents that earlier runs have kept, in source order.
EARLIER = pa.schema(
    [
        pa.field("row", pa.uint32()),  # in the shard, from 0
        pa.field("witness", pa.uint64()),  # its id in the corpus (schemas.fingerprint_index)
        pa.field("similarity", pa.float32()),  # 1 of the same text; estimated if one of the two is long
        pa.field("exact", pa.bool_()),  # whether the witness has the same text
    ]
)

# What `dedup` decides: one row a document of the shard, in source order.
DECIDED = pa.schema(
    [
        pa.field("source", pa.dictionary(pa.int32(), pa.string())),  # URI
        pa.field("source_row", pa.uint32()),
        pa.field("outcome", pa.dictionary(pa.int32(), pa.string())),  # kept, dropped, invalid
        pa.field("reason", pa.dictionary(pa.int32(), pa.string())),  # as schemas.outcomes names it; empty: kept
        pa.field("cluster_size", pa.uint32()),  # 1 + documents dropped with this one as witness; 0 if it isn't kept
        pa.field("witness_run", pa.dictionary(pa.int32(), pa.string())),  # id; null, as the next three: no duplicate
        pa.field("witness_source", pa.dictionary(pa.int32(), pa.string())),  # URI
        pa.field("witness_row", pa.uint32()),
        pa.field("similarity", pa.float32()),  # 1 of the same text; estimated if one of the two is long
        pa.field("has_tokens", pa.bool_()),  # whether the run has written its tokens
    ]
)
