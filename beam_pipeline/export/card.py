"""The data card of an export: ``README.md``, with the front matter that Hugging Face reads, and ``croissant.json``.

Both are a function of the export's plan and files: an export that is made again has the same.
"""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import yaml

from beam_pipeline.dataset_card import LANGUAGES
from beam_pipeline.export.plan import ExportPlan
from schemas.exports import SPLITS, Written
from schemas.run_layout import RunLayout
from transforms.export.formats import FORMATS
from transforms.io import storage

_COLUMNAR = {"parquet": "parquet", "arrow": "arrow"}


def readme(plan: ExportPlan, manifest: dict[str, Any]) -> str:
    """The card, Markdown."""
    settings, options = manifest["settings"], plan.options
    lines = ["# Token sequences for training", ""]
    chosen = FORMATS[options.format]
    lines += [f"Format `{options.format}`, read by {chosen.trainers}. Ids are {options.id_type.name}.", ""]
    lines += [
        "| split | files | bytes | sequences | documents | tokens | padding | documents cut |",
        "|---|" + "--:|" * 7,
    ]
    for name, split in manifest["splits"].items():
        lines.append(
            f"| {name} | {split['files']:,} | {split['bytes']:,} | {split['sequences']:,} | {split['documents']:,} "
            f"| {split['tokens']:,} | {split['padding_share']:.2%} | {split['cut_share']:.2%} |"
        )
    lines += [
        "",
        "## Mixture",
        "",
        f"Groups by `{settings['mixture']['by'] or 'nothing'}`, seed {settings['seed']}.",
        "",
    ]
    lines += [
        "| group | documents there | tokens there | documents here | tokens here | epochs |",
        "|---|" + "--:|" * 5,
    ]
    for row in manifest["mixture"]:
        there, here = row["available"], row["taken"]
        lines.append(
            f"| {row['group'] if row['group'] is not None else 'left out'} | {there['documents']:,} "
            f"| {there['tokens']:,} | {here['documents']:,} | {here['tokens']:,} | {row['epochs']:.4g} |"
        )
    if settings["where"]:
        lines += ["", f"Only documents with `{settings['where']}`."]
    lines += ["", "## Sequences", "", _sequences(settings, plan)]
    lines += ["", "## Sources", ""]
    for run in plan.runs:
        lines += _about_run(run.output, run.run, run.tokenizer_sha256)
    lines += ["", "## Order", "", _order(manifest["mixing"])]
    lines += [
        "",
        "## Where a token came from",
        "",
        "`python -m beam_pipeline trace --export FOLDER --file NAME --sequence N --position N` names the document of",
        "any token; `export --without LIST` makes the export again without some documents.",
        "",
    ]
    front: dict[str, Any] = {"pretty_name": "Token sequences", "tags": ["tokenized", options.format]}
    if options.format in _COLUMNAR:
        files = [{"split": name, "path": f"{name}/*.{_COLUMNAR[options.format]}"} for name in manifest["splits"]]
        front["configs"] = [{"config_name": "default", "data_files": files}]
    return f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n\n" + "\n".join(lines)


def _sequences(settings: dict[str, Any], plan: ExportPlan) -> str:
    options = plan.options
    packing = {
        "none": "Each document is a sequence.",
        "concatenate": f"Documents stand one after the other and are cut every {options.sequence_length:,} tokens.",
        "best-fit": f"Sequences have at most {options.sequence_length:,} tokens; only longer documents are cut "
        "(best-fit packing, Ding et al. 2024).",
    }[options.packing]
    ends = sorted({end for pair in zip(options.ends, options.after, strict=True) for end in pair if end >= 0})
    begins = sorted(
        {begin for pair in zip(options.begins, options.before, strict=True) for begin in pair if begin >= 0}
    )
    packing += f" Documents begin with token {begins[0]}." if begins else ""
    packing += f" Documents end with token {ends[0]}." if ends else " No token ends a document."
    packing += f" Short sequences are filled up with token {options.pad}." if options.pad >= 0 else ""
    if settings["boundaries"] != "none":
        packing += f" The column `{settings['boundaries']}` tells documents of a sequence apart."
    return packing


def _about_run(output: str, run: str, tokenizer: str) -> list[str]:
    """What the manifest of a run says of it."""
    lines = [f"- run `{run}`, tokenizer SHA-256 `{tokenizer}`"]
    try:
        manifest = json.loads(storage.read_bytes(RunLayout(output).manifest))
    except (storage.StorageError, ValueError):
        return lines
    counts = manifest.get("counts", {})
    if "documents" in counts:
        dropped = ", ".join(f"{reason} {count:,}" for reason, count in sorted(counts.get("dropped", {}).items()))
        lines.append(
            f"  - {counts['documents']:,} documents read, {counts.get('kept', 0):,} kept; dropped: {dropped or 'none'}"
        )
    languages = manifest.get("languages")
    if isinstance(languages, dict):
        largest = [name or "unknown" for name in languages][:LANGUAGES]  # the manifest has the largest first
        lines.append(f"  - languages: {', '.join(largest)}")
    return lines


def _order(mixing: dict[str, Any]) -> str:
    if not mixing:
        return "There is no training split."
    return (
        f"Each of {mixing['files']:,} files has the documents of {mixing['row_groups_in_a_file']:,.1f} of "
        f"{mixing['row_groups']:,} row groups on average, drawn at random, in random order. Two neighbours are of the "
        f"same row group with probability {mixing['same_row_group']:.4%}; in a uniform permutation with "
        f"{mixing['uniform']:.4%}."
    )


def croissant(plan: ExportPlan, manifest: dict[str, Any], written: Sequence[Written]) -> dict[str, Any]:
    """Croissant 1.0 (https://docs.mlcommons.org/croissant/docs/croissant-spec.html): the files, as sets by split."""
    suffixes = sorted({PurePosixPath(name).suffix for file in written for name in file.objects})
    sets = [
        {
            "@type": "cr:FileSet",
            "@id": f"{split}{suffix}",
            "encodingFormat": mimetypes.guess_type(f"x{suffix}")[0] or "application/octet-stream",
            "includes": f"{split}/*{suffix}",
        }
        for split in SPLITS
        if split in manifest["splits"]
        for suffix in suffixes
    ]
    tokens = sum(split["tokens"] for split in manifest["splits"].values())
    return {
        "@context": {
            "@vocab": "https://schema.org/",
            "cr": "http://mlcommons.org/croissant/",
            "sc": "https://schema.org/",
            "conformsTo": "dct:conformsTo",
            "dct": "http://purl.org/dc/terms/",
        },
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": "token-sequences",
        "description": f"{tokens:,} tokens as sequences for training, format {plan.options.format}.",
        "distribution": sets,
    }
