"""The compiled run-length encoding against one that is read level by level, and what is refused."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.io.token_lists.list_pages import encode_lists, encode_runs

RUNS = st.lists(st.tuples(st.integers(0, 3), st.one_of(st.integers(0, 3), st.integers(0, 1 << 40))), max_size=20)


def decoded_reference(data: bytes) -> list[tuple[int, int]]:
    """(value, length) of every run, as the format's description has it."""
    runs, position = [], 0
    while position < len(data):
        header = shift = 0
        while True:
            byte = data[position]
            header |= (byte & 0x7F) << shift
            position, shift = position + 1, shift + 7
            if byte < 0x80:
                break
        assert header & 1 == 0, "a bit-packed run"
        runs.append((data[position], header >> 1))
        position += 1
    return runs


@given(RUNS)
def test_runs_come_back_merged(runs: list[tuple[int, int]]) -> None:
    merged: list[tuple[int, int]] = []
    for value, length in runs:
        if length and merged and merged[-1][0] == value:
            merged[-1] = value, merged[-1][1] + length
        elif length:
            merged.append((value, length))
    values = np.array([value for value, _ in runs], np.uint8)
    lengths = np.array([length for _, length in runs], np.int64)
    assert decoded_reference(encode_runs(values, lengths).tobytes()) == merged


@pytest.mark.parametrize("ids", [pa.array([[1]], pa.list_(pa.int32())), pa.array([[1, None]], pa.list_(pa.uint16()))])
def test_other_ids_are_refused(ids: pa.ListArray) -> None:
    with pytest.raises(ValueError, match="token ids must be uint16 or uint32, none of them null"):
        encode_lists(ids, pa.Codec("zstd", 1))
