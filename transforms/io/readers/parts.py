"""Parts of a source that had to be counted, put together: shards whose rows are known."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from schemas.shards import MAX_ROWS_PER_SOURCE, Shard
from transforms.io.readers.reader import Piece


@dataclasses.dataclass(frozen=True)
class Counted:
    """What was counted of one part.

    Attributes:
      pieces: its rows; None if the source can't be cut where the part begins or ends.
      error: why the part, and with it the source, can't be read.
    """

    shard: Shard
    pieces: list[Piece] | None = None
    error: str = ""


def numbered(counted: Iterable[Counted]) -> list[Shard]:
    """The shards of a source of which every part was counted: rows are numbered over all of them.

    A source that can't be cut where it was is one shard, its rows unknown; one that can't be read is one with its
    ``error`` set, the first in the source.
    """
    parts = sorted(counted, key=lambda part: part.shard.begin)
    source, name = parts[0].shard.source, parts[0].shard.format
    size = sum(part.shard.size for part in parts)
    whole = Shard(source, size=size, format=name)
    if error := next((part.error for part in parts if part.error), ""):
        return [dataclasses.replace(whole, error=error)]
    shards: list[Shard] = []
    row = 0
    for part in parts:
        if part.pieces is None:
            return [whole]
        share = part.shard.size / max(1, sum(piece.rows for piece in part.pieces))
        for piece in part.pieces:
            if piece.rows:
                shards.append(
                    dataclasses.replace(
                        part.shard,
                        part=len(shards),
                        begin=piece.begin,
                        end=piece.end,
                        first_row=row,
                        rows=piece.rows,
                        size=round(share * piece.rows),
                    )
                )
                row += piece.rows
    if row > MAX_ROWS_PER_SOURCE:
        return [dataclasses.replace(whole, error=f"{row} rows, but a source can have {MAX_ROWS_PER_SOURCE}")]
    return shards or [dataclasses.replace(whole, rows=0)]
