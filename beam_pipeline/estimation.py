"""``--plan``: what a run will find and cost, from a small sample of its documents. Writes nothing.

The footers of the sources give their rows. Of shards spread over the sources, a random share of the rows goes through
the very steps of the text passes; their tokens and CPU time a byte of text are taken for all. Duplicates are estimated
from those within the sample (``duplicate_share``), which says little where the share is very small.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from beam_pipeline import preflight
from beam_pipeline.document_estimate import spread
from beam_pipeline.planned_sources import list_sources
from beam_pipeline.prices import cost_summary
from beam_pipeline.sampled_passes import SampledPasses
from beam_pipeline.settings import Settings
from schemas.shards import Shard, Source
from transforms.costs import Costs, spending
from transforms.io import storage
from transforms.io.pinned_files import PinnedFile
from transforms.io.readers import ReadOptions, UnreadableSource, read, split
from transforms.io.readers.batching import cut_batches, string_lengths
from transforms.io.source_list import packing
from transforms.io.storage.requests import FIELDS
from transforms.kernels.deduplication.near_duplicate_estimate import duplicate_share

SOURCES_SPLIT = 500
"""Sources whose footers are read; of more, so many spread evenly, the others taken to be like them byte for byte."""
PLACES_READ = 64
"""Row groups at the least from which the sample comes: many places say more than many documents of one place."""
UNCOUNTED_BATCHES = 2
"""Batches of 16 MiB of text that are read where nothing says how many rows there are, as in JSON Lines."""
PASS2_CPU_SECONDS = 9e-6
"""CPU time of a document in pass 2, splitting and the audit, as measured on data/corpus."""
FETCH_BYTES = PART_BYTES = 16 * 2**20
ONE_PUT_BYTES = 64 * 2**20
GETS_OF_A_SHARD = 16
"""Looking whether it's done (1), footers (2), and reading its fingerprints in pass 2, to decide and for the audit."""


@dataclasses.dataclass
class _Seen:
    """Rows and bytes of text of all that was read; rows and stored bytes of the shards in it that aren't counted."""

    rows: int = 0
    text_bytes: int = 0
    uncounted_rows: int = 0
    uncounted_stored: float = 0.0


def estimate(settings: Settings) -> dict[str, Any]:
    """Documents, tokens, CPU hours, requests, storage and cost of the whole run (``beam_pipeline.prices``).

    Raises:
      PlanError, StorageError: there is nothing to read, or it can't be read.
    """
    sources = list_sources(settings)
    preflight.check_languages(settings, PinnedFile.pin(settings.language_model))
    kept = preflight.check_columns(sources, settings.first_reading(), settings.named_id_column())
    looked_at = spread(sources, SOURCES_SPLIT)
    scale = sum(source.size for source in sources) / max(1, sum(source.size for source in looked_at))
    row_groups = dataclasses.replace(settings.reading(), shard_bytes=1)
    places = [place for source in looked_at for place in split(source, row_groups) if not place.error]
    chosen = spread(places, max(PLACES_READ, math.ceil(settings.plan_fraction * len(places))))
    share = min(1.0, settings.plan_fraction * len(places) / max(1, len(chosen)))

    seen = _Seen()
    reading: Costs = {}
    passes = SampledPasses(settings, kept)
    options = dataclasses.replace(settings.reading(), columns=kept)
    for batch in cut_batches(_sample(chosen, share, options, seen, reading)):
        passes.add(batch)
    sample = passes.sample

    rows = sum(place.rows for place in places if place.rows > 0)
    stored = {place.source.number: place.source.size for place in places if place.rows < 0}
    rows += round(seen.uncounted_rows * sum(stored.values()) / seen.uncounted_stored) if seen.uncounted_stored else 0
    documents = round(rows * scale)
    text_bytes = documents * seen.text_bytes / max(1, seen.rows)
    of_sample = text_bytes / max(1, sample.text_bytes)
    unique = 1 - duplicate_share(sample.fingerprints, settings.deduplication(), sample.documents / max(1, documents))

    shards = _shards(settings, sources, looked_at)
    cpu = PASS2_CPU_SECONDS * documents + passes.comparing * shards
    cpu += reading["Read"].cpu * (1 + unique) * text_bytes / max(1, seen.text_bytes) if reading else 0
    cpu += (_cpu(passes.costs) + _cpu(passes.costs_of_kept) * unique) * of_sample
    stored_bytes = round((sample.fingerprint_bytes + sample.token_bytes * unique) * of_sample)
    requests = _requests(settings, sources, shards, stored_bytes)
    return {
        "documents": documents,
        "tokens": round(sample.tokens * of_sample * unique),
        "sample": {"documents": sample.documents, "places": len(chosen), "duplicate_share": round(1 - unique, 4)},
        **cost_summary(requests, cpu, stored_bytes, settings.prices()),
    }


def _cpu(costs: Costs) -> float:
    return sum(cost.cpu for cost in costs.values())


def _shards(settings: Settings, sources: Sequence[Source], looked_at: Sequence[Source]) -> int:
    """About how many: those of packed sources, and those of the others by the footers that were looked at."""
    reading = settings.reading()
    packed = packing([source.size for source in sources], reading.shard_bytes)
    alone = sum(source.size for source in sources if packed[source.number] == 1)
    seen = [source for source in looked_at if packed[source.number] == 1]
    scale = alone / max(1, sum(source.size for source in seen))
    of_alone = scale * sum(len(split(source, reading)) for source in seen)
    return max(1, sum(count > 1 for count in packed) + round(of_alone))


def _sample(
    places: Sequence[Shard], share: float, options: ReadOptions, seen: _Seen, costs: Costs
) -> Iterator[pa.RecordBatch]:
    """A random share of the rows of some shards, always the same ones."""
    for place in places:
        chance = np.random.default_rng([place.source.number, place.first_row])
        before = storage.current().bytes_read
        batches = read(place, options)
        done = 0
        while place.rows >= 0 or done < UNCOUNTED_BATCHES:
            try:
                with spending(costs, "Read"):
                    batch = next(batches, None)
            except UnreadableSource:
                break  # the run will say so
            if batch is None:
                break
            done += 1
            seen.rows += batch.num_rows
            seen.text_bytes += int(string_lengths(batch["text"]).sum())
            if place.rows < 0:
                seen.uncounted_rows += batch.num_rows
            yield batch.take(pa.array(_rows(batch.num_rows, share, chance)))
        if place.rows < 0:
            seen.uncounted_stored += min(storage.current().bytes_read - before, place.source.size)


def _rows(rows: int, share: float, chance: np.random.Generator) -> np.ndarray:
    """One random row of each run of 1 / share rows: neighbours are often alike, so this says more than any rows do."""
    runs = np.arange(math.ceil(rows * share))
    picked = np.floor((runs + chance.random(len(runs))) / share).astype(np.int64)
    return picked[picked < rows]


def _requests(settings: Settings, sources: Sequence[Source], shards: int, stored_bytes: int) -> dict[str, int]:
    """What is asked of the store, every shard alike; of local files only bytes are counted, and none are predicted."""
    requests = dict.fromkeys(FIELDS, 0)
    source_bytes = sum(source.size for source in sources)
    if any(storage.is_remote(source.uri) for source in sources):
        requests["list"] += math.ceil(len(sources) / 1000)
        requests["get"] += 2 * len(sources) + 2 * shards * math.ceil(source_bytes / shards / FETCH_BYTES)
    if storage.is_remote(settings.output):
        of_object = stored_bytes / 2 / shards
        requests["put"] += 2 + 2 * shards * (1 if of_object <= ONE_PUT_BYTES else 2 + math.ceil(of_object / PART_BYTES))
        requests["get"] += GETS_OF_A_SHARD * shards
    return requests
