"""The part of ``trace`` that asks an export instead of the lineage: ``--export``."""

from __future__ import annotations

import argparse
from typing import Any

from beam_pipeline.failures import Refused


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    """``--export`` and what goes with it."""
    group = parser.add_argument_group(
        "exports",
        "With --export: where a token came from (--file), where a document went (--id), what is of --domain",
    )
    group.add_argument("--export", metavar="URI", default="", help="output of an export; --run: which of its runs")
    group.add_argument("--file", metavar="NAME", help="a file of the export, such as train/part-00003.bin")
    group.add_argument(
        "--sequence", type=int, metavar="N", help="of the file, from 0; without: --position is the file's"
    )
    group.add_argument("--url", metavar="URL", help="every document of the export that has this URL")
    group.add_argument("--domain", metavar="NAME", help="every document of this domain, or of one below it")
    group.add_argument("--url-column", metavar="NAME", default="url", help="column of the tokens with URLs (url)")
    group.add_argument("--list", action="store_true", help="with --url, --domain: only lines for export --without")
    group.add_argument("--position", type=int, metavar="N", default=0, help="token of the sequence, from 0")


def answer(args: argparse.Namespace) -> list[dict[str, Any]]:
    """What the export says: of a token, the document; of a document, its pieces; of a publisher, documents.

    Raises:
      NotInExport: there is no such token or document.
      Refused: it isn't said what is asked for.
    """
    from beam_pipeline.export import trace  # brings Beam: other questions don't need it

    plan = trace.opened(args.export)
    if args.file:
        return [trace.trace_token(plan, args.file, args.sequence, args.position)]
    if args.url or args.domain:
        from beam_pipeline.export.publishers import documents_of

        return list(documents_of(plan, args.url_column, args.url or "", args.domain or ""))
    run = trace.position_of_run(plan, args.run or "")
    if args.id is not None:
        return trace.where_it_went(plan, run, args.id)
    if args.source and args.row is not None:
        return trace.where_it_went(plan, run, trace.document_at(plan, run, args.source, args.row))
    raise Refused("--export: ask for --file with --sequence, --id, --source with --row, --url or --domain")
