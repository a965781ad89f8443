"""A sample of the documents of an input: the same every time, from few places, and kept on this machine.

Places are row groups of Parquet, ranges of JSON Lines, or whole sources. Of an input with many, ``PLACES`` are chosen
by hashes, the larger the likelier; from each come as many documents, chosen by hashes of their rows. So every document
of the input is about as likely to be in. What is read of a store is the footers of ``SOURCES`` sources at most, and the
places that are chosen.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mmh3
import numpy as np
import pyarrow as pa
import pyarrow.ipc

from beam_pipeline.document_estimate import estimate_documents
from beam_pipeline.planned_sources import PlanError
from runners.data_folder import data_folder, make
from schemas.shards import Shard, Source
from transforms.costs import Costs, spending
from transforms.io import storage
from transforms.io.readers import ReadOptions, UnreadableSource, read, split
from transforms.io.readers.batching import cut_batches, string_lengths
from transforms.kernels.deduplication.blocks import mix

SOURCES, PLACES = 64, 32
STREAM_BATCHES = 1
"""Batches of 16 MiB of text that are read of a place whose rows nobody knows."""
STRATIFIED = 10
"""For a sample with as many documents of each language, so many times the documents are looked at."""
KEPT_SAMPLES, KEPT_BYTES = 20, 4 << 30
"""What stays in the data folder; the samples that weren't used for longest go."""
FORM = 3


@dataclasses.dataclass(frozen=True)
class Sample:
    """Documents of an input, and how much the whole input is.

    Attributes:
      documents: ``schemas.columns.DOCUMENTS`` and the kept columns, with ``source`` (URI); ``row`` is its row there.
      of_documents, of_bytes: documents and bytes of text of the whole input, estimated; bytes by what footers say, or
        by the text in a stored byte of what was read, as a single long document of the sample says little of others.
      read_seconds: CPU time of reading, a byte of text.
      weights: of a stratified sample, how many documents of the input one of each language stands for, relatively.
      was_kept: whether nothing was read.
    """

    documents: pa.Table
    of_documents: int
    of_bytes: int
    read_seconds: float = 0.0
    weights: dict[str, float] = dataclasses.field(default_factory=dict)
    was_kept: bool = False


def fingerprint_of(sources: Sequence[Source], options: ReadOptions, size: int, more: Any = None) -> str:
    """What identifies a sample: SHA-256 (hex) of the pinned sources, how they are read, and its size."""
    said = [FORM, size, repr(options), more, [[source.uri, source.etag, source.size] for source in sources]]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


def folder() -> Path:
    """Where samples are kept: ``samples`` in the data folder ($BEAM_PIPELINE_DATA_DIR)."""
    return data_folder() / "samples"


def kept(name: str) -> Sample | None:
    """The sample that was kept under a name, if it was."""
    path = folder() / f"{name}.arrow"
    try:
        with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
            table = reader.read_all()
        os.utime(path)
        said = json.loads(table.schema.metadata[b"sample"])
        return Sample(table.replace_schema_metadata(None), **said, was_kept=True)
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError):
        return None


def keep(name: str, sample: Sample) -> None:
    """Keeps a sample under a name, readable by this user only; without effect where nothing can be written."""
    said = {key: getattr(sample, key) for key in ("of_documents", "of_bytes", "read_seconds", "weights")}
    table = sample.documents.replace_schema_metadata({"sample": json.dumps(said)})
    with contextlib.suppress(OSError):
        make(data_folder())
        folder().mkdir(mode=0o700, exist_ok=True)
        path = folder() / f"{name}.arrow"
        new = path.with_suffix(f".{os.getpid()}")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            options = pa.ipc.IpcWriteOptions(unify_dictionaries=True)
            with pa.ipc.new_file(file, table.schema, options=options) as writer:
                writer.write_table(table)
        new.replace(path)
        _drop_old()


def _drop_old() -> None:
    held = 0
    found = sorted(folder().glob("*.arrow"), key=lambda path: -path.stat().st_mtime)
    for number, path in enumerate(found):
        held += path.stat().st_size
        if number and (number >= KEPT_SAMPLES or held > KEPT_BYTES):
            path.unlink(missing_ok=True)


def draw(sources: Sequence[Source], options: ReadOptions, size: int) -> Sample:
    """So many documents of the sources, or all if there are fewer; the same every time.

    Args:
      sources: of the input.
      options: how they are read, and what is kept.
      size: documents.

    Raises:
      PlanError: no document can be read.
      StorageError: the store refuses.
    """
    costs: Costs = {}
    found = _found(sources, options)
    places = _places(found, one_of_each=len(sources) > SOURCES)
    with spending(costs, "Read"):
        taken = _taken(places, size, options)
    pieces = [each.documents for each in taken]
    if not any(map(len, pieces)):
        raise PlanError("input: no document can be read in it; a run says why")
    in_order = sorted(range(len(pieces)), key=lambda number: (places[number].source.uri, places[number].begin))
    table = pa.concat_tables([pieces[number] for number in in_order]).unify_dictionaries().combine_chunks()
    of_documents = estimate_documents(sources, options)
    text_bytes = _text_bytes(table)
    if len(table) < size and not any(each.is_cut for each in taken) and len(sources) <= SOURCES:
        of_documents, of_bytes = len(table), text_bytes  # that was all
    else:
        of_documents = max(of_documents, len(table))
        of_bytes = max(round(_estimate_bytes(sources, found, taken)), text_bytes)
    decoded = sum(place.size if place.rows > 0 else 0 for place in places[: len(pieces)])  # whole row groups
    return Sample(table, of_documents, of_bytes, costs["Read"].cpu / max(1, text_bytes, decoded))


def _seed(*parts: object) -> np.uint64:
    return np.uint64(mmh3.hash64("\0".join(map(str, parts)), signed=False)[0])


def _chance(*parts: object) -> float:
    """A number in (0, 1) that depends on these parts alone."""
    return (int(_seed(*parts)) + 0.5) / 2.0**64


def _found(sources: Sequence[Source], options: ReadOptions) -> list[tuple[Source, list[Shard]]]:
    """The sources that are looked at with the places in each, in an order in which large ones are likely to come early.

    So Efraimidis and Spirakis draw without replacement.
    """
    chosen = sorted(sources, key=lambda source: np.log(_chance(source.uri)) / max(1, source.size), reverse=True)
    whole = dataclasses.replace(options, shard_bytes=1)
    found: list[tuple[Source, list[Shard]]] = []
    for source in chosen[:SOURCES]:
        shards = [shard for shard in split(source, whole) if not shard.error and shard.rows != 0]
        found.append((source, sorted(shards, key=_priority, reverse=True)))
    return found


def _places(found: Sequence[tuple[Source, list[Shard]]], one_of_each: bool) -> list[Shard]:
    """Places in the order in which they are taken."""
    if one_of_each:
        return [shard for _, shards in found for shard in shards[:1]]
    return sorted((shard for _, shards in found for shard in shards), key=_priority, reverse=True)


def _stored(place: Shard) -> int:
    """Bytes of a place as stored, where its rows aren't known: a range of bytes, or a whole source."""
    return place.end - place.begin or place.source.size


def _text_bytes(table: pa.Table) -> int:
    return sum(int(string_lengths(chunk).sum()) for chunk in table["text"].chunks)


def _estimate_bytes(
    sources: Sequence[Source], found: Sequence[tuple[Source, list[Shard]]], taken: Sequence[_Taken]
) -> float:
    """Bytes of text of all sources: as footers say, elsewhere as much a stored byte as in what was read."""
    every = [shard for _, shards in found for shard in shards]
    counted: float = sum(shard.size for shard in every if shard.rows > 0)
    others = [shard for shard in every if shard.rows < 0]
    read_bytes = sum(each.stored for each in taken)
    if read_bytes:
        counted += sum(map(_stored, others)) * sum(each.text_bytes for each in taken) / read_bytes
    else:
        counted += sum(shard.size for shard in others)
    return counted * sum(source.size for source in sources) / max(1, sum(source.size for source, _ in found))


def _priority(place: Shard) -> float:
    weight = place.size or place.rows if place.rows > 0 else place.end - place.begin or place.source.size
    return float(np.log(_chance(place.source.uri, place.first_row, place.begin)) / max(1, weight))


def _quotas(places: Sequence[Shard], size: int) -> list[int]:
    """Documents of each place: of few places in proportion to their rows, of many as many each."""
    known = all(place.rows > 0 for place in places)
    if len(places) <= PLACES and known and places:
        rows = np.array([place.rows for place in places], np.float64)
        return np.diff(np.round(np.cumsum(rows) * min(1.0, size / rows.sum())).astype(int), prepend=0).tolist()
    return [-(-size // min(PLACES, max(1, len(places))))] * len(places)


@dataclasses.dataclass(frozen=True)
class _Taken:
    """Documents of a place.

    Attributes:
      documents: as in ``Sample``.
      is_cut: whether the place has more than were looked at.
      text_bytes, stored: of all that were looked at, and the bytes as stored that they are in; 0 where rows are known.
    """

    documents: pa.Table
    is_cut: bool
    text_bytes: int = 0
    stored: int = 0


def _documents(place: Shard, wanted: int, options: ReadOptions) -> _Taken:
    """So many documents of a place, chosen by hashes of their rows; fewer if it has fewer or can't be read."""
    schema = pa.schema([*options.schema, pa.field("source", pa.dictionary(pa.int32(), pa.string()))])
    seed = _seed(place.source.uri, place.begin)
    mask = None
    if place.rows > 0:
        mask = _lowest(np.arange(place.first_row, place.first_row + place.rows), wanted, seed)
    batches: list[pa.RecordBatch] = []
    is_cut = False
    before = storage.current().bytes_read
    try:
        for batch in read(place, options, mask, lambda message: None):
            if mask is None and len(batches) == STREAM_BATCHES:
                is_cut = True
                break
            batches.append(batch)
    except UnreadableSource:
        pass  # the run lists it
    data = pa.Table.from_batches(batches, options.schema)
    text_bytes = stored = 0
    if mask is None:
        text_bytes, stored = _text_bytes(data), _stored(place)
        if is_cut:
            stored = min(stored, storage.current().bytes_read - before)
        data = data.filter(pa.array(_lowest(data["row"].to_numpy(), wanted, seed)))
    uri = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(data), np.int32)), pa.array([place.source.uri]))
    return _Taken(data.append_column("source", uri).cast(schema), is_cut, text_bytes, stored)


def _lowest(rows: np.ndarray, wanted: int, seed: np.uint64) -> np.ndarray:
    """Mask of the rows with the lowest hashes."""
    mask = np.zeros(len(rows), np.bool_)
    mask[np.argsort(mix(rows.astype(np.uint64) ^ seed), kind="stable")[:wanted]] = True
    return mask


def _taken(places: Sequence[Shard], size: int, options: ReadOptions) -> list[_Taken]:
    """Documents of each place, in the order of the places; where some have too few, the first have more."""
    found: list[_Taken] = []
    left = size
    for place, wanted in zip(places, _quotas(places, size), strict=True):
        if left <= 0:
            break
        found.append(_documents(place, min(left, wanted), options))
        left -= len(found[-1].documents)
    for number, place in enumerate(places[: len(found)]):
        if left <= 0:
            break
        before = len(found[number].documents)
        found[number] = _documents(place, before + left, options)
        left -= len(found[number].documents) - before
    return found


def every(sources: Sequence[Source], options: ReadOptions) -> Iterator[pa.Table]:
    """All documents of the sources, in order, as batches with ``source``; what can't be read is left out."""
    for source in sources:
        for shard in split(source, options):
            if shard.error:
                continue
            with contextlib.suppress(UnreadableSource):
                for batch in cut_batches(read(shard, options, None, lambda message: None)):
                    names = pa.DictionaryArray.from_arrays(
                        pa.array(np.zeros(len(batch), np.int32)), pa.array([source.uri])
                    )
                    yield pa.Table.from_batches([batch]).append_column("source", names)
