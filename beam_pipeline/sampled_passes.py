"""The steps of both text passes on a sample, in this process: what comes out and what each step costs."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence

import pyarrow as pa

from beam_pipeline.plan import plan_recipe, token_fields
from beam_pipeline.planned_sources import PlanError
from beam_pipeline.planned_tokenizer import plan_tokenization
from beam_pipeline.settings import Settings
from schemas import columns
from schemas.shards import Shard, Source
from transforms.apply_recipe import step_batch
from transforms.batches import Batch
from transforms.check_spelling import Spelled, check_spelling
from transforms.costs import Costs, spending
from transforms.fingerprint import as_stored, fingerprint_batch
from transforms.io.pinned_files import PinnedFile
from transforms.io.readers.batching import string_lengths
from transforms.io.readers.kept_columns import KeptColumn
from transforms.io.stage_objects import parquet_writer
from transforms.kernels.language import identification as language
from transforms.kernels.text.normalization import normalize
from transforms.normalize import normalize_batch
from transforms.tokenize import sample_of

NOWHERE = Shard(Source(0, "sample", "", 0))


@dataclasses.dataclass
class Sample:
    """What came out of the sample.

    Attributes:
      documents, text_bytes: rows, and bytes of their text as read.
      tokens: of what the filters keep, duplicates among them.
      fingerprint_bytes, token_bytes: of the objects that would be written.
      fingerprints: content_hash, signature, shingles and bands of each batch.
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
      costs: by step.
      comparing: CPU seconds of comparing the two tokenizer engines, once a shard.
    """

    OF_KEPT = ("NormalizeKept", "Tokenize", "WriteTokens")
    """The steps of pass 3: what they cost goes with the documents kept."""

    def __init__(self, settings: Settings, kept: Sequence[KeptColumn] = ()) -> None:
        self.sample, self.comparing = Sample(), 0.0
        self.costs: Costs = {}
        self._settings = settings
        self._language = language.load(PinnedFile.pin(settings.language_model).local_path())
        self._recipe = plan_recipe(settings, kept)
        self._stored = (*(column.field for column in kept), *self._recipe.attributes)
        self._of_tokens = [field.name for field in token_fields(settings, self._stored)]
        self._steps = [spec.load() for spec in self._recipe.steps]
        for step in self._steps:
            step.setup()
        try:
            tokenization = plan_tokenization(settings)
            self._tokenizer = tokenization.load() if tokenization else None
        except ValueError as error:
            raise PlanError(f"tokenizer {settings.tokenizer}: {error}") from error

    def add(self, data: pa.RecordBatch) -> None:
        """Takes a batch; the first is begun twice, so that loading and compiling isn't taken for work."""
        if not self.sample.documents:
            sample, self.sample = self.sample, Sample()
            spent: Costs = {}
            few = data[:100]
            self._process(few, {})
            if self._tokenizer is not None:
                with spending(spent, "CompareTokenizers"):
                    self._tokenizer.calibrate(sample_of(few["text"].drop_null()))
                self.comparing = spent["CompareTokenizers"].cpu
            self.sample = sample
        self._process(data, self.costs)

    def _process(self, data: pa.RecordBatch, costs: Costs) -> None:
        """Both text passes on a batch."""
        self.sample.documents += data.num_rows
        options = self._settings.normalization()
        self.sample.text_bytes += int(string_lengths(data["text"]).sum())
        batch = normalize_batch(Batch(NOWHERE, 0, True, data, costs), options)
        with spending(costs, "NormalizeKept"):
            normalize(
                data["text"], options, batch.data["already_normalized"].fill_null(False).to_numpy(zero_copy_only=False)
            )
        with spending(costs, "IdentifyLanguage"):
            labels, scores = self._language.identify(
                batch.data["text"], window=self._settings.language_window, min_letters=self._settings.min_letters
            )
        batch = batch.with_columns(language=labels, language_score=scores)
        for step in self._steps:
            batch = step_batch(batch, step, self._recipe.outcomes)
        if self._tokenizer is not None and self._settings.max_unknown_tokens is not None:
            with spending(costs, "CheckSpelling"):
                batch = check_spelling(batch, Spelled(self._tokenizer, self._settings.max_unknown_tokens))
        text = batch.data["text"].drop_null()
        minhash = self._settings.minhash()
        prints = fingerprint_batch(batch, minhash, tuple(field.name for field in self._stored)).data
        with spending(costs, "WriteFingerprints"):
            wide = self._recipe.outcomes.wide
            schema = columns.fingerprints(minhash.bands, minhash.signature_size, self._stored, wide)
            self.sample.fingerprint_bytes += _written(as_stored(prints, schema))
        self.sample.fingerprints.append(prints.select(["content_hash", "signature", "shingles", "bands"]))
        written: dict[str, pa.Array] = {"text": text}
        if self._tokenizer is not None:
            with spending(costs, "Tokenize"):
                ids = self._tokenizer.encode(text)
            self.sample.tokens += len(ids.flatten())
            written = {"input_ids": ids} | (written if self._settings.with_text else {})
        with spending(costs, "WriteTokens"):
            usable = batch.data["text"].is_valid()
            written |= {name: batch.data[name].filter(usable) for name in self._of_tokens}
            lists = "input_ids" if "input_ids" in written else None
            self.sample.token_bytes += _written(pa.RecordBatch.from_pydict(written), lists)


def _written(data: pa.RecordBatch, lists: str | None = None) -> int:
    """Bytes of the batch as Parquet, written as the run does."""
    buffer = io.BytesIO()
    writer = parquet_writer(buffer, data.schema, lists, use_dictionary=False)
    writer.write_batch(data, row_group_size=max(1, data.num_rows))
    writer.close()
    return buffer.tell()
