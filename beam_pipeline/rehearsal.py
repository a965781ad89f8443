"""The user's steps are called on a few documents of the run before any work starts.

A wrong signature, a misspelt name or an answer of the wrong type then is one sentence with the line of the user's code,
and not the end of a run that is hours old.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from beam_pipeline import supervision
from beam_pipeline.planned_sources import PlanError
from beam_pipeline.settings import Settings
from schemas.shards import Shard, Source
from transforms.batches import Batch
from transforms.io.kept_columns import KeptColumn
from transforms.io.pinned_files import PinnedFile
from transforms.io.readers import ReadOptions, UnreadableSource, read, split
from transforms.kernels.language import identification as language
from transforms.normalize import normalize_batch
from transforms.recipe.spec import PlannedRecipe
from transforms.recipe.steps import Step, apply_step
from transforms.recipe.user_code import is_own, place_of

DOCUMENTS = 32
"""How many documents each step is called with."""
SOURCES = 8
"""How many sources are looked at for documents that can be used."""


def rehearse(
    settings: Settings,
    recipe: PlannedRecipe,
    columns: tuple[KeptColumn, ...],
    sources: Sequence[Source],
    model: PinnedFile,
) -> None:
    """Calls the steps of a recipe on the first documents of the run, if a step is the user's own.

    Args:
      columns: the source columns that are kept.
      model: identifies languages.

    Raises:
      PlanError: a step of the user's raised an error, or its answer can't be used; the message has the line.
      StorageError: the store refuses.
    """
    own = [is_own(spec) for spec in recipe.steps]
    if not any(own):
        return
    data = next(_documents(dataclasses.replace(settings.reading(), columns=columns), sources), None)
    if data is None:
        return  # the run will say why there is nothing to read
    batch = normalize_batch(Batch(Shard(sources[0]), 0, True, data), settings.normalization())
    identified = language.load(model.local_path()).identify(
        batch.data["text"], window=settings.language_window, min_letters=settings.min_letters
    )
    data = batch.with_columns(language=identified[0], language_score=identified[1]).data
    for spec, is_users in zip(recipe.steps, own, strict=True):
        step = spec.load()
        try:
            step.setup()
            data = apply_step(data, step, recipe.outcomes, annotate_all=True)
            if step.kind == "filter":  # what a filter drops, the steps behind it are to see
                outcome = pc.if_else(pc.is_valid(data["text"]), pa.scalar(None, pa.uint8()), data["outcome"])
                data = data.set_column(data.schema.get_field_index("outcome"), "outcome", outcome)
        except Exception as error:
            if not is_users:
                raise
            raise PlanError(_sentence(spec.use, step, error)) from error


def _documents(options: ReadOptions, sources: Sequence[Source]) -> Iterator[pa.RecordBatch]:
    """The first usable documents of each of a few sources."""
    for source in sources[:SOURCES]:
        supervision.reading(source.uri)
        try:
            shard = split(source, options)[0]
            for batch in read(shard, options):
                usable = batch.filter(batch["text"].is_valid())[:DOCUMENTS]
                if len(usable):
                    yield usable
                break
        except UnreadableSource:
            continue


def _sentence(use: str, step: Step, error: Exception) -> str:
    place = place_of(error, step.function)
    said = str(error) if type(error).__module__.startswith("transforms.") else f"{type(error).__name__}: {error}"
    return f"recipe: {use} fails on the first documents of the input: {said}" + (f"\n  {place}" if place else "")
