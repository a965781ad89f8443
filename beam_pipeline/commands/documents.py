"""Which document a command is asked about."""

from __future__ import annotations

import argparse
from typing import Any

from beam_pipeline.lineage import runs
from beam_pipeline.lineage.documents import trace
from schemas.run_layout import RunLayout
from transforms.io import storage
from transforms.io.lineage import Lineage, check_text


def add_document_arguments(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """``--source`` or ``--object`` with ``--row``, ``--id``, or ``--user-id``."""
    what = parser.add_mutually_exclusive_group(required=required)
    what.add_argument(
        "--source", metavar="URI", help="with --row: a document of this source; the end of the URI will do"
    )
    what.add_argument(
        "--object", metavar="URI", help="with --row: a row of this token object; the end of the URI will do"
    )
    what.add_argument("--id", type=int, metavar="ID", help="the document with this id, as in the token objects")
    what.add_argument(
        "--user-id", metavar="ID", help="the document with this id of your own; reads the ids of the whole run"
    )
    parser.add_argument("--row", type=int, metavar="N", help="row of the source or token object, from 0")


def trace_asked(lineage: Lineage, run_id: str, args: argparse.Namespace) -> dict[str, Any]:
    """``trace`` of the document that the arguments name; in an output that was moved, of what is there now."""
    written_to, now = _moved(lineage, run_id, args.output)
    found = trace(
        lineage,
        run_id,
        source=args.source,
        token_object=_as_written(args.object, now, written_to),
        document=args.id,
        user_id=args.user_id,
        row=args.row,
        output=now,
    )
    return found | {"token_object": runs.moved(found["token_object"], written_to, now)}


def stored_attributes(lineage: Lineage, run_id: str, found: dict[str, Any], output: str = "") -> dict[str, Any]:
    """The kept columns and attributes of a document, edits among them; none if the run has none, or they are gone.

    Args:
      found: the document as ``documents.trace`` returns it.
      output: where the run's output is now; empty: where it was written.
    """
    settings = runs.settings(lineage, run_id)
    if not any(settings.get(name) for name in ("keep_columns", "filters", "recipe")) or not found.get("shard"):
        return {}
    from beam_pipeline.lineage.stored_documents import attributes_of  # brings pyarrow
    from transforms.io.own_objects import DamagedObject

    uri = RunLayout(output or settings["output"]).fingerprints_of(found["shard"])
    try:
        return attributes_of(uri, found["document"])
    except (storage.StorageError, DamagedObject):
        return {}


def _moved(lineage: Lineage, run_id: str, output: str | None) -> tuple[str, str]:
    """Where a run has written its output, and where it is by what the user says."""
    written_to = runs.settings(lineage, run_id).get("output") or ""
    return written_to, storage.absolute(output) if output else written_to


def _as_written(token_object: str | None, now: str, written_to: str) -> str | None:
    """The URI by which the lineage knows a token object that is below the output as it is now."""
    if not token_object or now == written_to or "://" in token_object:
        return runs.moved(token_object, now, written_to)
    check_text(token_object, "--object")
    place = storage.absolute(token_object)
    other = runs.moved(place, now, written_to)
    return token_object if other == place else other
