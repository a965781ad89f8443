"""Two recipes on the same documents: what only one of them keeps, and whether languages fare differently.

That two shares of a language differ by chance is judged by McNemar's exact test on the documents that only one recipe
keeps: each of them is as likely to be kept by the one as by the other if the recipes are equally strict. As many
languages are asked at once, Holm's correction is applied.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_pipeline.trial.result import Result

SIGNIFICANT = 0.05
_EXACT = 1000
"""From so many documents on, the normal distribution stands for the binomial."""


@dataclasses.dataclass(frozen=True)
class Compared:
    """One language under two recipes.

    Attributes:
      language: its label; empty: all together.
      documents: that have a text.
      one, other: documents that each recipe keeps.
      only_one, only_other: that it alone keeps.
      p: how likely such a difference is if the recipes were equally strict in the language, corrected for the number
        of languages.
    """

    language: str
    documents: int
    one: int
    other: int
    only_one: int
    only_other: int
    p: float

    @property
    def is_significant(self) -> bool:
        """Whether the difference is hardly chance."""
        return self.p < SIGNIFICANT


@dataclasses.dataclass(frozen=True)
class Against:
    """Two results on the same documents.

    Attributes:
      languages: all together first, then the commonest.
      only_one, only_other: rows of the documents that one alone keeps, with why the other drops them, as tables
        ``source``, ``row``, ``id``, ``language``, ``step``, ``reason``.
    """

    languages: tuple[Compared, ...]
    only_one: pa.Table
    only_other: pa.Table


def against(one: Result, other: Result) -> Against:
    """Compares two results.

    Raises:
      ValueError: they are not of the same documents.
    """
    a, b = one.documents, other.documents
    if not a["row"].equals(b["row"]) or a["source"].to_pylist() != b["source"].to_pylist():
        raise ValueError("the two results aren't of the same documents: try both recipes on one sample")
    kept_a, kept_b = (pc.equal(table["outcome"], "kept").to_numpy() for table in (a, b))
    usable = pc.not_equal(a["outcome"], "invalid").to_numpy()
    languages = a["language"].combine_chunks().fill_null("").dictionary_encode()
    codes = languages.indices.to_numpy()
    found = [_compared("", usable, kept_a, kept_b)]
    found += [
        _compared(name, usable & (codes == code), kept_a, kept_b)
        for code, name in enumerate(languages.dictionary.to_pylist())
    ]
    in_order = sorted(found[1:], key=lambda each: (-each.documents, each.language))
    named = ("source", "row", "id", "language", "step", "reason")
    return Against(
        (found[0], *_corrected([each for each in in_order if each.documents])),
        b.select(named).filter(pa.array(kept_a & ~kept_b)),
        a.select(named).filter(pa.array(kept_b & ~kept_a)),
    )


def _compared(language: str, mask: np.ndarray, one: np.ndarray, other: np.ndarray) -> Compared:
    only_one, only_other = int((mask & one & ~other).sum()), int((mask & other & ~one).sum())
    p = probability(only_one, only_other)
    return Compared(
        language, int(mask.sum()), int((mask & one).sum()), int((mask & other).sum()), only_one, only_other, p
    )


def probability(one: int, other: int) -> float:
    """McNemar's test, two-sided: of so many coin tosses, one side comes up so seldom or more seldom."""
    tosses, fewer = one + other, min(one, other)
    if not tosses or one == other:
        return 1.0
    if tosses > _EXACT:
        return math.erfc((abs(one - other) - 1) / math.sqrt(2 * tosses))
    return min(1.0, 2 * sum(math.comb(tosses, count) for count in range(fewer + 1)) / 2**tosses)


def _corrected(found: Sequence[Compared]) -> list[Compared]:
    """With Holm's correction for the languages in which anything differs."""
    asked = sorted((each for each in found if each.only_one + each.only_other), key=lambda each: each.p)
    least, corrected = 0.0, dict[str, float]()
    for number, each in enumerate(asked):
        least = max(least, min(1.0, each.p * (len(asked) - number)))
        corrected[each.language] = least
    return [dataclasses.replace(each, p=corrected.get(each.language, 1.0)) for each in found]
