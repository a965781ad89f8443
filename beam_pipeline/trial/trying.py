"""``Trying``: a recipe on documents that are read once; each turn takes the recipe and the user's code as they are."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from beam_pipeline import preflight
from beam_pipeline.planned_sources import PlanError, list_sources
from beam_pipeline.settings import Settings
from beam_pipeline.trial import sample
from beam_pipeline.trial.asked import Known, Turn, Wanted
from beam_pipeline.trial.judging import Counted, Sums, languages_of
from beam_pipeline.trial.prepared import Documents, Preparing, stratified
from beam_pipeline.trial.result import ALL, COSTS, EDITS, FUNNEL, INVALID, KEPT, OVERLAP, Looked, Result
from beam_pipeline.trial.tokens import TokenRate
from beam_pipeline.trial.turn import take_turn
from beam_pipeline.trial.warming import warm_up
from beam_pipeline.version import __version__
from transforms.kernels.text.normalization import UNICODE_VERSION
from transforms.recipe.spec import StepSpec

SAMPLE = 2000
ALL_DOCUMENTS = "all"


class Trying:
    """Documents of an input, ready for a recipe.

    Args:
      settings: whose input, reading, normalization, language and deduplication count; its recipe is the first turn's.
      size: documents of the sample; ``"all"``: every document, read anew in each turn.
      by: ``"language"``: as many documents of each language.

    Attributes:
      sample: the documents; None if all are tried.
      files: of the user's steps, as of the last turn.

    Raises:
      PlanError, UnusableSettings, StorageError: there is nothing to read, or it can't be read.
    """

    def __init__(self, settings: Settings, size: int | str = SAMPLE, by: str = "") -> None:
        self._settings, self._size, self._by = settings, size, by
        sources = list_sources(settings)
        kept = preflight.check_columns(sources, settings.first_reading(), settings.named_id_column())
        self._sources, self._kept = sources, [column.field for column in kept]
        self._reading = dataclasses.replace(settings.reading(), columns=kept)
        self._preparing = Preparing(settings)
        self._known: Known = {}
        self.files: tuple[Path, ...] = ()
        self._prepared: list[Documents] | None = None
        self._rate = TokenRate(settings)
        self.sample: sample.Sample | None = None
        if size != ALL_DOCUMENTS:
            self.sample = self._drawn(int(size))
            self._prepared = list(self._preparing([self.sample.documents]))

    def _drawn(self, size: int) -> sample.Sample:
        """The sample, kept or new."""
        how = [self._by, *(self._settings.model_dump(mode="json").items() if self._by else ())]
        how = [part for part in how if not isinstance(part, tuple) or part[0].startswith(("language", "normalize"))]
        name = sample.fingerprint_of(self._sources, self._reading, size, how)
        found = sample.kept(name)
        if found is None:
            found = sample.draw(self._sources, self._reading, size * (sample.STRATIFIED if self._by else 1))
            if self._by:
                prepared = Preparing(self._settings)([found.documents])
                languages = pa.concat_arrays([batch.data["language"].cast(pa.string()) for batch in prepared])
                documents, weights = stratified(found.documents, languages, size)
                found = dataclasses.replace(found, documents=documents, weights=weights)
            sample.keep(name, found)
        return found

    def turn(
        self,
        specs: Sequence[Any] | None = None,
        title: str = "recipe",
        wanted: Wanted = Wanted(),  # noqa: B008 - it can't be changed
    ) -> Result:
        """What a recipe does to the documents.

        Args:
          specs: its steps (``StepSpec`` or ``GivenStep``); None: those of the settings.
          title: of the result.
          wanted: what else is to be found out.

        Raises:
          NotARecipe: its steps can't be used.
          Death: a step has ended the process in which it was imported.
        """
        given = self._settings.steps() if specs is None else specs
        warm_up(given, self._kept, self._prepared or [])
        turn = take_turn(self._settings, given, self._kept, self._batches, self._known, wanted)
        self._known, self.files = turn.known, turn.files
        return self._result(turn, title)

    def texts_of(self, wanted: Iterable[tuple[str, int]]) -> dict[tuple[str, int], str]:
        """Texts of documents of the sample by source and row, before the recipe; without ``--sample all``."""
        left, found = set(wanted), dict[tuple[str, int], str]()
        for documents in self._prepared or ():
            places = zip(documents.source.to_pylist(), documents.source_row.to_pylist(), strict=True)
            for at, place in enumerate(places):
                if place in left:
                    found[place] = str(documents.data["text"][at].as_py() or "")
        return found

    def _batches(self) -> Iterable[Documents]:
        if self._prepared is not None:
            return self._prepared
        return Preparing(self._settings)(sample.every(self._sources, self._reading))

    def _result(self, turn: Turn, title: str) -> Result:
        counted = turn.counted
        if not counted.read[0]:
            raise PlanError(f"input: no document can be read in {', '.join(self._settings.input)}; a run says why")
        looked = self._looked(counted)
        steps = [spec.model_dump(exclude_defaults=True) if isinstance(spec, StepSpec) else spec for spec in turn.specs]
        said = json.dumps([steps, sorted(turn.code.items())], sort_keys=True, default=str)
        return Result(
            title=title,
            is_run=False,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            recipe_yaml=yaml.safe_dump({"recipe": json.loads(json.dumps(steps, default=str))}, sort_keys=False),
            recipe_hash=hashlib.sha256(said.encode()).hexdigest(),
            settings=self._settings.model_dump(mode="json", exclude={"output", "lineage_dsn"}),
            versions=versions(),
            looked=looked,
            steps=turn.steps,
            funnel=self._funnel(counted.sums, turn),
            edits=_edits(counted),
            overlap=_overlap(counted),
            costs=self._costs(counted, looked),
            documents=_documents(counted),
            conditions=counted.conditions,
            texts=counted.texts,
            duplicates=turn.duplicates,
            problems=turn.problems,
        )

    def _looked(self, counted: Counted) -> Looked:
        documents, text_bytes = counted.read
        drawn = self.sample
        return Looked(
            inputs=tuple(self._settings.input),
            documents=documents,
            bytes=text_bytes,
            of_documents=drawn.of_documents if drawn else documents,
            of_bytes=drawn.of_bytes if drawn else text_bytes,
            is_all=drawn is None or drawn.of_documents == documents,
            by=self._by,
            weights=drawn.weights if drawn else {},
            tokens=self._rate.said,
        )

    def _funnel(self, sums: Sums, turn: Turn) -> pa.Table:
        order = {name: number for number, name in enumerate(languages_of(sums))}
        steps = {label: number for number, label in enumerate([ALL, INVALID, *(one.label for one in turn.steps), KEPT])}
        reasons = {reason: number for number, reason in enumerate(r for step in turn.steps for r in step.reasons)}
        keys = sorted(
            sums, key=lambda key: (steps[key[0]], reasons.get(key[1], 0), key[1], order.get(key[2], len(order)))
        )
        rows = []
        for key in keys:
            documents, size, alone, size_alone = sums[key]
            rate = self._rate.of(key[2], turn.counted.texts)
            tokens, tokens_alone = round(size * rate), round(size_alone * rate)
            rows.append((*key, documents, size, tokens, alone, size_alone, tokens_alone))
        return pa.table([pa.array(column) for column in zip(*rows, strict=True)], names=FUNNEL.names).cast(FUNNEL)

    def _costs(self, counted: Counted, looked: Looked) -> pa.Table:
        drawn, before = self.sample, self._preparing
        rows: list[tuple[str, float, int]] = []
        if drawn is not None:
            rows.append(("Read", drawn.read_seconds * looked.bytes, looked.bytes))
        rows += [(name, cost.cpu, before.bytes) for name, cost in before.costs.items()]
        rows += [(name, cost.cpu, size) for name, (cost, size) in counted.costs.items()]
        scale = looked.of_bytes / max(1, looked.bytes)
        found = [
            (name, size / cpu / 1e6 if cpu > 1e-4 and size else None, cpu, size, cpu * scale / 3600)
            for name, cpu, size in rows
        ]
        columns = list(zip(*found, strict=True)) or [()] * len(COSTS)
        return pa.table([pa.array(column, field.type) for column, field in zip(columns, COSTS, strict=True)], COSTS)


def versions() -> dict[str, str]:
    """What decides results beside settings and code."""
    import numpy as np

    return {
        "beam_pipeline": __version__,
        "python": platform.python_version(),
        "pyarrow": pa.__version__,
        "numpy": np.__version__,
        "unicode": UNICODE_VERSION,
    }


def _edits(counted: Counted) -> pa.Table:
    rows = [(*key, *values) for key, values in sorted(counted.edits.items())]
    columns = list(zip(*rows, strict=True)) or [()] * len(EDITS)
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, EDITS, strict=True)], EDITS)


def _overlap(counted: Counted) -> pa.Table:
    rows = [(*pair, count) for pair, count in sorted(counted.overlap.items(), key=lambda item: (-item[1], item[0]))]
    columns = list(zip(*rows, strict=True)) or [()] * len(OVERLAP)
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, OVERLAP, strict=True)], OVERLAP)


def _documents(counted: Counted) -> pa.Table:
    return pa.concat_tables(counted.documents, promote_options="permissive").unify_dictionaries()
