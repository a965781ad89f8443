"""The outcome of every document of a shard, as the lineage has it."""

from __future__ import annotations

import uuid

import numpy as np

from beam_pipeline.lineage.documents import NotFoundInLineage
from schemas.outcomes import PAGE
from transforms.io.lineage import Lineage


def codes_of(lineage: Lineage, run: str, shard: str) -> np.ndarray:
    """Codes of ``schemas.outcomes``, int64, one a document in row order.

    Raises:
      NotFoundInLineage: the shard isn't done.
    """
    found = lineage.read(
        lambda connection: connection.execute(
            "SELECT array_to_string(outcomes, ''), array_to_string(pages, '') FROM segments"
            " WHERE run = %s AND shard = %s AND state = 'done'",
            (uuid.UUID(run), shard),
        ).fetchone()
    )
    if found is None:
        raise NotFoundInLineage(f"shard {shard} of run {run} isn't done")
    codes = np.frombuffer(found[0].encode(), np.uint8).astype(np.int64)
    pages = np.frombuffer(found[1].encode(), np.uint8) if found[1] else 0
    return codes + PAGE * pages
