"""One object written is one commit: where the objects of a stage are, and whether a shard's is there and matches."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import logging
import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.run_layout import CENSUS, ERROR, ETAG, FIRST_ROW, NOTES, SETTINGS, SOURCES
from schemas.shards import Census, Shard
from transforms.io import storage
from transforms.io.json_lines_writer import JsonLinesWriter
from transforms.io.own_objects import MADE_AGAIN, DamagedObject, opened
from transforms.io.token_lists.list_file import ListFileWriter

LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class StageObjects:
    """The objects of one stage, one a shard under a name that depends on the shard only.

    Each carries in its Parquet footer the hash of the settings that made it and its source's ETag; the fingerprints of
    a packed shard carry what each of its sources has.

    Attributes:
      uri: folder or prefix.
      settings_hash: hash of all that decides the contents.
      lines: folder or prefix where the rows stand as JSON Lines, too; empty: nowhere. They are committed before the
        object, which isn't found without them.
    """

    uri: str
    settings_hash: str
    lines: str = ""

    def uri_of(self, shard: Shard) -> str:
        """Where the shard's object is or will be."""
        return storage.join(self.uri, f"{shard.name}.parquet")

    def lines_of(self, shard: str) -> str:
        """Where the rows of a shard, by its name, stand as JSON Lines; empty if nowhere."""
        return storage.join(self.lines, f"{shard}.jsonl.zst") if self.lines else ""

    def open(
        self, shard: Shard, schema: pa.Schema, error: str = "", lists: str | None = None, **options: Any
    ) -> ObjectWriter:
        """Begins the shard's object.

        Args:
          schema: of its rows.
          error: why it will be empty.
          lists: a column of lists of token ids, which ``transforms.io.token_lists.list_file`` writes.
          options: Parquet's.
        """
        metadata = self._identity(shard) | {ERROR: error.encode()}
        lines = JsonLinesWriter(self.lines_of(shard.name)) if self.lines else None
        return ObjectWriter(self.uri_of(shard), schema.with_metadata(metadata), lists, lines, **options)

    def set_aside(self, shard: Shard, reason: str) -> None:
        """Puts an empty object that says why in the place of the shard's."""
        with storage.open_input(self.uri_of(shard)) as file:
            schema = pq.read_schema(file)
        self.open(shard, schema, reason).commit()

    def find(self, shard: Shard) -> Committed | None:
        """The shard's object if it is there and was made by the same settings from the same source.

        An object of other settings is none of ours: it will be replaced. So will one that is cut short.
        """
        try:
            with opened(self.uri_of(shard), MADE_AGAIN) as file:
                footer = pq.read_metadata(file)
        except storage.NotFound:
            return None
        except DamagedObject as error:
            LOGGER.warning("%s", error)
            return None
        stored = footer.metadata or {}
        if any(stored.get(key) != value for key, value in self._identity(shard).items()):
            return None
        if self.lines and storage.stat(self.lines_of(shard.name)) is None:
            return None
        return Committed(footer.num_rows, stored[ERROR].decode())

    def census(self, shard: Shard) -> Census | None:
        """What each source of a packed shard has, from the shard's object; None for any other shard."""
        if not shard.packed:
            return None
        with opened(self.uri_of(shard)) as file:
            return census_in(pq.read_metadata(file).metadata)

    def _identity(self, shard: Shard) -> dict[bytes, bytes]:
        values = {SETTINGS: self.settings_hash, ETAG: shard.etag, FIRST_ROW: str(shard.first_row)}
        values |= {SOURCES: str(shard.sources)} if shard.packed else {}
        return {key: value.encode() for key, value in values.items()}


def made_by(uri: str, settings_hash: str) -> bool:
    """Whether an object of a stage was made by these settings; one that is cut short will be made again."""
    try:
        with opened(uri) as file:
            stored = pq.read_metadata(file).metadata or {}
    except DamagedObject:
        return True
    return bool(stored.get(SETTINGS) == settings_hash.encode())


def stranger_in(folder: str, settings_hash: str) -> str | None:
    """The first object of a folder that other settings have made; None if there is none."""
    try:
        return next((info.uri for info in storage.list_objects(folder) if not made_by(info.uri, settings_hash)), None)
    except storage.NotFound:
        return None


def census_in(metadata: Mapping[bytes, bytes]) -> Census | None:
    """What a fingerprint object's footer says of the sources of a packed shard, if it is of one."""
    if CENSUS not in metadata:
        return None
    stored = json.loads(zlib.decompress(base64.b85decode(metadata[CENSUS])))
    errors = {int(position): reason for position, reason in stored["errors"].items()}
    return Census(np.array(stored["rows"], np.int64), errors)


def notes_in(metadata: Mapping[bytes, bytes]) -> dict[str, Any]:
    """What the boxes of pass 1 noted about a shard, from the footer of its fingerprint object."""
    return dict(json.loads(metadata[NOTES])) if NOTES in metadata else {}


def notes_entry(notes: Mapping[str, Any]) -> dict[bytes, bytes]:
    """Notes as an entry of a footer."""
    return {NOTES: json.dumps(notes, sort_keys=True).encode()} if notes else {}


def census_entry(census: Census | None) -> dict[bytes, bytes]:
    """A census as an entry of a footer: most sources are alike, so little is left of it."""
    if census is None:
        return {}
    text = json.dumps({"rows": census.rows.tolist(), "errors": census.errors})
    return {CENSUS: base64.b85encode(zlib.compress(text.encode()))}


class Committed(NamedTuple):
    """What the object of a shard says: its rows, and why the shard can't be read (empty if it can)."""

    rows: int
    error: str


def parquet_writer(
    file: BinaryIO, schema: pa.Schema, lists: str | None = None, **options: Any
) -> pq.ParquetWriter | ListFileWriter:
    """How every stage writes Parquet; arguments as for ``StageObjects.open``.

    Zstandard at level 1: level 3 costs twice the time for 3 % fewer bytes on token ids.
    """
    options |= {"compression": "zstd", "compression_level": 1}
    if lists is None:
        return pq.ParquetWriter(file, schema, **options)
    return ListFileWriter(file, schema, lists, **options)


class ObjectWriter:
    """Writes one Parquet object whole or not at all, a row group a batch, in memory bounded by one batch.

    Args:
      uri, schema, lists, options: as for ``StageObjects.open``.
      lines: takes the same rows.
    """

    def __init__(
        self,
        uri: str,
        schema: pa.Schema,
        lists: str | None = None,
        lines: JsonLinesWriter | None = None,
        **options: Any,
    ) -> None:
        self._lines = lines
        self._output = storage.open_output(uri)
        self._file = self._output.__enter__()
        self._writer = parquet_writer(self._file, schema, lists, **options)

    def write(self, batch: pa.RecordBatch) -> None:
        """Appends a row group."""
        self._writer.write_batch(batch, row_group_size=max(1, batch.num_rows))
        if self._lines:
            self._lines.write(batch)

    def commit(self, more: Mapping[bytes, bytes] | None = None) -> None:
        """Completes the object: from here on it is there under its name.

        Args:
          more: entries for its footer that weren't known when it was begun; not with ``lists``.
        """
        try:
            if self._lines:
                self._lines.close()
            if more and isinstance(self._writer, pq.ParquetWriter):
                self._writer.add_key_value_metadata(more)
            self._writer.close()
        except BaseException as error:
            self._output.__exit__(type(error), error, error.__traceback__)
            raise
        self._output.__exit__(None, None, None)

    def abort(self) -> None:
        """Leaves nothing behind."""
        with contextlib.suppress(OSError, pa.ArrowException):
            self._writer.close()  # into the unnamed object; left open, it would try when it is collected
        error = ObjectAborted()
        if self._lines:
            self._lines.close(error)
        self._output.__exit__(type(error), error, None)


class ObjectAborted(Exception):
    """Tells an output that what was written to it is void."""
