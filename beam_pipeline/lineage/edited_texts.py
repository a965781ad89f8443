"""What the editors of a recipe have made of one document, as the lines that differ."""

from __future__ import annotations

import difflib
from typing import Any

import pyarrow as pa

from beam_pipeline.lineage.stored_documents import stored_row
from beam_pipeline.settings import Settings
from schemas.outcomes import EDITS, Outcomes
from schemas.run_layout import RunLayout
from transforms.io import storage
from transforms.io.own_objects import DamagedObject
from transforms.kernels.text.normalization import normalize
from transforms.recipe.steps import SHOWN, Step, StepFailed, apply_step


class CannotEdit(Exception):
    """The editors can't be called again; the message says why."""


def edits_of(settings: dict[str, Any], found: dict[str, Any], source: str, output: str = "") -> str:
    """The lines of a text that editors have removed (``-``) and added (``+``); empty if they have changed nothing.

    Arguments as of ``before_and_after``.
    """
    try:
        texts = before_and_after(settings, found, source, output)
    except CannotEdit as error:
        return f"can't be shown: {error}"
    if texts is None:
        return ""
    before, after = (text.split("\n") for text in texts)
    return "\n".join(list(difflib.unified_diff(before, after, n=0, lineterm=""))[2:])


def before_and_after(
    settings: dict[str, Any], found: dict[str, Any], source: str, output: str = ""
) -> tuple[str, str] | None:
    """A text as it was before the editors of a run and behind them; None if they have changed nothing.

    The editors are called again, on the normalized text and on what the run has stored about the document.

    Args:
      settings: of the run.
      found: the document as ``beam_pipeline.lineage.documents.trace`` returns it.
      source: its text as the source has it.
      output: where the run's output is now; empty: where it was written.

    Raises:
      CannotEdit: an editor or what it needs isn't there, or it fails.
    """
    try:
        parsed = Settings(**settings)
        editors = [step for spec in parsed.steps() if (step := spec.resolved().load()).kind == "editor"]
        if not editors:
            return None
        columns = [field.name for field in SHOWN if field.name != "text"]
        columns += [column.name for column in parsed.kept_columns()]
        counted = [name for step in editors for name in step.columns]
        uri = RunLayout(output or settings["output"]).fingerprints_of(found["shard"])
        stored = stored_row(uri, found["document"], [*columns, *counted])
    except (ValueError, storage.StorageError, DamagedObject) as error:
        raise CannotEdit(str(error)) from error
    if not len(stored) or not any(any(stored[name].to_pylist()) for name in counted):
        return None
    before = normalize(pa.array([source]), parsed.normalization())
    document = stored.select(columns).append_column("text", before).append_column("outcome", pa.nulls(1, pa.uint8()))
    text = before[0].as_py()
    try:
        after = _edited(
            document.combine_chunks().to_batches()[0],
            editors,
            stored,
            Outcomes.with_filters(reason for step in editors for reason in step.reasons),
        )
    except StepFailed as error:
        raise CannotEdit(str(error)) from error
    return text, after


def _edited(document: pa.RecordBatch, editors: list[Step], stored: pa.Table, outcomes: Outcomes) -> str:
    text = str(document["text"][0].as_py())
    for step in editors:
        if stored[f"{step.label}.{EDITS[0]}"][0].as_py() is None:
            break  # it was dropped before
        step.setup()
        document = apply_step(document, step, outcomes).select(document.schema.names)
        if document["text"][0].as_py() is None:
            return ""
        text = str(document["text"][0].as_py())
    return text
