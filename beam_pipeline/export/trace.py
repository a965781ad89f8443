"""Questions to a finished export: where a token came from, where a document went, what a publisher has in it."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from beam_pipeline.export.plan import ExportPlan
from beam_pipeline.export.runs import NotExportable, read_plan
from schemas.exports import SPLITS, file_name
from schemas.shards import document_id, split_document_id
from transforms.export.plan_tables import files_with
from transforms.export.provenance import NoSuchToken, Place, ProvenanceIndex
from transforms.io import storage
from transforms.io.source_list import read_sources, sources_between
from transforms.kernels.export.copying import NONE

_NUMBER = re.compile(r"(\d{5,})(?:-of-\d+)?(?:\.\D*)?$")


class NotInExport(NotExportable):
    """There is no such file, sequence, token or document in the export."""


def opened(output: str) -> ExportPlan:
    """The export under an output.

    Raises:
      NotExportable: there is none.
    """
    output = storage.absolute(output)
    return ExportPlan(output, read_plan(output))


def place_of_file(plan: ExportPlan, name: str) -> tuple[int, int]:
    """Split and number of a file, named as it stands in the export (``train/part-00003.bin``) or as its index is
    (``train-00003``); ``train`` may be left out.

    Raises:
      NotInExport: the export has no such file.
    """
    parts = PurePosixPath(name).parts[-2:]
    split = next((number for number, known in enumerate(SPLITS) if parts[0] == known or name.startswith(known)), 0)
    found = _NUMBER.search(parts[-1]) or re.fullmatch(r"(\d+)", parts[-1])
    number = int(found.group(1)) if found else -1
    if (split, number) not in plan.files:
        known = ", ".join(f"{count} in {SPLITS[split]}/" for split, count in enumerate(plan.contents["files"]))
        raise NotInExport(f"file: the export has no {name!r}; it has {known}, numbered from 00000")
    return split, number


def trace_token(plan: ExportPlan, file: str, sequence: int | None, position: int) -> dict[str, Any]:
    """Which document a token is of, and which token of it.

    Args:
      file: as for ``place_of_file``.
      sequence: of the file; None: ``position`` counts from the beginning of the file.
      position: token of the sequence.

    Returns:
      ``document_token`` counts the tokens that the run has written, None for one that the export has put around the
      document (``added``: "begin" or "end") and for padding (``document`` is None, too).

    Raises:
      NotInExport: there is no such token.
    """
    split, number = place_of_file(plan, file)
    index = ProvenanceIndex(plan.output, split, number)
    try:
        place = index.at_token(position) if sequence is None else index.at(sequence, position)
    except NoSuchToken as error:
        raise NotInExport(str(error)) from error
    finally:
        index.close()
    return _described(plan, split, number, place)


def _described(plan: ExportPlan, split: int, number: int, place: Place) -> dict[str, Any]:
    found: dict[str, Any] = {
        "file": file_name(split, number),
        "sequence": place.sequence,
        "position": place.position,
        "piece": [place.begin, place.end],
    }
    if place.document is None:
        return found | {"document": None, "added": "padding"}
    run = plan.runs[place.run]
    options = plan.options
    before = options.before[place.run] != NONE
    source, row = split_document_id(place.document)
    [pinned] = sources_between(run.sources_uri, source, 1)
    token = place.offset - before
    return found | {
        "run": run.run,
        "run_output": run.output,
        "document": place.document,
        "source": pinned.uri,
        "source_row": row,
        "document_token": None if token < 0 else token,
        "added": "begin" if token < 0 else None,
        "copy": place.copy,
    }


def where_it_went(plan: ExportPlan, run: int, document: int) -> list[dict[str, Any]]:
    """Every piece of a document in the export, at its first token. Only files that have its row group are looked at.

    Args:
      run: position of the run in the export.
    """
    wanted = np.array([document], np.uint64)
    found = []
    for split, number in files_with(plan.stored, run, wanted):
        index = ProvenanceIndex(plan.output, split, number)
        try:
            found += [_described(plan, split, number, place) for place in index.of(run, wanted)]
        finally:
            index.close()
    return found


def position_of_run(plan: ExportPlan, named: str) -> int:
    """Position of a run in the export, by its id or its output; without a name, of the only one.

    Raises:
      NotInExport: there is none, or several.
    """
    runs = plan.runs
    if not named and len(runs) == 1:
        return 0
    place = storage.absolute(named) if named else ""
    for position, run in enumerate(runs):
        if named == run.run or place == run.output:
            return position
    raise NotInExport(f"run: {named or 'give one'}; the export has {', '.join(run.run for run in runs)}")


def document_at(plan: ExportPlan, run: int, source: str, row: int) -> int:
    """The id of a document by its place.

    Raises:
      NotInExport: the run has no such source.
    """
    for found in read_sources(plan.runs[run].sources_uri):
        if found.uri == source or found.uri.endswith("/" + source):
            return document_id(found.number, row)
    raise NotInExport(f"source: run {plan.runs[run].run} has no source {source!r}")
