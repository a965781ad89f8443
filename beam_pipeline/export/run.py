"""Carrying out a planned export on any runner, and what is written when its files are there.

ListFiles -> WriteFiles
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.export.card import croissant, readme
from beam_pipeline.export.plan import ExportPlan
from beam_pipeline.version import __version__
from schemas import exports
from schemas.errors import ToldError
from schemas.exports import SPLITS, Written
from transforms.export import provenance
from transforms.export.formats import FORMATS
from transforms.export.plan_tables import read_files
from transforms.export.write_files import ListFiles, WriteFiles
from transforms.io import storage

_THREADS = 16  # a footer each: they wait for the store


class Unfinished(ToldError):
    """Files of an export are missing although the runner says that it is done."""


def build(root: beam.Pipeline, plan: ExportPlan) -> None:
    """Adds the DAG to a Beam pipeline."""
    _ = root | "ListFiles" >> ListFiles(plan.stored) | "WriteFiles" >> WriteFiles(plan.options)


def carry_out(plan: ExportPlan, beam_options: PipelineOptions) -> dict[str, Any]:
    """Writes what isn't there yet, then what is about all files; returns the manifest's contents.

    Raises:
      Unfinished: files are missing.
    """
    storage.delete(storage.join(plan.output, exports.MANIFEST))  # it is true when it is there
    with beam.Pipeline(options=beam_options) as root:
        build(root, plan)
    return finish(plan)


def finish(plan: ExportPlan) -> dict[str, Any]:
    """Writes what is about all files, the manifest last; returns its contents.

    Raises:
      Unfinished: files are missing.
    """
    written = written_files(plan)
    contents = manifest(plan, written)
    for name, data in _about_all(plan, written, contents):
        storage.write(storage.join(plan.output, name), data)
    storage.write(storage.join(plan.output, exports.MANIFEST), json.dumps(contents, indent=2).encode())
    return contents


def written_files(plan: ExportPlan) -> list[Written]:
    """What each file has, by split and number.

    Raises:
      Unfinished: a file isn't there, or was made by something else.
    """
    expected = {(file.split, file.number): file for file in read_files(plan.stored)}
    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(lambda place: provenance.find(plan.output, expected[place]), plan.files))
    missing = [exports.file_name(*place) for place, file in zip(plan.files, found, strict=True) if file is None]
    if missing:
        raise Unfinished(
            f"{len(missing)} of {len(found)} files aren't there, the first is {missing[0]}: run the same command again"
        )
    return [file for file in found if file is not None]


def manifest(plan: ExportPlan, written: list[Written]) -> dict[str, Any]:
    """What ``export.json`` says; a function of plan and files."""
    splits = {}
    for split, name in enumerate(SPLITS):
        files = [file for file in written if file.split == split]
        if not files:
            continue
        sums = {
            field: sum(getattr(file, field) for file in files)
            for field in ("sequences", "documents", "tokens", "padding", "cut", "empty")
        }
        total = sums["tokens"] + sums["padding"]
        room = sums["sequences"] * plan.options.sequence_length
        splits[name] = sums | {
            "files": len(files),
            "bytes": sum(sum(file.objects.values()) for file in files),
            "padding_share": sums["padding"] / total if total else 0.0,
            "unused_share": 1 - sums["tokens"] / room if room else 0.0,
            "cut_share": sums["cut"] / sums["documents"] if sums["documents"] else 0.0,
        }
    kept = ("runs", "settings", "mixture", "holdout", "mixing", "removed")
    return {"code_version": __version__, **{name: plan.contents[name] for name in kept}, "splits": splits}


def _about_all(plan: ExportPlan, written: list[Written], contents: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    options = plan.options
    present = []
    for split, name in enumerate(SPLITS):
        files = [file for file in written if file.split == split]
        if files:
            present.append(name)
            for below, data in FORMATS[options.format].about_all(files, options):
                yield f"{name}/{below}", data
    yield from FORMATS[options.format].about_splits(present)
    yield "README.md", readme(plan, contents).encode()
    yield "croissant.json", json.dumps(croissant(plan, contents, written), indent=2).encode()
