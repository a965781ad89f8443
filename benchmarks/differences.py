"""What differs between objects of two runs that should have the same bytes: rows, columns, or how they are stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

AT_ONCE = 1 << 20


def differences(expected: Path, found: Path) -> dict[str, str]:
    """Of all Parquet objects of the two text passes below two outputs, those that differ, and what differs.

    Args:
      expected, found: outputs of runs; an object that only one of them has differs, too.
    """
    names = {
        str(path.relative_to(output))
        for output in (expected, found)
        for folder in ("fingerprints", "tokens")
        for path in (output / folder).glob("*.parquet")
    }
    said = {name: difference(expected / name, found / name) for name in sorted(names)}
    return {name: what for name, what in said.items() if what}


def difference(expected: Path, found: Path) -> str:
    """What differs between two Parquet files; empty if their bytes are the same."""
    for path, words in ((expected, "isn't expected"), (found, "isn't there")):
        if not path.exists():
            return words
    place = _first_byte(expected, found)
    if place < 0:
        return ""
    one, other = pq.ParquetFile(expected), pq.ParquetFile(found)
    if one.metadata.num_rows != other.metadata.num_rows:
        return f"{other.metadata.num_rows:,} rows instead of {one.metadata.num_rows:,}"
    if one.schema_arrow.names != other.schema_arrow.names:
        return f"columns {other.schema_arrow.names} instead of {one.schema_arrow.names}"
    said = [words for name in one.schema_arrow.names if (words := _of_column(one, other, name))]
    ours, theirs = one.schema_arrow.metadata or {}, other.schema_arrow.metadata or {}
    keys = sorted(key.decode() for key in {*ours, *theirs} if ours.get(key) != theirs.get(key))
    if keys:
        said.append(f"footer: {', '.join(keys)}")
    return "; ".join(said) or f"the same rows, stored otherwise from byte {place:,} on"


def _of_column(one: pq.ParquetFile, other: pq.ParquetFile, name: str) -> str:
    """How many values of a column differ, and the first of them."""
    ours, theirs = (_plain(file.read([name])[name]) for file in (one, other))
    if ours.equals(theirs):
        return ""
    if ours.type != theirs.type:
        return f"{name}: of type {theirs.type} instead of {ours.type}"
    rows = [row for row in range(len(ours)) if ours[row] != theirs[row]]
    return f"{name}: {len(rows):,} values, the first in row {rows[0]:,}"


def _plain(column: pa.ChunkedArray) -> pa.Array:
    """Values in one piece, without their dictionary, whose order is no promise; floats as bits: NaN equals NaN."""
    plain = (column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column).combine_chunks()
    return plain.view(f"int{plain.type.bit_width}") if pa.types.is_floating(plain.type) else plain


def _first_byte(expected: Path, found: Path) -> int:
    """Where two files differ first; -1 if nowhere."""
    place = 0
    with expected.open("rb") as ours, found.open("rb") as theirs:
        while True:
            one, other = ours.read(AT_ONCE), theirs.read(AT_ONCE)
            if one != other:
                least = min(len(one), len(other))
                unlike = np.flatnonzero(np.frombuffer(one[:least], np.uint8) != np.frombuffer(other[:least], np.uint8))
                return place + int(unlike[0] if len(unlike) else least)
            if not one:
                return -1
            place += len(one)
