"""The steps of both text passes on a sample, in this process: what comes out and what each step costs."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from beam_pipeline.passes import Pinned, text_pass, token_pass
from beam_pipeline.plan import plan_recipe, token_fields
from beam_pipeline.planned_sources import PlanError
from beam_pipeline.planned_tokenizer import plan_tokenization
from beam_pipeline.settings import Settings
from schemas import columns
from schemas.columns import DOCUMENTS
from schemas.shards import Shard, Source
from transforms.batches import Batch
from transforms.costs import Costs, add_costs, spending
from transforms.fingerprint import as_stored
from transforms.io.fingerprint_objects import FINGERPRINT
from transforms.io.kept_columns import KeptColumn
from transforms.io.pinned_files import PinnedFile
from transforms.io.readers.batching import string_lengths
from transforms.io.stage_objects import parquet_writer
from transforms.kernels.deduplication.blocks import DECISIONS, WITNESSES
from transforms.shard_outcomes import FINGERPRINT_COLUMNS, decide
from transforms.write_fingerprints import object_options as options_of_fingerprints
from transforms.write_fingerprints import schema_of_objects
from transforms.write_tokens import object_options as options_of_tokens
from transforms.write_tokens import token_rows


@dataclasses.dataclass
class Sample:
    """What came out of the sample.

    Attributes:
      documents, text_bytes: rows, and bytes of their text as read.
      tokens: of what the filters keep, duplicates among them.
      fingerprint_bytes, token_bytes: of the objects that would be written.
      fingerprints: what pass 2 compares, of each batch.
    """

    documents: int = 0
    text_bytes: int = 0
    tokens: int = 0
    fingerprint_bytes: int = 0
    token_bytes: int = 0
    fingerprints: list[pa.RecordBatch] = dataclasses.field(default_factory=list)


class SampledPasses:
    """Takes batches of documents as read, adds up results and costs.

    Attributes:
      sample: the results.
      costs: of the steps of pass 1.
      costs_of_kept: of the steps of pass 3; what they cost goes with the documents kept.
      comparing: CPU seconds of comparing the two tokenizer engines, once a shard.
    """

    def __init__(self, settings: Settings, kept: Sequence[KeptColumn] = ()) -> None:
        self.sample, self.comparing = Sample(), 0.0
        self.costs: Costs = {}
        self.costs_of_kept: Costs = {}
        model, recipe = PinnedFile.pin(settings.language_model), plan_recipe(settings, kept)
        try:
            tokenization = plan_tokenization(settings)
            id_type = tokenization.load().id_type if tokenization else None
        except ValueError as error:
            raise PlanError(f"tokenizer {settings.tokenizer}: {error}") from error
        plan = Pinned(settings, model, tokenization, recipe, tuple(kept))
        wide = recipe.outcomes.wide
        self._fingerprint_schema = schema_of_objects(settings.minhash(), plan.stored_fields, wide)
        chosen = token_fields(settings, plan.stored_fields)
        self._token_schema = columns.tokens(id_type, settings.with_text, chosen)
        self._columns = [column.name for column in kept] if recipe.editors else []
        self._columns += [name for name in settings.token_columns if name not in self._columns]
        self._text_pass, self._token_pass = text_pass(plan), token_pass(plan)
        for box in (*self._text_pass, *self._token_pass):
            box.setup()

    def add(self, data: pa.RecordBatch) -> None:
        """Takes a batch; the first is begun twice, so that loading and compiling isn't taken for work."""
        if not self.sample.documents:
            sample, self.sample = self.sample, Sample()
            self._process(data[:100], 0)  # the first of a shard, whose texts have both engines compared
            compared = self.costs_of_kept.get("CompareTokenizers")
            self.comparing = compared.cpu if compared else 0.0
            self.costs, self.costs_of_kept, self.sample = {}, {}, sample
        self._process(data, 1)

    def _process(self, data: pa.RecordBatch, index: int) -> None:
        """Both text passes on a batch."""
        shard = Shard(Source(0, "sample", "", 0), rows=len(data))
        data = data.set_column(data.schema.get_field_index("row"), "row", pa.array(np.arange(len(data), dtype="u4")))
        self.sample.documents += data.num_rows
        self.sample.text_bytes += int(string_lengths(data["text"]).sum())
        batch = Batch(shard, index, True, data)
        for box in self._text_pass:
            batch = box(batch)
        prints = as_stored(batch.data, self._fingerprint_schema)
        with spending(self.costs, "WriteFingerprints"):
            self.sample.fingerprint_bytes += _written(prints, **options_of_fingerprints(self._fingerprint_schema))
        self.sample.fingerprints.append(prints.select([name for name in prints.schema.names if name in FINGERPRINT]))
        add_costs(self.costs, batch.costs)

        of_prints = pa.Table.from_batches([prints]).select(FINGERPRINT_COLUMNS)
        outcomes = decide(shard, of_prints, DECISIONS.empty(0), WITNESSES.empty(0))
        known = {name: data[name] for name in DOCUMENTS.names} | {name: prints[name] for name in self._columns}
        read_again = pa.RecordBatch.from_pydict(known).filter(pa.array(outcomes.kept))
        batch = Batch(shard, index, True, read_again, shard_outcomes=outcomes)
        for box in self._token_pass:
            batch = box(batch)
        with spending(self.costs_of_kept, "WriteTokens"):
            rows = token_rows(batch, outcomes, self._token_schema)
            self.sample.token_bytes += _written(rows, **options_of_tokens(self._token_schema))
        add_costs(self.costs_of_kept, batch.costs)
        if "input_ids" in batch.data.schema.names:
            self.sample.tokens += len(batch.data["input_ids"].flatten())


def _written(data: pa.RecordBatch, **options: object) -> int:
    """Bytes of the batch as Parquet, written as the run does."""
    buffer = io.BytesIO()
    writer = parquet_writer(buffer, data.schema, **options)  # type: ignore[arg-type]
    writer.write_batch(data, row_group_size=max(1, data.num_rows))
    writer.close()
    return buffer.tell()
