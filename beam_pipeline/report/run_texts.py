"""Texts of a finished run to look at: chosen from a sample of its documents, fetched from the sources."""

from __future__ import annotations

import concurrent.futures
import threading
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_pipeline.finished_runs import FinishedRun
from beam_pipeline.lineage import runs
from beam_pipeline.lineage.documents import count_duplicates, trace
from beam_pipeline.lineage.edited_texts import CannotEdit, before_and_after
from beam_pipeline.lineage.texts import TextGone, find_row, reading_of, text_in
from beam_pipeline.lineage.witnesses import witnesses_of
from beam_pipeline.report.run_documents import RunDocuments
from beam_pipeline.settings import Settings
from beam_pipeline.trial import conditions
from beam_pipeline.trial.marks import spans_of
from beam_pipeline.trial.result import MAX_CHARACTERS, Cluster, Figure, ShownText
from transforms.io.lineage import Lineage
from transforms.io.readers import UnreadableSource
from transforms.kernels.text.normalization import normalize
from transforms.recipe.steps import Step

EACH = 3
"""Texts of each kind."""
CLUSTERS = 8
READERS = 8

Chosen = tuple[str, str, str, str, int]
"""Kind, step, reason, place, and the row of the sample."""


class RunTexts:
    """Fetches texts of a run.

    Raises:
      TextGone, StorageError: a source isn't what it was.
    """

    def __init__(self, run: FinishedRun, lineage: Lineage, steps: Sequence[Step], documents: RunDocuments) -> None:
        self._run, self._lineage, self._steps = run, lineage, {step.label: step for step in steps}
        self._sample, self._shards = documents.shown, documents.shards
        self._settings: dict[str, Any] = dict(run.manifest["settings"])
        self._asking = threading.Lock()  # the lineage has one connection

    def texts(self) -> tuple[ShownText, ...]:
        """Of each reason, of each editor and of what is kept some."""
        with concurrent.futures.ThreadPoolExecutor(READERS) as pool:
            return tuple(pool.map(self._shown, self._chosen()))

    def _chosen(self) -> Iterator[Chosen]:
        sample = self._sample
        outcome, reasons = (sample[name].to_numpy(zero_copy_only=False) for name in ("outcome", "reason"))
        kept = outcome == "kept"
        for label, step in self._steps.items():
            if step.kind == "editor":
                counts = [
                    sample[name].fill_null(0).to_numpy()
                    for name in list(step.columns)[:3]
                    if name in sample.column_names
                ]
                if counts:
                    yield from (
                        ("edited", label, "", "", row) for row in np.flatnonzero(sum(counts) * kept)[:EACH].tolist()
                    )
                continue
            for reason in step.reasons:
                dropped = np.flatnonzero((outcome == "dropped") & (reasons == reason))
                away = (
                    conditions.margins(step, reason, sample.combine_chunks().to_batches()[0]) if len(dropped) else None
                )
                if away is None:
                    yield from (("dropped", label, reason, "", row) for row in dropped[:EACH].tolist())
                    continue
                far = np.abs(np.nan_to_num(away, nan=np.inf))
                near = np.flatnonzero(kept & np.isfinite(far))
                ordered = dropped[np.argsort(far[dropped], kind="stable")].tolist()
                yield from (("dropped", label, reason, "closest", row) for row in ordered[:EACH])
                yield from (("dropped", label, reason, "clearest", row) for row in ordered[EACH:][: -EACH - 1 : -1])
                closest_kept = near[np.argsort(far[near], kind="stable")][:EACH].tolist()
                yield from (("kept", label, reason, "closest_kept", row) for row in closest_kept)
        yield from (("kept", "", "", "", row) for row in np.flatnonzero(kept)[: 2 * EACH].tolist())

    def _shown(self, chosen: Chosen) -> ShownText:
        kind, label, reason, place, row = chosen
        document = self._sample.slice(row, 1)
        values = document.to_pylist()[0]
        before, text = self._texts(values["source"], values["row"], self._run.run)
        after = None
        if kind == "edited":
            text, after = before, text
        step = self._steps.get(label)
        spans = spans_of(conditions.columns_of(step, reason), text) if step is not None and reason else ()
        figures = tuple(self._figures(step, reason, document)) if step is not None and reason else ()
        edited = None if after is None else after[:MAX_CHARACTERS]
        return ShownText(
            kind, label, reason, place, values["source"], values["row"], values["id"], values["language"] or "",
            text[:MAX_CHARACTERS], len(text) > MAX_CHARACTERS, edited, figures,
            tuple((start, min(end, MAX_CHARACTERS)) for start, end in spans if start < MAX_CHARACTERS),
        )  # fmt: skip

    def _figures(self, step: Step, reason: str, document: pa.Table) -> Iterator[Figure]:
        for each in conditions.conditions_of([step], document):
            if each.reason == reason and each.language in ("", document["language"][0].as_py()):
                value = document[each.figure][0].as_py() if each.figure in document.column_names else None
                if value is not None:
                    yield Figure(each.figure, float(value), each.operator, each.threshold)

    def _traced(self, uri: str, row: int, run: str) -> dict[str, Any]:
        with self._asking:
            return trace(self._lineage, run, source=uri, row=row, output=self._output_of(run))

    def _output_of(self, run: str) -> str:
        """Where a run's output is now; empty: where it was written."""
        return self._run.output if run == self._run.run else ""

    def _texts(self, uri: str, row: int, run: str) -> tuple[str, str]:
        """A document's text, normalized, and as the editors have left it where the recipe was left.

        Args:
          run: that has read it; of a witness, maybe an earlier run of the corpus.
        """
        settings = self._settings
        try:
            with self._asking:
                if run != self._run.run:
                    settings = runs.settings(self._lineage, run)
                options = reading_of(settings)
                place = find_row(self._lineage, uuid.UUID(run), options, uri, row)
            text = text_in(*place, options)
        except UnreadableSource as error:
            raise TextGone(f"{error}; with --no-texts the report doesn't need it") from error
        before = str(normalize(pa.array([text or ""]), Settings(**settings).normalization())[0])
        if run == self._run.run and not any(step.kind == "editor" for step in self._steps.values()):
            return before, before
        found = self._traced(uri, row, run)
        try:
            return before_and_after(settings, found, before, self._output_of(run)) or (before, before)
        except CannotEdit:
            return before, before

    def clusters(self) -> tuple[Cluster, ...]:
        """The largest clusters of duplicates among those of the sampled shards."""
        return tuple(self._clusters())

    def _clusters(self) -> Iterator[Cluster]:
        in_sample = {name: self._rows_in(name) for name in self._shards}
        members: dict[int, list[int]] = {}
        dropped_for = [np.zeros(0, np.int64)]
        for shard, places, witnesses in witnesses_of(self._lineage, self._run.run, self._shards):
            dropped_for.append(witnesses)
            sampled, rows = in_sample[shard]
            _, mine, theirs = np.intersect1d(places, sampled, assume_unique=True, return_indices=True)
            for witness, row in zip(witnesses[mine].tolist(), rows[theirs].tolist(), strict=True):
                if len(members.setdefault(witness, [])) < EACH:
                    members[witness].append(row)
        known = np.array(sorted(members), np.int64)
        places_of_known = np.searchsorted(known, np.concatenate(dropped_for))
        hits = places_of_known[np.isin(np.concatenate(dropped_for), known)]
        sizes = np.bincount(hits, minlength=len(known))
        largest = known[np.argsort(-sizes, kind="stable")][:CLUSTERS].tolist()
        yield from (self._cluster(members[witness]) for witness in largest)

    def _rows_in(self, shard: str) -> tuple[np.ndarray, np.ndarray]:
        """The places in a shard that are in the sample, and their rows there."""
        rows = np.flatnonzero(pc.equal(self._sample["shard"], shard).to_numpy())
        return self._sample["place"].to_numpy()[rows], rows

    def _cluster(self, rows: Sequence[int]) -> Cluster:
        found = []
        for row in rows:
            source, number = self._sample["source"][row].as_py(), self._sample["row"][row].as_py()
            found.append(self._traced(source, number, self._run.run))
        run, home = str(found[0]["witness_run"]), (found[0]["witness_uri"], found[0]["witness_row"])
        places = [
            (*home, found[0]["language"], run),
            *((one["source_uri"], one["source_row"], one["language"], self._run.run) for one in found),
        ]
        texts = []
        for uri, row, language, of_run in places:
            _, text = self._texts(uri, row, of_run)
            cut = len(text) > MAX_CHARACTERS
            texts.append(ShownText("duplicate", "", "", "", uri, row, None, language or "", text[:MAX_CHARACTERS], cut))
        size = 1 + count_duplicates(self._lineage, run, *home)
        return Cluster(tuple(texts), (1.0, *(float(one["similarity"]) for one in found)), size)
