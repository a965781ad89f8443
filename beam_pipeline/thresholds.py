"""Thresholds of the quality rules by language, from the attributes that a finished run has stored.

A threshold is a quantile of what the rule looks at: at 0.1, each rule would drop a tenth of the documents of a
language. FineWeb2 sets thresholds so (its "10Tail"), from text that it trusts, such as Wikipedia: run the annotators
over such text first. Its threshold of the language score is another: the median less the standard deviation, at least
0.3 and at most 0.9.

Counted in histograms of 2,000 bins, so that the memory doesn't grow with the documents: 0.3 MB a language.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from beam_pipeline.finished_runs import FinishedRun, NotUsable
from transforms.io import storage
from transforms.io.own_objects import opened
from transforms.recipe.expressions import Expression
from transforms.recipe.families import (
    DUPLICATE_LINES,
    ENDED_LINES,
    MEAN_LENGTH,
    NGRAMS_DUPLICATE,
    NGRAMS_TOP,
    TEXT,
    TOKENS,
)
from transforms.recipe.fineweb2 import language_of, published

BINS = 2001
TENTH = 0.1
LOWEST_SCORE, HIGHEST_SCORE = 0.3, 0.9


@dataclasses.dataclass(frozen=True)
class Looked:
    """What a threshold is of.

    Attributes:
      key: of the threshold, as ``fineweb2`` reads it; of n-grams, ``KEY.N``.
      expression: on attributes.
      is_lowest: whether documents stay from the threshold on, not up to it.
      step: the width of a bin of its histogram.
    """

    key: str
    expression: str
    is_lowest: bool = False
    step: float = 0.001


LOOKED = (
    Looked("dup_line_frac", DUPLICATE_LINES),
    *(Looked(f"top_n_grams.{n}", f"top_{n}gram_characters / {TEXT}") for n in NGRAMS_TOP),
    *(Looked(f"dup_n_grams.{n}", f"duplicate_{n}gram_characters / {TEXT}") for n in NGRAMS_DUPLICATE),
    Looked("line_punct_thr", ENDED_LINES, is_lowest=True),
    Looked("new_line_ratio", f"newlines / {TOKENS}"),
    Looked("min_avg_word_length", MEAN_LENGTH, is_lowest=True, step=0.02),
    Looked("max_avg_word_length", MEAN_LENGTH, step=0.02),
    Looked("max_non_alpha_words_ratio", f"letter_words / {TOKENS}", is_lowest=True),
    Looked("language_score", "language_score", is_lowest=True),
)
KEYS = tuple(dict.fromkeys(looked.key.partition(".")[0] for looked in LOOKED))


def quantiles_of(given: str) -> dict[str, float]:
    """``0.1`` or ``0.1,new_line_ratio=0.05`` as a mapping from keys to quantiles.

    Raises:
      ValueError: it isn't of this form, or not between 0 and 0.5.
    """
    found = dict.fromkeys(KEYS, TENTH)
    for part in filter(None, map(str.strip, given.split(","))):
        key, equals, value = part.rpartition("=")
        if equals and key not in KEYS:
            raise ValueError(f"--quantiles: there is no threshold {key!r}; there are {', '.join(KEYS)}")
        try:
            quantile = float(value)
        except ValueError:
            raise ValueError(f"--quantiles: {part!r} is neither a number nor KEY=NUMBER") from None
        if not 0 <= quantile <= 0.5:
            raise ValueError(f"--quantiles: {part!r} must be between 0 and 0.5: the share that a rule would drop")
        found |= {key: quantile} if equals else dict.fromkeys(KEYS, quantile)
    return found


def histograms(run: FinishedRun) -> dict[str, np.ndarray]:
    """For each language int64[len(LOOKED), BINS]: how many documents have which value.

    Documents count that have all the attributes: those that a step before dropped don't.

    Raises:
      NotUsable: the run hasn't stored the attributes.
      DamagedObject, StorageError: an object can't be read.
    """
    expressions = [Expression.parse(looked.expression) for looked in LOOKED]
    wanted = sorted({name for expression in expressions for name in expression.columns} | {"language"})
    found: dict[str, np.ndarray] = {}
    for info in storage.list_objects(run.layout.fingerprints):
        with opened(info.uri) as file:
            parquet = pq.ParquetFile(file)
            missing = sorted({*wanted} - {*parquet.schema_arrow.names})
            if missing:
                raise NotUsable(
                    f"{run.output}: its documents have no attribute {missing[0]!r}; run it with "
                    "`text_statistics: {repetition: true}` in the recipe"
                )
            for group in range(parquet.num_row_groups):
                _count(parquet.read_row_group(group, columns=wanted), expressions, found)
    return found


def _count(rows: pa.Table, expressions: list[Expression], found: dict[str, np.ndarray]) -> None:
    whole = pc.and_(pc.is_valid(rows["words"]), pc.is_valid(rows["duplicate_10gram_characters"]))
    rows = rows.filter(pc.and_(whole, pc.is_valid(rows["language"])))
    languages = rows["language"].cast(pa.string()).combine_chunks().dictionary_encode()
    labels, which = languages.dictionary.to_pylist(), languages.indices.to_numpy()
    for place, (looked, expression) in enumerate(zip(LOOKED, expressions, strict=True)):
        values = expression.evaluate(rows).cast(pa.float64()).to_numpy(zero_copy_only=False)
        bins = np.clip(np.round(values / looked.step), 0, BINS - 1).astype(np.int64)
        counts = np.bincount(which * BINS + bins, minlength=len(labels) * BINS).reshape(len(labels), BINS)
        for number, label in enumerate(labels):
            found.setdefault(label, np.zeros((len(LOOKED), BINS), np.int64))[place] += counts[number]


def thresholds(
    counts: Mapping[str, np.ndarray], quantiles: Mapping[str, float], min_documents: int, score_of_fineweb2: bool
) -> dict[str, dict[str, Any]]:
    """Thresholds by language, as ``fineweb2: {thresholds: FILE}`` reads them.

    Args:
      counts: of ``histograms``.
      quantiles: by key, the share of documents that a rule would drop.
      min_documents: a language with fewer is left out.
      score_of_fineweb2: the language score by FineWeb2's formula, not as a quantile.
    """
    found = {}
    known = frozenset(published())
    for label in sorted(counts):
        if label == "und" or counts[label][0].sum() < min_documents:
            continue
        values: dict[str, Any] = {}
        for looked, histogram in zip(LOOKED, counts[label], strict=True):
            key, _, n = looked.key.partition(".")
            if key == "language_score" and score_of_fineweb2:
                value = _median_less_deviation(histogram) * looked.step
                value = min(max(value, LOWEST_SCORE), HIGHEST_SCORE)
            else:
                value = _quantile(histogram, quantiles[key], looked.is_lowest) * looked.step
            if n:
                values.setdefault(key, []).append([int(n), round(value, 3)])
            else:
                values[key] = round(value, 3)
        language = language_of(label, known)
        if language:
            values["stopwords"] = list(published()[language]["stopwords"])
        found[language or label] = values
    return found


def _quantile(histogram: np.ndarray, share: float, is_lowest: bool) -> int:
    """The bin at which the rule drops at most this share of the documents."""
    total = int(histogram.sum())
    if is_lowest:
        below = np.concatenate(([0], np.cumsum(histogram)))[:BINS]  # documents under each bin
        return int(np.flatnonzero(below <= share * total)[-1])
    above = total - np.cumsum(histogram)
    return int(np.flatnonzero(above <= share * total)[0])


def _median_less_deviation(histogram: np.ndarray) -> float:
    total = histogram.sum()
    median = float(np.searchsorted(np.cumsum(histogram), total / 2))
    mean = float((np.arange(BINS) * histogram).sum() / total)
    variance = float((histogram * (np.arange(BINS) - mean) ** 2).sum() / total)
    return median - variance**0.5


def as_yaml(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The thresholds as a file."""
    text: str = yaml.safe_dump(dict(found), allow_unicode=True, default_flow_style=None, sort_keys=True, width=110)
    return text
