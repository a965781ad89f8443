"""The annotator ``buckets``: ranks of scores among the documents of a language (``beam_pipeline.score_buckets``)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

ANY = ""
"""In place of a language: the cuts for those that aren't named."""
MOST = 256


@dataclasses.dataclass(frozen=True)
class Buckets:
    """Adds ``bucket`` (uint8): how many cuts a document's score reaches; of several scores the highest.

    It reads stored columns only, so it can be decided again without text. A document none of whose scores is known has
    none.

    Attributes:
      cuts: for each attribute, for each language, ascending numbers; those of ``""`` are for languages that aren't
        named.

    Raises:
      ValueError: cuts aren't ascending, or there are too many.
    """

    cuts: Mapping[str, Mapping[str, Sequence[float]]]

    def __post_init__(self) -> None:
        if not self.cuts:
            raise ValueError("cuts: at least one score is needed")
        for score, languages in self.cuts.items():
            for language, cuts in languages.items():
                where = f"cuts: {score}, {language or 'other languages'}"
                if len(cuts) >= MOST:
                    raise ValueError(f"{where}: {len(cuts)} cuts; there can be {MOST - 1}")
                if list(cuts) != sorted(cuts):
                    raise ValueError(f"{where}: they must be ascending")

    @property
    def columns(self) -> dict[str, pa.DataType]:
        """The one attribute."""
        return {"bucket": pa.uint8()}

    @property
    def reads(self) -> tuple[str, ...]:
        """The stored columns that it reads."""
        return (*self.cuts, "language")

    def __call__(self, documents: pa.RecordBatch) -> Mapping[str, pa.Array]:
        """The bucket of each document."""
        language = documents["language"]
        language = language if pa.types.is_dictionary(language.type) else language.dictionary_encode()
        labels = language.indices.fill_null(len(language.dictionary)).to_numpy()
        names = [*language.dictionary.to_pylist(), ANY]
        best = np.zeros(len(documents), np.uint8)
        known = np.zeros(len(documents), np.bool_)
        for score, by_language in self.cuts.items():
            values = documents[score].cast(pa.float64()).to_numpy(zero_copy_only=False)
            there = ~np.isnan(values)
            known |= there
            for number in np.unique(labels[there]).tolist():
                here = there & (labels == number)
                cuts = by_language.get(names[number], by_language.get(ANY, ()))
                reached = np.searchsorted(np.array(cuts, np.float64), values[here], side="right").astype(np.uint8)
                best[here] = np.maximum(best[here], reached)
        return {"bucket": pc.if_else(pa.array(known), pa.array(best), pa.scalar(None, pa.uint8()))}
