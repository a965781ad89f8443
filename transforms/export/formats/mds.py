"""MosaicML Streaming's MDS: shards of samples, and ``index.json``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numba
import numpy as np
import numpy.typing as npt

from schemas.exports import Written
from transforms.export.formats.base import Format, Sequences, Target, refuse_over
from transforms.export.options import ExportOptions

_SHAPE_BYTES = 4
_ONE_AXIS_UINT32 = 1 << 2 | 2
"""How a dynamic ``ndarray`` begins: the number of axes, and that its shape is of uint32."""


class Mds(Format):
    """``streaming.base.format.mds``, version 2: each column an ``ndarray`` of its type, of any length.

    Offsets are uint32, so a shard has less than 4 GiB.
    """

    name = "mds"
    carries_boundaries = True
    trainers = "MosaicML Streaming, LLM Foundry, Composer"

    def write(self, sequences: Sequences, target: Target, number: int, files: int, options: ExportOptions) -> None:
        """One shard."""
        columns = sorted(sequences.lists(options.boundaries).items())
        config = json.dumps(_config(options), sort_keys=True).encode()
        count = sequences.count
        sizes = np.zeros(count, np.int64)
        for _, (offsets, values) in columns:
            sizes += 4 + 1 + _SHAPE_BYTES + np.diff(offsets) * values.itemsize
        head = 4 + 4 * (count + 1) + len(config)
        total = head + int(sizes.sum())
        refuse_over(2**32, total, "bytes of an MDS shard")
        places = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        body = np.empty(total - head, np.uint8)
        before = np.zeros(count, np.int64) + 4 * len(columns)
        for index, (_, (offsets, values)) in enumerate(columns):
            _put(body, places, before, 4 * index, offsets, np.ascontiguousarray(values).view(np.uint8), values.itemsize)
        offsets = (places + head).astype("<u4")
        target.write(_shard(number), np.array([count], "<u4"), offsets, config, body)

    def about_all(self, written: Sequence[Written], options: ExportOptions) -> Iterator[tuple[str, bytes]]:
        """``index.json``."""
        shards = [
            _config(options)
            | {
                "raw_data": {"basename": _shard(file.number), "bytes": file.objects[_shard(file.number)], "hashes": {}},
                "samples": file.sequences,
                "zip_data": None,
            }
            for file in written
        ]
        yield "index.json", json.dumps({"version": 2, "shards": shards}, sort_keys=True).encode()


def _shard(number: int) -> str:
    return f"shard.{number:05d}.mds"


def _config(options: ExportOptions) -> dict[str, object]:
    encodings = {"input_ids": f"ndarray:{options.id_type.name}"}
    if options.boundaries != "none":
        encodings[options.boundaries] = "ndarray:int32"
    names = sorted(encodings)
    return {
        "version": 2,
        "format": "mds",
        "compression": None,
        "hashes": [],
        "size_limit": None,
        "column_names": names,
        "column_encodings": [encodings[name] for name in names],
        "column_sizes": [None] * len(names),
    }


@numba.njit(cache=True, nogil=True)
def _put(
    body: npt.NDArray[np.uint8],
    places: npt.NDArray[np.int64],
    before: npt.NDArray[np.int64],
    size_at: int,
    offsets: npt.NDArray[np.int64],
    values: npt.NDArray[np.uint8],
    item: int,
) -> None:
    """Writes one column of every sample: its size in the sample's head, its shape, its values.

    Args:
      before: bytes of each sample that are taken already; moved on.
    """
    for sample in range(len(places) - 1):
        count = offsets[sample + 1] - offsets[sample]
        size = 1 + _SHAPE_BYTES + count * item
        at = places[sample] + size_at
        for byte in range(4):
            body[at + byte] = (size >> (8 * byte)) & 0xFF
        at = places[sample] + before[sample]
        body[at] = _ONE_AXIS_UINT32
        for byte in range(4):
            body[at + 1 + byte] = (count >> (8 * byte)) & 0xFF
        at += 1 + _SHAPE_BYTES
        first = offsets[sample] * item
        for byte in range(count * item):
            body[at + byte] = values[first + byte]
        before[sample] += size
