"""The index beside each file of an export: which document each token came from (``schemas.exports.PROVENANCE``).

It is written after the objects of its file and is their commit: it names what decides their bytes, and their sizes.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas import exports
from schemas.exports import ExportFile, Written
from transforms.export.assemble import Assembled
from transforms.io import storage
from transforms.io.own_objects import MADE_AGAIN, DamagedObject, opened

ROWS = 1 << 15
"""Of a row group, about: what is read to trace a token."""
_DELTA = {"start": "DELTA_BINARY_PACKED", "sequence": "DELTA_BINARY_PACKED", "offset": "DELTA_BINARY_PACKED"}
_DICTIONARY = ["run", "copy"]


def index_uri(output: str, split: int, number: int) -> str:
    """Where the index of a file is."""
    return storage.join(output, exports.PROVENANCE_FOLDER, f"{exports.file_name(split, number)}.parquet")


def rows(assembled: Assembled) -> pa.Table:
    """The index of a file, padding with rows of its own."""
    spans, documents, sequences = assembled.spans, assembled.documents, assembled.sequences
    of = spans.document
    ends = assembled.starts + spans.length
    last = np.append(np.flatnonzero(np.diff(spans.sequence)), len(of) - 1) if len(of) else np.zeros(0, np.int64)
    padded = last[ends[last] < sequences.starts[1:]]
    start = np.concatenate([assembled.starts, ends[padded]])
    order = np.argsort(start, kind="stable")
    more = np.zeros(len(padded), np.int64)
    columns = {
        "start": start,
        "sequence": np.concatenate([spans.sequence, spans.sequence[padded]]),
        "run": np.concatenate([documents.run[of], more]),
        "document": np.concatenate([documents.id[of], more.astype(np.uint64)]),
        "offset": np.concatenate([spans.offset, more]),
        "copy": np.concatenate([documents.copy[of], more]),
    }
    padding = (np.arange(len(start)) >= len(of))[order]
    arrays = {
        name: pa.array(values[order], exports.PROVENANCE.field(name).type, mask=padding if name == "document" else None)
        for name, values in columns.items()
    }
    return pa.table(arrays, schema=exports.PROVENANCE)


def commit(file: ExportFile, output: str, table: pa.Table, written: Written) -> None:
    """Writes the index of a file: from here on the file is done."""
    metadata = {exports.SIGNATURE: file.signature.encode(), exports.COUNTS: json.dumps(written.as_json()).encode()}
    sequence = table["sequence"].to_numpy()
    bounds = [0]
    while bounds[-1] < len(sequence):  # a row group ends before a sequence
        wanted = bounds[-1] + ROWS
        if wanted >= len(sequence):
            bounds.append(len(sequence))
        else:
            end = int(np.searchsorted(sequence, sequence[wanted]))
            bounds.append(end if end > bounds[-1] else int(np.searchsorted(sequence, sequence[wanted], "right")))
    schema = exports.PROVENANCE.with_metadata(metadata)
    with (
        storage.open_output(index_uri(output, file.split, file.number)) as target,
        pq.ParquetWriter(
            target,
            schema,
            compression="zstd",
            compression_level=3,
            use_dictionary=_DICTIONARY,
            column_encoding=_DELTA,
        ) as writer,
    ):
        for first, end in itertools.pairwise(bounds):
            writer.write_table(table.slice(first, end - first), row_group_size=max(1, end - first))


def find(output: str, file: ExportFile) -> Written | None:
    """What a file has, if it is there whole and was made by what decides its bytes now."""
    stored = footer(output, file.split, file.number)
    return stored[1] if stored and stored[0] == file.signature else None


def footer(output: str, split: int, number: int) -> tuple[str, Written] | None:
    """Signature and contents of a file that is done; None if it isn't there, or its index is cut short."""
    try:
        with opened(index_uri(output, split, number), MADE_AGAIN) as source:
            metadata = pq.read_metadata(source).metadata
    except (storage.NotFound, DamagedObject):
        return None
    return metadata[exports.SIGNATURE].decode(), Written(**json.loads(metadata[exports.COUNTS]))


@dataclasses.dataclass(frozen=True)
class Place:
    """A token of an export, and where it came from.

    Attributes:
      sequence, position: of the file.
      run: position of the run in the export's plan.
      document: id in that run; None: the token is padding.
      offset: token of the document as exported.
      copy: how often the document was taken before.
      begin, end: tokens of the sequence that are of the same piece.
    """

    sequence: int
    position: int
    run: int
    document: int | None
    offset: int
    copy: int
    begin: int
    end: int


class NoSuchToken(ValueError):
    """A file has no such sequence, or the sequence no such position."""


class ProvenanceIndex:
    """The open index of a file: answers in milliseconds, from one row group."""

    def __init__(self, output: str, split: int, number: int) -> None:
        self.uri = index_uri(output, split, number)
        self.name = exports.file_name(split, number)
        self._file = storage.open_input(self.uri)
        self._parquet = pq.ParquetFile(self._file)
        metadata = self._parquet.metadata
        self.written = Written(**json.loads(metadata.metadata[exports.COUNTS]))
        self.tokens = self.written.tokens + self.written.padding
        columns = {name: number for number, name in enumerate(exports.PROVENANCE.names)}
        self._first = {
            name: np.array(
                [
                    metadata.row_group(group).column(columns[name]).statistics.min
                    for group in range(metadata.num_row_groups)
                ]
            )
            for name in ("sequence", "start")
        }

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def at(self, sequence: int, position: int = 0) -> Place:
        """The token at a position of a sequence.

        Raises:
          NoSuchToken: there is none.
        """
        if not 0 <= sequence < self.written.sequences:
            raise NoSuchToken(f"sequence: {self.uri} has {self.written.sequences} sequences, so none is {sequence}")
        group = self._group("sequence", sequence)
        numbers = group["sequence"].to_numpy()
        first, last = np.searchsorted(numbers, [sequence, sequence + 1])
        starts = group["start"].to_numpy().astype(np.int64)
        stop = self._stop(starts, int(last))
        length = stop - int(starts[first])
        if not 0 <= position < length:
            raise NoSuchToken(f"position: sequence {sequence} has {length} tokens, so none is {position}")
        return self._place(group, starts, stop, int(first), int(last), int(starts[first]) + position)

    def at_token(self, token: int) -> Place:
        """The token at a position of the whole file, as in a memory map of it.

        Raises:
          NoSuchToken: there is none.
        """
        if not 0 <= token < self.tokens:
            raise NoSuchToken(f"position: {self.uri} has {self.tokens} tokens, so none is {token}")
        group = self._group("start", token)
        sequences = group["sequence"].to_numpy()
        row = int(np.searchsorted(group["start"].to_numpy(), token, "right")) - 1
        first, last = np.searchsorted(sequences, [sequences[row], sequences[row] + 1])
        starts = group["start"].to_numpy().astype(np.int64)
        return self._place(group, starts, self._stop(starts, int(last)), int(first), int(last), token)

    def of(self, run: int, documents: npt.NDArray[np.uint64]) -> list[Place]:
        """Every piece of these documents in the file, at its first token."""
        found = []
        wanted = pa.array(documents, pa.uint64())
        for group in range(self._parquet.num_row_groups):
            ids = self._parquet.read_row_group(group, columns=["document", "run"], use_threads=False)
            hit = pc.and_(pc.is_in(ids["document"], value_set=wanted), pc.equal(ids["run"], run))
            rows_found = np.flatnonzero(pc.fill_null(hit, False).to_numpy(zero_copy_only=False))
            if not len(rows_found):
                continue
            table = self._parquet.read_row_group(group, use_threads=False)
            sequences = table["sequence"].to_numpy()
            starts = table["start"].to_numpy().astype(np.int64)
            for row in rows_found:
                first, last = np.searchsorted(sequences, [sequences[row], sequences[row] + 1])
                stop = self._stop(starts, int(last))
                found.append(self._place(table, starts, stop, int(first), int(last), int(starts[row])))
        return found

    def _group(self, column: str, value: int) -> pa.Table:
        self._read = max(0, int(np.searchsorted(self._first[column], value, "right")) - 1)
        return self._parquet.read_row_group(self._read, use_threads=False)

    def _stop(self, starts: npt.NDArray[np.int64], last: int) -> int:
        """Where the sequence ends whose pieces end before ``last``, in a row group whose pieces begin at ``starts``."""
        if last < len(starts):
            return int(starts[last])
        later = self._first["start"][self._first["start"] > int(starts[-1])]
        return int(later[0]) if len(later) else self.tokens

    def _place(
        self, table: pa.Table, starts: npt.NDArray[np.int64], stop: int, first: int, last: int, token: int
    ) -> Place:
        row = int(np.searchsorted(starts[first:last], token, "right")) - 1 + first
        end = int(starts[row + 1]) if row + 1 < last else stop
        found: dict[str, Any] = {name: table[name][row].as_py() for name in table.column_names}
        base = int(starts[first])
        return Place(
            sequence=found["sequence"],
            position=token - base,
            run=found["run"],
            document=found["document"],
            offset=found["offset"] + token - int(starts[row]),
            copy=found["copy"],
            begin=int(starts[row]) - base,
            end=end - base,
        )
