"""Which texts are shown: for each reason the clearest and the closest cases, for each editor what it changes.

Chosen batch by batch, so that only those that may be shown are held: ``MOST`` a reason and place.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa

from beam_pipeline.trial import conditions
from beam_pipeline.trial.marks import spans_of
from beam_pipeline.trial.prepared import Documents
from beam_pipeline.trial.result import KEPT, MAX_CHARACTERS, Figure, ShownText
from transforms.kernels.deduplication.blocks import mix
from transforms.recipe.steps import Step

MOST = 20
"""Texts of each kind that are held, and can be shown."""

Key = tuple[str, str, str, str]
"""Kind, step, reason, place."""


@dataclasses.dataclass(frozen=True)
class _Case:
    rank: float
    document: int
    shown: ShownText


class Examples:
    """Takes what each step has done with each batch, and holds the texts that are the best to look at.

    Args:
      most: texts of each kind.
      only: of this reason, or of the editor or the end of this name; empty: all.
    """

    def __init__(self, most: int = MOST, only: str = "") -> None:
        self._most, self._only = most, only
        self._found: dict[Key, list[_Case]] = {}

    def add_dropped(
        self, step: Step, reason: str, shown: pa.RecordBatch, dropped: np.ndarray, kept: np.ndarray, source: Documents
    ) -> None:
        """What a step drops for a reason, and what it lets through.

        Args:
          shown: the documents that the step has seen, in the order of the recipe.
          dropped, kept: masks of them.
          source: the batch that they are of.
        """
        if not self._wants(reason):
            return
        away = conditions.margins(step, reason, shown)
        if away is None:
            self._take(("dropped", step.label, reason, ""), _by_hash(shown), dropped, shown, step, source)
            return
        distance = np.abs(np.nan_to_num(away, nan=np.inf, posinf=np.inf, neginf=-np.inf))
        self._take(("dropped", step.label, reason, "closest"), distance, dropped, shown, step, source)
        self._take(("dropped", step.label, reason, "clearest"), -distance, dropped, shown, step, source)
        near = kept & np.isfinite(distance)
        self._take(("kept", step.label, reason, "closest_kept"), distance, near, shown, step, source)

    def add_edited(
        self, step: Step, before: pa.RecordBatch, after: pa.Array, changed: np.ndarray, source: Documents
    ) -> None:
        """What an editor has changed."""
        if not self._wants(step.label):
            return
        key = ("edited", step.label, "", "")
        self._take(key, _by_hash(before), changed, before, step, source, after)

    def add_kept(self, documents: pa.RecordBatch, source: Documents) -> None:
        """What the recipe keeps."""
        if not self._wants(KEPT):
            return
        every = np.ones(len(documents), np.bool_)
        self._take(("kept", "", "", ""), _by_hash(documents), every, documents, None, source)

    def _wants(self, name: str) -> bool:
        return self._most > 0 and self._only in ("", name)

    def texts(self) -> tuple[ShownText, ...]:
        """All that are held, by kind and reason in the order in which they came, the best first."""
        return tuple(case.shown for cases in self._found.values() for case in cases)

    def _take(
        self,
        key: Key,
        ranks: np.ndarray,
        wanted: np.ndarray,
        shown: pa.RecordBatch,
        step: Step | None,
        source: Documents,
        after: pa.Array | None = None,
    ) -> None:
        """Holds the documents with the lowest ranks."""
        held = self._found.setdefault(key, [])
        worst = held[-1].rank if len(held) == self._most else np.inf
        chosen = np.flatnonzero(wanted & ((ranks < worst) | ~np.isfinite(ranks)))
        chosen = chosen[np.argsort(ranks[chosen], kind="stable")][: self._most]
        for row in chosen.tolist():
            document = shown.slice(row, 1)
            place = document["row"][0].as_py()
            made = shown_text(key, document, source, step, after[row].as_py() if after is not None else None)
            held.append(_Case(float(ranks[row]), place, made))
        held.sort(key=lambda case: (case.rank, case.document))
        del held[self._most :]


def shown_text(key: Key, document: pa.RecordBatch, source: Documents, step: Step | None, after: Any) -> ShownText:
    """One document as it is shown.

    Args:
      document: one row, as the step has seen it.
      source: the batch that it is of.
      after: what an editor has made of it.
    """
    kind, label, reason, place = key
    text = document["text"][0].as_py() or ""
    at = document["row"][0].as_py() - source.data["row"][0].as_py()
    figures: tuple[Figure, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()
    cut = text[:MAX_CHARACTERS]
    if step is not None and reason:
        figures = tuple(_figures(step, reason, document))
        spans = spans_of(conditions.columns_of(step, reason), text[: 25 * MAX_CHARACTERS])
        spans = tuple((first, min(last, len(cut))) for first, last in spans if first < len(cut))
    return ShownText(
        kind=kind,
        step=label,
        reason=reason,
        place=place,
        source=source.source[at].as_py(),
        row=source.source_row[at].as_py(),
        id=document["id"][0].as_py(),
        language=str(document["language"][0].as_py() or ""),
        text=cut,
        is_cut=len(text) > len(cut) or bool(after and len(after) > MAX_CHARACTERS),
        after=None if after is None else after[:MAX_CHARACTERS],
        figures=figures,
        spans=spans,
    )


def _figures(step: Step, reason: str, document: pa.RecordBatch) -> list[Figure]:
    found = []
    for condition in conditions.conditions_of([step], document):
        if condition.reason != reason or condition.language not in ("", document["language"][0].as_py()):
            continue
        values = conditions.figure(condition.figure, document)
        if values is not None and values[0].is_valid:
            found.append(Figure(condition.figure, values[0].as_py(), condition.operator, condition.threshold))
    return found


def _by_hash(documents: pa.RecordBatch) -> np.ndarray:
    """Ranks that depend on the places of documents alone, in [0, 1)."""
    return mix(documents["row"].to_numpy().astype(np.uint64) + np.uint64(1)) / 2.0**64
