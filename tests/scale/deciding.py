"""Rules decided again, and ``what-if``, over millions of synthetic documents: documents a second, and memory.

    python -m tests.scale.deciding [DOCUMENTS ...]

What is stored are attributes, content hashes and token counts, as a run stores them; signatures are null, since neither
reads them. The first step is that of ``decide`` in which all documents take part: from the parent's objects to those of
the new run, on two workers, with stricter rules and a new one.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.options.pipeline_options import PipelineOptions
from rich.console import Console

from beam_pipeline.finished_runs import FinishedRun
from beam_pipeline.what_if import what_if
from schemas.columns import SOURCES, fingerprints, tokens
from schemas.run_layout import ERROR, ETAG, FIRST_ROW, SETTINGS, Deciding, RunLayout, StoredPlan
from schemas.shards import Shard, Source, document_id
from tests.scale.measured import Watch
from transforms.decide_again import DecideRulesAgain, Parent, WriteDecided
from transforms.io.readers.common import ReadOptions
from transforms.io.stage_objects import StageObjects
from transforms.read_documents import ReadShards
from transforms.recipe.spec import PlannedRecipe, StepSpec
from transforms.write_fingerprints import WriteFingerprints

ROWS_PER_SHARD = 100_000
WORKERS = 2
FEWEST_A_SECOND, MOST_MEMORY, MOST_SECONDS_OF_WHAT_IF = 300_000, 4e9, 10.0
ATTRIBUTES = (pa.field("words", pa.uint32()), pa.field("edu", pa.float16()), pa.field("url", pa.string()))
LANGUAGES = ("de", "en", "fr", "zh")
DECIDING = Deciding({"of": "synthetic"}, {"tokens": True})


def rules(*conditions: tuple[str, str]) -> PlannedRecipe:
    """A recipe of rules: a reason, and what is kept."""
    specs = [StepSpec(use="rule", arguments={"reason": reason, "keep": keep}) for reason, keep in conditions]
    return PlannedRecipe.of(specs, ATTRIBUTES)


BEFORE = rules(("few_words", "words >= 100"), ("low_edu", "edu >= 0.2"))
AFTER = rules(
    ("few_words", "words >= 150"),
    ("low_edu", "edu >= 0.3 and (edu >= 0.4 or language != 'de')"),
    ("long", "words < 5000"),
)
QUESTIONS = ("edu >= 0.5", "edu >= 0.5 and words >= 300")


@dataclasses.dataclass(frozen=True)
class Synthetic:
    """N documents of a finished run in a new folder."""

    documents: int
    layout: RunLayout

    @property
    def parent(self) -> Parent:
        """As a run that decides it again needs it."""
        stored = StageObjects(self.layout.fingerprints, DECIDING.fingerprints_hash)
        kept = StageObjects(self.layout.tokens, DECIDING.settings_hash)
        return Parent("synthetic", self.layout.output, stored, kept, BEFORE.steps, BEFORE.outcomes)

    @property
    def finished(self) -> FinishedRun:
        """As questions need it."""
        plan = StoredPlan("synthetic", "2026-01-01", DECIDING, outcomes=BEFORE.outcomes.as_json())
        return FinishedRun(plan, {"counts": {"documents": self.documents}}, self.layout.output, self.layout.tokens)

    def write(self) -> list[Shard]:
        """Writes the run; returns its shards."""
        for folder in (self.layout.fingerprints, self.layout.tokens):
            Path(folder).mkdir(parents=True, exist_ok=True)
        count = -(-self.documents // ROWS_PER_SHARD)
        sources = [(number, f"synthetic-{number}", "etag", 2**40, 1) for number in range(count)]
        columns = [pa.array(values, field.type) for values, field in zip(zip(*sources), SOURCES, strict=True)]  # noqa: B905
        pq.write_table(pa.table(columns, schema=SOURCES), self.layout.sources)
        with multiprocessing.get_context("spawn").Pool(WORKERS) as pool:
            return pool.map(self._write_shard, range(count))

    def _write_shard(self, number: int) -> Shard:
        rows = min(ROWS_PER_SHARD, self.documents - number * ROWS_PER_SHARD)
        shard = Shard(Source(number, f"synthetic-{number}", "etag", 2**40), rows=rows)
        file = Path(self.layout.fingerprints) / f"{shard.name}.parquet"
        random = np.random.default_rng([self.documents, number])
        words = random.integers(20, 6000, rows)
        edu = random.random(rows).astype(np.float16)
        edu_known = words >= 100
        dropped = np.where(~edu_known, _code("few_words"), np.where(edu < np.float16(0.2), _code("low_edu"), 0))
        hosts = random.integers(0, 20_000, rows)
        active = dropped == 0
        values: dict[str, Any] = {
            "outcome": pa.array(dropped, mask=active),
            "language": pa.DictionaryArray.from_arrays(random.integers(0, 4, rows).astype(np.int32), list(LANGUAGES)),
            "language_score": pa.array(random.random(rows), pa.float32()),
            "text_bytes": pa.array(words * 6, pa.uint32()),
            "content_hash": pa.array([None] * rows, pa.binary(16)),
            "words": pa.array(words, pa.uint32()),
            "edu": pa.array(edu),
            "url": pc.binary_join_element_wise("https://www.host", pa.array(hosts).cast(pa.string()), ".org/page", ""),
        }
        hashes = pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(16), rows, [None, pa.py_buffer(random.bytes(16 * rows))]
        )
        values["content_hash"] = pc.if_else(pa.array(active), hashes, pa.scalar(None, pa.binary(16)))
        schema = fingerprints(0, 0, ATTRIBUTES)
        names = {ETAG: shard.etag.encode(), FIRST_ROW: b"0", ERROR: b""}
        made = {SETTINGS: DECIDING.fingerprints_hash.encode()}
        table = pa.table(
            [values.get(field.name, pa.nulls(rows, field.type)).cast(field.type) for field in schema],
            schema=schema.with_metadata(names | made),
        )
        kept = np.flatnonzero(active)
        of_tokens = tokens(None, False)
        found = {"id": pa.array(document_id(number, 0) + kept, pa.uint64())}
        columns = [found.get(field.name, pa.nulls(len(kept), field.type)) for field in of_tokens]
        kept_table = pa.table(columns, schema=of_tokens).append_column("n_tokens", pa.array(words[kept], pa.uint32()))
        made = {SETTINGS: DECIDING.settings_hash.encode()}
        pq.write_table(
            kept_table.replace_schema_metadata(names | made), Path(self.layout.tokens) / f"{shard.name}.parquet"
        )
        pq.write_table(table, file, compression="zstd", compression_level=1)
        return shard


def _code(reason: str) -> int:
    return BEFORE.outcomes.code(reason)


def decided(run: Synthetic, shards: list[Shard], output: str) -> None:
    """The step of ``decide`` in which all documents take part."""
    options = PipelineOptions([], direct_running_mode="multi_processing", direct_num_workers=WORKERS)
    pipeline = beam.Pipeline(options=options)
    objects = StageObjects(RunLayout(output).fingerprints, "decided")
    write = WriteFingerprints(objects, "decided", None, ATTRIBUTES)
    batches = (
        pipeline
        | beam.Create(shards)
        | beam.Reshuffle()
        | DecideRulesAgain(run.parent, AFTER.steps, AFTER.outcomes)
        | ReadShards(ReadOptions())
    )
    batches | WriteDecided(write, run.parent, ())
    pipeline.run().wait_until_finish()


def measure(documents: int, folder: Path) -> bool:
    """Prints what it takes for one number of documents; returns whether that is more than it may be."""
    run = Synthetic(documents, RunLayout(str(folder / "run")))
    shards = run.write()
    with Watch() as watch:
        started = time.perf_counter()
        decided(run, shards[:WORKERS], str(folder / "warm"))
        warm = time.perf_counter()
        decided(run, shards, str(folder / "measured"))
        done = time.perf_counter()
        answers = what_if(run.finished, QUESTIONS)
        asked = time.perf_counter() - done
    objects = sorted((folder / "measured" / "fingerprints").iterdir())
    kept = sum(pq.read_table(file, columns=["outcome"])["outcome"].null_count for file in objects)
    seconds, rate, memory = done - warm, documents / (done - warm), watch.memory.together
    Console(highlight=False, soft_wrap=True).print(
        f"{documents:,} documents: rules decided again in {seconds:.1f} s ({rate:,.0f} documents/s on {WORKERS} "
        f"workers with their start-up; {WORKERS} shards alone {warm - started:.1f} s), {kept:,} let through; "
        f"what-if of {len(QUESTIONS)} expressions {asked:.1f} s, {answers[0].total.passing.documents:,} pass; "
        f"{memory / 1e9:.1f} GB at most"
    )
    too_slow = documents >= 10_000_000 and rate < FEWEST_A_SECOND  # of fewer, start-up is most
    return too_slow or memory > MOST_MEMORY or asked > MOST_SECONDS_OF_WHAT_IF


def main(counts: list[int]) -> int:
    """Measures; returns the exit status."""
    failed = False
    for documents in counts:
        with tempfile.TemporaryDirectory(dir=os.environ.get("SCALE_DIR")) as folder:
            failed |= measure(documents, Path(folder))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main([int(count) for count in sys.argv[1:]] or [10_000_000]))
