"""Where a row of a token object came from, what became of a document, or which document a token of an export is of."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from beam_pipeline.commands.corpus_arguments import opened_corpus, run_with
from beam_pipeline.commands.documents import add_document_arguments, stored_attributes, trace_asked
from beam_pipeline.commands.export_questions import add_export_arguments, answer
from beam_pipeline.commands.lineage_arguments import (
    add_lineage_arguments,
    print_json,
    with_lineage,
)
from beam_pipeline.commands.terminal import stdout
from beam_pipeline.failures import Refused
from beam_pipeline.lineage.documents import in_parent
from transforms.io.lineage import Lineage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``trace``."""
    add_lineage_arguments(parser, "with --source or --object: whichever run of a corpus has it")
    add_document_arguments(parser, required=False)
    add_export_arguments(parser)
    parser.add_argument(
        "--text",
        action="store_true",
        help="also fetch its text from the source, beside what its tokens decode to and the lines that editors have "
        "changed; of a dropped duplicate, beside the text it was dropped for",
    )
    parser.add_argument(
        "--fetch",
        nargs="?",
        const="-",
        metavar="FILE",
        help="of a document from a web archive, also get the archive's record as it is stored, by a ranged read: "
        "into FILE, or shown",
    )


def run(args: argparse.Namespace) -> int:
    """Prints everything that is known of one document; returns the exit status."""
    if args.export:
        found_in_export = answer(args)
        if args.list:
            sys.stdout.writelines(f"{found['run']}\t{found['document']}\n" for found in found_in_export)
        elif args.json:
            print_json(found_in_export)
        else:
            for found in found_in_export:
                _show(found)
        return 0
    if not (args.source or args.object or args.user_id) and args.id is None:
        raise Refused("say which document: --source or --object with --row, --id or --user-id; or --export")

    if args.corpus:
        if args.user_id or args.id is not None:
            raise Refused(
                "--corpus: ids are those of one run; give --source or --object with --row, or --run or --output"
            )
        with opened_corpus(args.corpus, args.lineage_dsn) as corpus:
            args.run, args.lineage_dsn = run_with(corpus, args.source, args.object), corpus.dsn

    def command(lineage: Lineage, run_id: str) -> None:
        found = trace_asked(lineage, run_id, args)
        if attributes := stored_attributes(lineage, run_id, found, args.output or ""):
            found["attributes"] = attributes
        found |= in_parent(lineage, run_id, found["document"])
        if args.text:
            from beam_pipeline.lineage.texts import texts_of  # brings the readers and the tokenizer

            found["text"] = texts_of(lineage, found, args.output or "")
        from beam_pipeline.lineage import origins

        origin = origins.origin_of(lineage, found)
        found |= origin
        if args.fetch:
            record = origins.fetch(origin)
            if args.fetch == "-":
                found["record"] = record.decode("utf-8", "replace")
            else:
                Path(args.fetch).write_bytes(record)
        if args.json:
            print_json(found)
        else:
            _show(found)

    return with_lineage(args, command)


def _show(found: dict[str, Any]) -> None:
    table = Table(title="Document", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in found.items():
        if name == "attributes":
            for attribute, stored in value.items():
                table.add_row(Text(attribute), _plain(stored))
        elif name not in ("text", "record"):
            table.add_row(name, _plain(value))
    stdout().print(table)
    if "text" in found:
        texts = Table(show_lines=True)
        shown = {name: value for name, value in found["text"].items() if name != "input_ids"}
        for name in shown:
            texts.add_column(name, overflow="fold", ratio=1)
        texts.add_row(*map(_plain, shown.values()))
        stdout().print(texts)
    if "record" in found:
        stdout(highlight=False).print(_plain(found["record"]))


def _plain(value: Any) -> Text:
    return Text("" if value is None else str(value))  # a URI or a text may look like markup
