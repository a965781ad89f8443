"""The manifest ``run.json``: what a run was, what it did, and what became of its documents."""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

from rich.console import Console
from rich.table import Table

from beam_pipeline import audit, final_check
from beam_pipeline.lineage.totals import Amount, Totals
from beam_pipeline.lineage.worker_notes import WorkerNotes
from beam_pipeline.plan import Plan
from beam_pipeline.prices import compare, cost_summary, total_requests
from beam_pipeline.version import __version__
from transforms.io import storage
from transforms.kernels.language.identification import iso_639_3
from transforms.kernels.text.normalization import UNICODE_VERSION

LIBRARIES = ("apache-beam", "pyarrow", "tokenizers", "gigatoken", "fasttext-predict", "mmh3", "numba", "numpy")


def missing_from(plan: Plan, totals: Totals, token_objects: Iterable[str]) -> list[str]:
    """What a run that is said to be done lacks, one sentence each: empty if every document and object is there."""
    missing = [f"shard {shard} was fingerprinted but not tokenized" for shard in totals.unfinished]
    missing += [
        f"{gap.uri}: {gap.finished_rows} of {_known(gap.rows)} rows in {gap.finished_shards} of "
        f"{_known(gap.shards)} shards"
        for gap in totals.gaps
    ]
    missing += [f"shard {shard}: its counts don't add up to its rows" for shard in totals.uncounted]
    missing += [
        f"{row.amount.documents} documents have an outcome that the run doesn't know"
        for row in totals.funnel
        if row.outcome is None
    ]
    return missing + final_check.faults(plan, token_objects)


def build(
    plan: Plan, totals: Totals, notes: WorkerNotes, others: dict[str, dict[str, float]], seconds: float
) -> dict[str, Any]:
    """The manifest's contents.

    Args:
      totals: the counts.
      notes: what the workers noted: cost by step, tokenizer engines.
      others: the costs of the steps that note nothing, of this attempt.
      seconds: wall time of this attempt, the pipeline's start-up included.
    """
    by_reason = totals.by_reason()
    tokens = sum(amount.tokens for amount in by_reason.values())
    steps = notes.steps | others
    actual = cost_summary(
        total_requests(steps),
        sum(step.get("cpu", 0.0) for step in steps.values()),
        sum(_stored_bytes(objects.uri) for objects in (plan.fingerprints, plan.tokens)),
        plan.settings.prices(),
    )
    return {
        "run": plan.run,
        "created": plan.created,
        "parent": plan.parent and {"run": plan.parent.run, "output": plan.parent.output},
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "settings": plan.settings.model_dump(mode="json"),
        "settings_hash": plan.settings_hash,
        "versions": {
            "beam_pipeline": __version__,
            "python": platform.python_version(),
            "unicode": UNICODE_VERSION,
            "libraries": {name: version(name) for name in LIBRARIES},
        },
        "tokenizer": plan.tokenization
        and {"uri": plan.tokenization.tokenizer.uri, "sha256": plan.tokenization.tokenizer.sha256} | notes.tokenizer,
        "language_model": {"uri": plan.language_model.uri, "sha256": plan.language_model.sha256},
        "sources": {"count": plan.sources, "bytes": plan.source_bytes, "listed_in": plan.layout.sources},
        "unreadable": [{"uri": uri, "reason": reason} for uri, reason in totals.unreadable],
        "read_with_warnings": notes.reading,
        "counts": {
            "documents": totals.documents,
            "kept": sum(amount.documents for (outcome, _), amount in by_reason.items() if outcome == "kept"),
            "dropped": _documents(by_reason, "dropped"),
            "invalid": _documents(by_reason, "invalid"),
        },
        "deduplication_audit": audit.summary(
            plan.layout.audit, plan.settings.min_similarity, _documents(by_reason, "dropped").get("near_duplicate", 0)
        )
        if plan.settings.near_duplicates and not plan.parent
        else None,
        "tokens": tokens,
        "spelling": notes.spelling,
        "edits": notes.edits,
        "kept_bytes": sum(amount.bytes for (outcome, _), amount in by_reason.items() if outcome == "kept"),
        "languages": {
            label or "": {
                "iso_639_3": iso_639_3(label or ""),
                "documents": amount.documents,
                "bytes": amount.bytes,
                "tokens": amount.tokens,
            }
            for label, amount in sorted(totals.by_language().items(), key=lambda item: -item[1].documents)
        },
        "steps": {name: {kind: _rounded(amount) for kind, amount in step.items()} for name, step in steps.items()},
        "storage": actual,
        "prediction": plan.prediction
        and compare(plan.prediction, actual | {"documents": totals.documents, "tokens": tokens}),
        "wall_seconds": round(seconds, 3),
    }


def _stored_bytes(uri: str) -> int:
    try:
        return sum(info.size for info in storage.list_objects(uri))
    except storage.NotFound:
        return 0  # no source could be read


def _rounded(amount: float) -> float:
    return int(amount) if amount == int(amount) else round(amount, 3)


def encode(contents: dict[str, Any]) -> bytes:
    """The bytes of ``run.json``."""
    return json.dumps(contents, indent=2, ensure_ascii=False).encode()


def show(contents: dict[str, Any], plan: Plan, console: Console) -> None:
    """The closing table: what went where."""
    counts = contents["counts"]
    table = Table(title=f"run {contents['run']}", title_justify="left")
    table.add_column("documents")
    table.add_column("count", justify="right")
    table.add_column("share", justify="right")

    def row(name: str, count: int) -> None:
        table.add_row(name, f"{count:,}", f"{count / counts['documents']:.1%}" if counts["documents"] else "")

    row("in", counts["documents"])
    for outcome in ("invalid", "dropped"):
        for reason, count in counts[outcome].items():
            row(f"{outcome}: {reason}", count)
    table.add_section()
    row("kept", counts["kept"])
    console.print(table)
    rate = contents["kept_bytes"] / 1e6
    made = f"{contents['tokens']:,} tokens from " if plan.tokenization else ""
    console.print(
        f"{made}{rate:,.1f} MB of kept text in {contents['wall_seconds']:.1f} s "
        f"-> {plan.tokens.uri}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    for source in contents["read_with_warnings"]:
        console.print(f"read: {source['uri']}: {source['warning']}", markup=False, highlight=False, soft_wrap=True)
    for source in contents["unreadable"]:
        console.print(f"unreadable: {source['uri']}: {source['reason']}", markup=False, highlight=False, soft_wrap=True)
    for sentence in contents["warnings"]:
        console.print(f"WARNING: {sentence}", style="bold yellow", markup=False, highlight=False, soft_wrap=True)


def _documents(by_reason: dict[tuple[str | None, str | None], Amount], wanted: str) -> dict[str, int]:
    return {
        reason or "": amount.documents
        for (outcome, reason), amount in sorted(by_reason.items(), key=lambda item: str(item[0]))
        if outcome == wanted
    }


def _known(number: int | None) -> str:
    return "an unknown number of" if number is None else str(number)
