"""The list of documents to leave out: read from a file, a document a line."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from beam_pipeline.export.runs import ExportedRun, NotExportable
from schemas.shards import MAX_ROWS_PER_SOURCE, MAX_SOURCES, document_id
from transforms.io import storage
from transforms.io.source_list import read_sources


def read_removals(uri: str, runs: Sequence[ExportedRun]) -> pa.Table:
    """``run`` (position) and ``document`` (id) of each document of a list.

    A line is ``RUN<tab>ID``, by the run's id, or ``SOURCE<tab>ROW``, by the source's URI; or ``ID`` alone if the export
    has one run. Empty lines and such that begin with ``#`` are nothing.

    Raises:
      NotExportable: a line isn't of these forms, or its run or source isn't in the export.
    """
    try:
        lines = storage.read_bytes(uri).decode().splitlines()
    except UnicodeDecodeError as error:
        raise NotExportable(f"without: {uri} isn't UTF-8 text: {error}") from error
    positions = {run.run: position for position, run in enumerate(runs)}
    found: list[tuple[int, int]] = []
    by_source: dict[str, list[tuple[int, int]]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        first, _, second = line.rstrip().rpartition("\t")
        if not second.isdecimal() or (not first and len(runs) > 1):
            raise NotExportable(
                f"without: {uri}, line {number}: {line[:200]!r} isn't RUN<tab>ID or SOURCE<tab>ROW"
                + ("" if len(runs) > 1 else " or ID")
            )
        by_id = not first or first in positions
        if int(second) >= (document_id(MAX_SOURCES, 0) if by_id else MAX_ROWS_PER_SOURCE):
            raise NotExportable(f"without: {uri}, line {number}: {second[:40]} is no {'id' if by_id else 'row'}")
        if by_id:
            found.append((positions.get(first, 0), int(second)))
        else:
            by_source.setdefault(first, []).append((number, int(second)))
    unknown = dict(by_source)
    for position, run in enumerate(runs):
        for source in read_sources(run.sources_uri) if by_source else ():
            for _, row in by_source.get(source.uri, ()):  # several runs may have read it
                found.append((position, document_id(source.number, row)))
            unknown.pop(source.uri, None)
    if unknown:
        missing, places = next(iter(unknown.items()))
        raise NotExportable(
            f"without: {uri}, line {places[0][0]}: no run of the export has {missing!r}, as id or source"
        )
    return pa.table(
        {
            "run": pa.array([position for position, _ in found], pa.uint16()),
            "document": pa.array([document for _, document in found], pa.uint64()),
        }
    )
