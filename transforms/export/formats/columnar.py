"""Sequences as rows: Parquet, and the Arrow files that Hugging Face ``datasets`` maps."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.exports import Written
from transforms.export.formats.base import Format, Sequences, Target
from transforms.export.options import ExportOptions
from transforms.io.stage_objects import parquet_writer

ROW_GROUP_TOKENS = 4 << 20
"""Parquet: 8 MB of 16-bit ids, to be read at once."""
ARROW_ROWS = 1000
"""Rows of a record batch, as ``datasets`` writes them."""


def _schema(options: ExportOptions) -> pa.Schema:
    fields = [pa.field("input_ids", pa.list_(pa.from_numpy_dtype(options.id_type)))]
    if options.boundaries != "none":
        fields.append(pa.field(options.boundaries, pa.list_(pa.int32())))
    return pa.schema(fields)


def _rows(sequences: Sequences, options: ExportOptions, bounds: np.ndarray) -> Iterator[pa.RecordBatch]:
    """Record batches of the sequences between these bounds."""
    columns = sequences.lists(options.boundaries)
    schema = _schema(options)
    for first, last in itertools.pairwise(bounds):
        arrays = []
        for name in schema.names:
            offsets, values = columns[name]
            begin, end = offsets[first], offsets[last]
            own = pa.array((offsets[first : last + 1] - begin).astype(np.int32))
            arrays.append(pa.ListArray.from_arrays(own, pa.array(values[begin:end])))
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


class Parquet(Format):
    """A row a sequence, ``input_ids`` a list; zstd."""

    name = "parquet"
    carries_boundaries = True
    trainers = "anything that reads Parquet"

    def write(self, sequences: Sequences, target: Target, number: int, files: int, options: ExportOptions) -> None:
        """Row groups of 4 million tokens."""
        group = sequences.starts[:-1] // ROW_GROUP_TOKENS
        bounds = np.concatenate([np.flatnonzero(np.diff(group, prepend=-1)), [sequences.count]])
        with target.open(f"part-{number:05d}.parquet") as file:
            writer = parquet_writer(file, _schema(options), "input_ids", use_dictionary=False)
            for rows in _rows(sequences, options, bounds):
                writer.write_batch(rows, row_group_size=max(1, rows.num_rows))
            writer.close()


class Arrow(Format):
    """A folder for ``datasets.load_from_disk``; with both splits, the folder above is a ``DatasetDict``."""

    name = "arrow"
    carries_boundaries = True
    trainers = "Hugging Face datasets and what is built on it"

    def write(self, sequences: Sequences, target: Target, number: int, files: int, options: ExportOptions) -> None:
        """An Arrow stream, which is mapped as it is."""
        bounds = np.append(np.arange(0, sequences.count, ARROW_ROWS), sequences.count)
        with target.open(_data_file(number, files)) as file, pa.ipc.new_stream(file, _schema(options)) as writer:
            for rows in _rows(sequences, options, bounds):
                writer.write_batch(rows)

    def about_all(self, written: Sequence[Written], options: ExportOptions) -> Iterator[tuple[str, bytes]]:
        """What ``load_from_disk`` reads first."""
        features = {
            field.name: {"feature": {"dtype": str(field.type.value_type), "_type": "Value"}, "_type": "Sequence"}
            for field in _schema(options)
        }
        names = [_data_file(file.number, len(written)) for file in written]
        fingerprint = hashlib.sha256(json.dumps([file.as_json() for file in written]).encode()).hexdigest()[:16]
        state: dict[str, Any] = {
            "_data_files": [{"filename": name} for name in names],
            "_fingerprint": fingerprint,
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": None,
        }
        yield "dataset_info.json", json.dumps({"citation": "", "description": "", "features": features}).encode()
        yield "state.json", json.dumps(state, indent=2, sort_keys=True).encode()

    def about_splits(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """What makes the splits one ``DatasetDict``."""
        yield "dataset_dict.json", json.dumps({"splits": list(names)}).encode()


def _data_file(number: int, files: int) -> str:
    return f"data-{number:05d}-of-{files:05d}.arrow"
