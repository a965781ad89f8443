"""Buckets of scores: percentiles among the kept documents of a language, weighted by their tokens (as Nemotron-CC's).

Memory: the columns that are needed of one shard, and 16 bytes for each distinct value of a score in a language; a
float16 between 0 and 1 has 15,361.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from beam_pipeline.finished_runs import FinishedRun, NotUsable, fingerprints_of
from beam_pipeline.preflight import is_numeric
from beam_pipeline.what_if import kept_tokens
from transforms.deduplication.stored_fingerprints import stored_shard
from transforms.io.fingerprint_objects import read_fingerprints, schema_of
from transforms.recipe.buckets import ANY, MOST

Weights = tuple[np.ndarray, np.ndarray]
"""Distinct values, ascending, and the tokens of the documents that have each."""


def score_buckets(run: FinishedRun, scores: Sequence[str], buckets: int = 20) -> dict[str, dict[str, list[float]]]:
    """The cuts between buckets, for each score, for each language and for all languages together (``""``).

    Cut k is the least score that is over k / buckets of the tokens: the documents below it have at most that share.

    Args:
      scores: numeric columns of the fingerprint objects.
      buckets: how many, 2 to 256.

    Raises:
      ValueError: the number of buckets is out of range.
      NotUsable: the run has no such column, or no document with a score.
    """
    if not 2 <= buckets <= MOST:
        raise ValueError(f"buckets: {buckets}; there can be 2 to {MOST}")
    if not run.plan.deciding.writes_tokens:
        raise NotUsable(f"scores: {run.output} has written text, and buckets are weighted by tokens")
    planned = fingerprints_of(run)
    _check(scores, planned[0][2])
    weights: dict[tuple[str, str], Weights] = {}
    for item in planned:
        shard = stored_shard(item)
        if shard.error or not shard.rows:
            continue
        found = read_fingerprints(item[2], ["language", *scores])
        kept, tokens = kept_tokens(shard, found.census, run.layout.tokens)
        languages = found.table["language"].combine_chunks()
        labels = languages.indices.fill_null(-1).to_numpy()
        for score in scores:
            values = found.table[score].combine_chunks().cast(pa.float64()).to_numpy(zero_copy_only=False)
            counted = kept & ~np.isnan(values)
            for number, language in enumerate(languages.dictionary.to_pylist()):
                here = counted & (labels == number)
                if here.any():
                    key = (score, language)
                    weights[key] = _merged([*([weights[key]] if key in weights else []), (values[here], tokens[here])])
    cuts: dict[str, dict[str, list[float]]] = {}
    for score in scores:
        of_score = {language: found for (name, language), found in sorted(weights.items()) if name == score}
        if not of_score:
            raise NotUsable(f"scores: no document that {run.output} has kept has a {score!r}")
        of_score[ANY] = _merged(list(of_score.values()))
        cuts[score] = {language: _cuts(found, buckets) for language, found in sorted(of_score.items())}
    return cuts


def _check(scores: Sequence[str], uri: str) -> None:
    numeric = [field.name for field in schema_of(uri) if is_numeric(field.type)]
    for score in scores:
        if score not in numeric:
            raise NotUsable(f"scores: there is no numeric column {score!r}; there are {', '.join(numeric)}")


def _merged(parts: Sequence[Weights]) -> Weights:
    values, which = np.unique(np.concatenate([values for values, _ in parts]), return_inverse=True)
    weights = np.bincount(which, np.concatenate([weights for _, weights in parts]), len(values))
    return values, weights.astype(np.int64)


def _cuts(found: Weights, buckets: int) -> list[float]:
    values, weights = found
    up_to = np.cumsum(weights)
    shares = np.arange(1, buckets) * int(up_to[-1])
    places = np.searchsorted(up_to * buckets, shares, side="right")
    return values[np.minimum(places, len(values) - 1)].tolist()
