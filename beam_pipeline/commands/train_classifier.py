"""``train-classifier``: train a fastText classifier that tells good texts from bad ones.

A part of the texts is held out, and the report says for each threshold how many of what is kept is good (precision) and
how many of the good are kept (recall), by language. Training twice gives the same bytes. The model is for the step
``fasttext``: ``{use: fasttext, name: quality, model: MODEL, labels: [good]}``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from rich.console import Console
from rich.table import Table

from beam_pipeline import failures, preflight
from beam_pipeline.classifier_training import BAD, GOOD, TrainingOptions, sides, train, trainer
from schemas.shards import Source
from transforms.io import storage
from transforms.io.readers import ReadOptions, read, split
from transforms.options import about, names


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``train-classifier``."""
    for side in (GOOD, BAD):
        parser.add_argument(
            f"--{side}",
            nargs="+",
            required=True,
            metavar="URI",
            help=f"{side} texts: files, folders, globs, prefixes",
        )
    parser.add_argument("--output", required=True, metavar="FILE", help="where the model goes, a local .bin")
    parser.add_argument("--report", metavar="FILE", default="", help="where the report goes (default: OUTPUT.json)")
    parser.add_argument(
        "--text_column",
        default=ReadOptions.text_column,
        metavar="NAME",
        help="column or field with the text (default: %(default)s)",
    )
    parser.add_argument(
        "--trainer", default="", metavar="PYTHON", help="an interpreter with the whole fasttext library"
    )
    for name, (default, said) in about(TrainingOptions).items():
        parser.add_argument(
            f"--{name}", type=type(default), default=default, metavar="N", help=f"{said.help} (default: {default})"
        )


def run(args: argparse.Namespace) -> int:
    """Trains, writes model and report; returns the exit status."""
    with failures.before_work():
        options = TrainingOptions(**{name: getattr(args, name) for name in names(TrainingOptions)})
        python = trainer(args.trainer)
        reading = ReadOptions(text_column=args.text_column)
        sources = {side: _sources(getattr(args, side), reading) for side in (GOOD, BAD)}
        output = Path(storage.absolute(args.output))
        output.parent.mkdir(parents=True, exist_ok=True)
        report = train(_texts(sources, reading), output, options, python)
    place = storage.absolute(args.report or f"{output}.json")
    storage.write(place, json.dumps(report, indent=2).encode())
    table = Table(title=f"{report['held_out']['all']['texts']:,} texts that were held out", title_justify="left")
    for name in ("threshold", "precision", "recall"):
        table.add_column(name, justify="right")
    for threshold, precision, recall in sides(report)[1::2]:
        table.add_row(f"{threshold:.2f}", f"{precision:.3f}", f"{recall:.3f}")
    console = Console(stderr=True)
    console.print(table)
    console.print(f"-> {output}\n-> {place}", highlight=False, soft_wrap=True)
    return 0


def _sources(uris: list[str], reading: ReadOptions) -> list[Source]:
    found = {info.uri: info for uri in uris for info in storage.list_objects(uri)}
    sources = [Source(number, uri, found[uri].etag, found[uri].size) for number, uri in enumerate(sorted(found))]
    preflight.check_columns(sources, reading)
    return sources


def _texts(sources: dict[str, list[Source]], reading: ReadOptions) -> Iterator[tuple[str, pa.StringArray]]:
    for side, of_side in sources.items():
        for source in of_side:
            for shard in split(source, reading):
                for batch in read(shard, reading):
                    yield side, batch["text"].drop_null()
