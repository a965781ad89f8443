"""Fingerprint objects as everybody reads them: those of a run that was decided again refer to its parent's.

A run that was decided again (``transforms.decide_again``) stores for each shard an object like any other, but with the
columns ``FINGERPRINT`` filled in only for the documents whose texts were read again (column ``read_again``). Those of
the others are in the parent's object, which the footer names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.run_layout import PARENT
from schemas.shards import Census
from transforms.io.own_objects import opened
from transforms.io.stage_objects import census_in, notes_in

READ_AGAIN = "read_again"
FINGERPRINT = frozenset({"content_hash", "signature", "shingles", "bands"})
"""What pass 2 compares: null where a document has an outcome, so that it takes no part."""


@dataclasses.dataclass(frozen=True)
class Stored:
    """Columns of a shard's fingerprints.

    Attributes:
      table: the columns asked for, one chunk each, a row a document.
      census: of a packed shard, what each of its sources has.
      notes: what the boxes of pass 1 had to say.
    """

    table: pa.Table
    census: Census | None
    notes: dict[str, Any]


def read_fingerprints(uri: str, columns: Sequence[str], dropped_too: bool = False) -> Stored:
    """Columns of a fingerprint object (``schemas.columns.fingerprints``), merged with those of its parent.

    Memory: the columns asked for, of one shard.

    Args:
      dropped_too: give the fingerprints of documents that a later decision dropped, where they are known. Otherwise
        they are null, as in an object without a parent.

    Raises:
      DamagedObject: an object is there but can't be read.
      KeyError: neither the object nor its parents have a column.
    """
    return _merged(uri, list(columns), dropped_too)


def schema_of(uri: str) -> pa.Schema:
    """The columns that ``read_fingerprints`` finds in an object, its parents' behind its own.

    Raises:
      DamagedObject: an object is there but can't be read.
    """
    with opened(uri) as file:
        schema = pq.read_schema(file)
    fields = {field.name: field for field in schema if field.name != READ_AGAIN}
    parent = (schema.metadata or {}).get(PARENT)
    if parent:
        fields = {field.name: field for field in schema_of(parent.decode())} | fields
    return pa.schema(list(fields.values()))


def _merged(uri: str, columns: list[str], dropped_too: bool) -> Stored:
    with opened(uri) as file:
        object_ = pq.ParquetFile(file)
        metadata = object_.metadata.metadata or {}
        parent, names = metadata.get(PARENT, b"").decode(), object_.schema_arrow.names
        own = [name for name in columns if name in names]
        if len(own) < len(columns) and not parent:
            missing = next(name for name in columns if name not in names)
            raise KeyError(f"{uri} has no column {missing!r}; it has {', '.join(names)}")
        elsewhere = [name for name in columns if name in FINGERPRINT or name not in own]
        merging = bool(parent and elsewhere)
        table = object_.read(columns=[*dict.fromkeys([*own, *(["outcome", READ_AGAIN] if merging else [])])])
        merged = {name: _one_chunk(column) for name, column in zip(table.column_names, table.columns, strict=True)}
        census, notes = census_in(metadata), notes_in(metadata)
    if merging:
        of_parent = _merged(parent, elsewhere, dropped_too=True).table
        if len(of_parent) != len(table):
            raise ValueError(f"{uri} has {len(table)} documents, but its parent {parent} {len(of_parent)}")
        for name in elsewhere:
            values = of_parent[name].chunk(0)
            mine = merged.get(name, pa.nulls(len(table), _plain(values).type))
            merged[name] = _where(merged[READ_AGAIN], mine, values)
        if not dropped_too:
            active = pc.is_null(merged["outcome"])
            for name in FINGERPRINT.intersection(elsewhere):
                merged[name] = pc.if_else(active, merged[name], pa.scalar(None, merged[name].type))
    return Stored(pa.table({name: merged[name] for name in columns}), census, notes)


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    if column.num_chunks == 0:
        return pa.array([], column.type)
    return pa.concat_arrays(column.unify_dictionaries().chunks)


def _plain(values: pa.Array) -> pa.Array:
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def _where(mask: pa.Array, yes: pa.Array, no: pa.Array) -> pa.Array:
    if not pc.any(mask).as_py():
        return no
    chosen = pc.if_else(mask, _plain(yes), _plain(no).cast(_plain(yes).type))
    return chosen.dictionary_encode() if pa.types.is_dictionary(no.type) else chosen
