"""What is decided of a shard from stored columns, in a run that decides again."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa

from schemas.shards import Census, Shard


@dataclasses.dataclass(frozen=True, eq=False)
class RulesDecided:
    """What is decided of a shard without its texts.

    Attributes:
      shard: its rows are known.
      codes: uint16, the outcome of each document, 0 while it is in play.
      read: mask of the documents whose texts must be read, of which ``codes`` say nothing.
      census: of a packed shard.
      columns: attributes that were made of stored columns.
    """

    shard: Shard
    codes: np.ndarray
    read: np.ndarray
    census: Census | None
    columns: dict[str, pa.Array] = dataclasses.field(default_factory=dict)
