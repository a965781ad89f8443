"""What the audit of the deduplication says, for the manifest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow.parquet as pq

from transforms.io.own_objects import opened
from transforms.kernels.deduplication.auditing import MARGIN, wilson


def summary(uri: str, min_similarity: float, near_duplicates: int) -> dict[str, Any]:
    """The audit's object (``schemas.columns.AUDIT``) in a few figures.

    A removal is right if the two texts' true similarity is at least ``min_similarity`` less the margin, four standard
    errors of the default signature. A near miss is a duplicate that stayed if its true similarity reaches
    ``min_similarity``. Both shares come with their 95 % confidence interval (Wilson). How much of what was removed its
    witness has is ``contained``, the other way round ``contains``: shares of shingles.

    Args:
      near_duplicates: how many the run has removed, of which the audit is a sample.
    """
    with opened(uri) as file:
        table = pq.read_table(file, columns=["removed", "true_similarity", "contained", "contains"])
    removed = table["removed"].to_numpy().astype(bool)
    similarity = table["true_similarity"].to_numpy()
    contained, contains = table["contained"].to_numpy(), table["contains"].to_numpy()
    lowest = round(min_similarity - MARGIN, 6)
    return {
        "min_similarity": min_similarity,
        "removed": {
            "near_duplicates": near_duplicates,
            "true_similarity": _spread(similarity[removed]),
            "contained": _spread(contained[removed]),
            "contains": _spread(contains[removed]),
            "right_from": lowest,
            **_share("precision", similarity[removed] >= lowest),
        },
        "near_misses": {
            "estimated_from": lowest,
            "true_similarity": _spread(similarity[~removed]),
            **_share("share_of_duplicates", similarity[~removed] >= min_similarity),
        },
        "listed_in": uri,
    }


def _share(name: str, yes: np.ndarray) -> dict[str, Any]:
    count = int(yes.sum())
    return {
        "sampled": len(yes),
        name: round(count / len(yes), 4) if len(yes) else None,
        f"{name}_95": [round(bound, 4) for bound in wilson(count, len(yes))],
    }


def _spread(values: np.ndarray) -> dict[str, float | None]:
    """Minimum, first percentile and median; None without values."""
    quantiles = {"min": 0.0, "first_percentile": 0.01, "median": 0.5}
    return {name: round(float(np.quantile(values, q)), 4) if len(values) else None for name, q in quantiles.items()}
