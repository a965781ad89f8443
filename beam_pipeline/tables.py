"""The boxes as plain functions on Arrow tables, for notebooks: no pipeline, one process, all in memory.

    table = beam_pipeline.read_documents("texts/")
    table = beam_pipeline.normalize(table)
    table = beam_pipeline.identify_language(table)
    table = beam_pipeline.apply_recipe(table, "text_statistics", my_function)

Each takes a table with a column ``text`` and returns it with the columns that the box adds or changes. ``reason`` says
why a document would go, null if it stays; a function leaves alone what has a reason already.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import DOCUMENTS
from schemas.outcomes import NULL_TEXT, OWN, Outcomes
from schemas.shards import Shard, Source
from transforms.apply_recipe import recipe_boxes
from transforms.batches import Batch
from transforms.box import Box
from transforms.fingerprint import Fingerprint
from transforms.identify_language import IdentifyLanguage
from transforms.io.readers import ReadOptions, UnreadableSource, read, split
from transforms.io.source_list import find_sources
from transforms.kernels.deduplication.options import DEFAULT as MINHASH
from transforms.kernels.deduplication.options import MinHash
from transforms.kernels.text.normalization import DEFAULT as NORMALIZATION
from transforms.kernels.text.normalization import Normalization
from transforms.normalize import Normalize
from transforms.recipe.given import specs_of
from transforms.recipe.spec import PlannedRecipe
from transforms.tokenize import Tokenization, Tokenize

ROWS_AT_ONCE = 10_000
_OWN_COLUMNS = ("row", "outcome")
_NOTEBOOK = Shard(Source(0, "a table", "", 0))


def read_documents(inputs: str | Sequence[str], options: ReadOptions = ReadOptions()) -> pa.Table:  # noqa: B008
    """All documents of files, folders, globs or prefixes: ``id``, ``text``, ``reason``, ``source`` and ``source_row``.

    Raises:
      StorageError: there is nothing to read.
      UnreadableSource: a source can't be read.
    """
    pieces = []
    for source in find_sources([inputs] if isinstance(inputs, str) else inputs):
        for shard in split(source, options):
            if shard.error:
                raise UnreadableSource(source.uri, shard.error)
            for batch in read(shard, options):
                names = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(batch), np.int32)), pa.array([source.uri]))
                reason = _reasons(batch["outcome"], Outcomes(OWN))
                columns = {name: batch[name] for name in batch.schema.names if name not in _OWN_COLUMNS}
                more = {"reason": reason, "source": names, "source_row": batch["row"]}
                pieces.append(pa.table(columns | more))
    return pa.concat_tables(pieces).unify_dictionaries() if pieces else pa.table({"text": pa.array([], pa.string())})


def normalize(table: pa.Table, options: Normalization = NORMALIZATION) -> pa.Table:
    """``Normalize``: ``text`` changed; ``already_normalized`` and ``text_bytes`` added."""
    return _through(table, [Normalize(options)])


def identify_language(table: pa.Table, box: IdentifyLanguage | None = None) -> pa.Table:
    """``IdentifyLanguage``: ``language`` and ``language_score`` added."""
    return _through(table, [box or IdentifyLanguage()])


def apply_recipe(table: pa.Table, *steps: Any, annotate_all: bool = False) -> pa.Table:
    """``Recipe``: the attributes of the steps added, ``text`` as editors leave it, ``reason`` where a step drops.

    Args:
      table: with ``language`` and ``language_score`` if a step looks at them.
      steps: as ``Recipe`` takes them.

    Raises:
      ValueError: a step can't be loaded, or the steps don't go together.
    """
    recipe = PlannedRecipe.of(specs_of(steps))
    return _through(table, recipe_boxes(recipe.steps, recipe.outcomes, annotate_all), recipe.outcomes)


def fingerprint(table: pa.Table, options: MinHash = MINHASH) -> pa.Table:
    """``Fingerprint``: ``content_hash``, ``signature``, ``shingles`` and ``bands`` added."""
    given = {name: table[name] for name in table.column_names}
    needed = {"language": pa.dictionary(pa.int32(), pa.string()), "language_score": pa.float32()}
    needed |= {"text_bytes": pa.uint32(), "already_normalized": pa.bool_()}
    missing = {name: pa.nulls(len(table), kind) for name, kind in needed.items() if name not in given}
    return _through(pa.table(given | missing), [Fingerprint(options)]).drop_columns(list(missing))


def tokenize(table: pa.Table, options: Tokenization) -> pa.Table:
    """``Tokenize``: ``input_ids`` added, null where there is no text.

    Example:
      >>> tokenize(table, Tokenization.from_file("tokenizer.json", eos="<|endoftext|>"))
    """
    return _through(table, [Tokenize(options)])


def _through(table: pa.Table, boxes: Sequence[Box], outcomes: Outcomes = Outcomes(OWN)) -> pa.Table:  # noqa: B008
    for box in boxes:
        box.setup()
    pieces = []
    start = 0
    while start < max(1, len(table)):
        piece = table.slice(start, ROWS_AT_ONCE).combine_chunks()
        batch = _batch(piece, start)
        for box in boxes:
            batch = box(batch)
        pieces.append(_with(piece, batch.data, outcomes))
        start += ROWS_AT_ONCE
    return pa.concat_tables(pieces).unify_dictionaries()


def _batch(table: pa.Table, start: int) -> Batch:
    """Rows of a table as a batch of documents; what has a reason already isn't active."""
    if "text" not in table.column_names:
        raise ValueError(f"the table has no column 'text'; it has {', '.join(table.column_names)}")
    columns = {name: _array(table[name]) for name in table.column_names if name != "reason"}
    text = columns["text"].cast(pa.string())
    out = pa.array(np.zeros(len(table), bool)) if "reason" not in table.column_names else table["reason"].is_valid()
    gone = _array(out).to_numpy(zero_copy_only=False) | text.is_null().to_numpy(zero_copy_only=False)
    kind = DOCUMENTS.field("outcome").type
    columns["outcome"] = pa.array(np.full(len(table), NULL_TEXT), mask=~gone).cast(kind)
    columns["text"] = pa.array(text.to_numpy(zero_copy_only=False), pa.string(), mask=gone)
    columns["row"] = pa.array(np.arange(start, start + len(table), dtype=np.uint32))
    columns.setdefault("id", pa.nulls(len(table), pa.string()))
    columns.setdefault("text_bytes", pc.binary_length(text).cast(pa.uint32()))
    data = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
    return Batch(_NOTEBOOK, 0 if start == 0 else start // ROWS_AT_ONCE, True, data)


def _array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    combined = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return pa.concat_arrays(combined.chunks) if isinstance(combined, pa.ChunkedArray) else combined


def _with(table: pa.Table, data: pa.RecordBatch, outcomes: Outcomes) -> pa.Table:
    """The table with the columns of what came out of a box."""
    found = {name: data[name] for name in data.schema.names if name not in _OWN_COLUMNS}
    if "id" not in table.column_names:
        found.pop("id", None)
    known = _array(table["reason"]) if "reason" in table.column_names else pa.nulls(len(table))
    if "outcome" in data.schema.names:
        found["reason"] = pc.coalesce(known.cast(pa.string()), _reasons(data["outcome"], outcomes))
    if "text" in found:  # what is dropped keeps the text that it had
        found["text"] = pc.coalesce(found["text"], _array(table["text"]).cast(pa.string()))
    return pa.table({name: table[name] for name in table.column_names} | found)


def _reasons(codes: pa.Array, outcomes: Outcomes) -> pa.Array:
    """Outcome codes by their names."""
    return pa.array([None if code is None else outcomes.table[code][1] for code in codes.to_pylist()], pa.string())
