"""For which documents the duplicates of a run were dropped, shard by shard."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Iterator, Sequence

import numpy as np

from transforms.io.lineage import Lineage
from transforms.io.postgres import Connection

_SHARDS_AT_ONCE = 64


def witnesses_of(lineage: Lineage, run: str, shards: Sequence[str]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """For each of these shards its name, the places of its duplicates and, as pass 2 names them, their witnesses.

    int64 both; a witness's name is the key of its shard plus its place there. Some shards are read at a time.
    """
    key = uuid.UUID(run)
    for start in range(0, len(shards), _SHARDS_AT_ONCE):
        names = list(shards[start : start + _SHARDS_AT_ONCE])
        rows = lineage.read(functools.partial(_read, key, names))
        for shard, places, witnesses in rows:
            yield shard, np.array(places, np.int64) - 1, np.array(witnesses, np.int64)


def _read(run: uuid.UUID, shards: list[str], connection: Connection) -> list[tuple[str, list[int], list[int]]]:
    return connection.execute(
        "SELECT shard, places, witnesses FROM segments WHERE run = %s AND state = 'done' AND shard = ANY(%s)",
        (run, shards),
        binary=True,
    ).fetchall()
