"""What an export will store, ask of the store and cost, judged before it is begun."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from beam_pipeline.prices import Prices, cost_summary
from schemas.exports import SPLITS

TOKENS_A_CPU_SECOND = 100e6
"""What a core chooses, shuffles, copies and writes on a busy machine (docs/export.md)."""
_GETS_OF_A_PIECE = 4
"""Twice the footer and columns of its row group: to choose, then to copy."""
_OBJECTS_OF_A_FILE = {"megatron": 2, "aleph-alpha": 3}


def estimate(format: str, id_bytes: int, pieces: pa.Table, files: tuple[int, ...], prices: Prices) -> dict[str, Any]:
    """Bytes, requests, CPU hours and cost, in the form of a run's ``--plan`` (``prices.cost_summary``).

    Args:
      pieces: ``schemas.exports.PIECES``.
      files: how many each split has.
    """
    tokens = int(pieces["tokens"].to_numpy().sum())
    stored = tokens * (4 if format == "aleph-alpha" else id_bytes)
    requests = {
        "list": len(SPLITS),
        "get": _GETS_OF_A_PIECE * len(pieces),
        "put": sum(files) * (_OBJECTS_OF_A_FILE.get(format, 1) + 1),
        "bytes_read": tokens * id_bytes,
        "bytes_written": stored,
        "bytes_reread": 0,
    }
    return cost_summary(requests, tokens / TOKENS_A_CPU_SECOND, stored, prices)
