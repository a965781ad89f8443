"""DecideAgain: pass 1 of a run that applies another recipe to what an earlier run, its parent, has stored.

    DecideRules -> ReadDocuments -> Normalize -> IdentifyLanguage -> Recipe -> Fingerprint -> WriteDecided

Rules are decided from stored columns (``transforms.recipe.deciding``). Read are only texts of documents for which that
isn't enough: those that come back in, and all where a step is new that looks at texts. What is written has the form of
any run's fingerprints; fingerprints that haven't changed stay in the parent's objects
(``transforms.io.fingerprint_objects``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import apache_beam as beam
import numpy as np
import pyarrow as pa

from schemas.outcomes import Outcomes
from schemas.run_layout import PARENT
from schemas.shards import Shard
from transforms.apply_recipe import edits_of
from transforms.batches import Batch
from transforms.counters import count
from transforms.fingerprint import as_stored
from transforms.io.fingerprint_objects import FINGERPRINT, READ_AGAIN, Stored, read_fingerprints, schema_of
from transforms.io.stage_objects import StageObjects
from transforms.recipe.deciding import DecideRules, is_decidable
from transforms.recipe.spec import StepSpec
from transforms.rules_decided import RulesDecided
from transforms.write_fingerprints import Fingerprinted, Open, WriteFingerprints, WriteShards

ROWS_AT_ONCE = 65_536
"""Rows in a row group of what is written."""


@dataclasses.dataclass(frozen=True)
class Parent:
    """The run that is decided again.

    Attributes:
      run, output: its id, and where it is.
      fingerprints, tokens: its objects.
      steps: its recipe.
      outcomes: what could become of its documents.
    """

    run: str
    output: str
    fingerprints: StageObjects
    tokens: StageObjects
    steps: tuple[StepSpec, ...]
    outcomes: Outcomes


@dataclasses.dataclass(frozen=True, eq=False)
class Recipes:
    """The recipe of a run and that of its parent, as workers load them."""

    steps: tuple[StepSpec, ...]
    outcomes: Outcomes
    before: tuple[StepSpec, ...]
    outcomes_before: Outcomes

    def load(self) -> DecideRules:
        """The steps that can be decided from stored columns, ready to be applied."""
        steps, before = [spec.load() for spec in self.steps], [spec.load() for spec in self.before]
        for step in steps:
            if is_decidable(step):
                step.setup()
        return DecideRules(steps, self.steps, self.outcomes, before, self.before, self.outcomes_before)


class _Decide(beam.DoFn):
    def __init__(self, parent: Parent, recipes: Recipes) -> None:
        self._parent, self._recipes = parent, recipes

    def setup(self) -> None:
        """Imports the steps of both recipes, once a worker."""
        self._rules = self._recipes.load()

    def process(self, shard: Shard) -> Iterator[RulesDecided]:
        nothing = np.zeros(0, np.uint16)
        if shard.error:
            yield RulesDecided(shard, nothing, nothing.astype(np.bool_), None)
            return
        found = self._parent.fingerprints.find(shard)
        uri = self._parent.fingerprints.uri_of(shard)
        if found is None:
            raise ValueError(
                f"{uri} isn't there, or not as run {self._parent.run} has made it: run the pipeline over "
                f"{self._parent.output} again, then decide again"
            )
        shard = dataclasses.replace(shard, rows=found.rows, error=found.error)
        if found.error or not found.rows:
            yield RulesDecided(shard, nothing, nothing.astype(np.bool_), None)
            return
        there = schema_of(uri).names
        needed = [name for name in self._rules.columns if name in there]
        stored = read_fingerprints(uri, ["outcome", "content_hash", *needed], dropped_too=True)
        decided = self._rules(stored.table)
        count(texts_read_again=int(np.count_nonzero(decided.read)))
        yield RulesDecided(shard, decided.codes, decided.read, stored.census, decided.columns)


@dataclasses.dataclass
class DecideRulesAgain(beam.PTransform):
    """From ``Shard``: ``RulesDecided``, from a few columns of the parent's fingerprints.

    Attributes:
      parent: the run that is decided again.
      steps, outcomes: of the new recipe.
    """

    parent: Parent
    steps: tuple[StepSpec, ...]
    outcomes: Outcomes

    def expand(self, shards: beam.PCollection[Shard]) -> beam.PCollection[RulesDecided]:
        """One shard at a time."""
        recipes = Recipes(self.steps, self.outcomes, self.parent.steps, self.parent.outcomes)
        return shards | beam.ParDo(_Decide(self.parent, recipes)).with_output_types(RulesDecided)


def merged_columns(decided: RulesDecided, stored: Stored, again: pa.Table, schema: pa.Schema) -> pa.Table:
    """What is stored of a shard that was decided again: one row a document.

    Args:
      decided: what was decided from stored columns.
      stored: the parent's columns but the fingerprints; one that the parent lacks isn't there.
      again: the rows of the documents that were read again, in order, with all columns of ``schema``.
      schema: of the object; its last column is ``READ_AGAIN``.
    """
    rows = decided.shard.rows
    at = np.arange(rows)
    at[decided.read] = rows + np.arange(len(again))

    def merged(field: pa.Field) -> pa.Array:
        if field.name == READ_AGAIN:
            return pa.array(decided.read)
        new = again[field.name].combine_chunks()
        new = new.dictionary_decode() if pa.types.is_dictionary(new.type) else new
        if field.name == "outcome":
            old = pa.array(decided.codes, mask=decided.codes == 0).cast(new.type)
        elif field.name in decided.columns:
            old = decided.columns[field.name].cast(new.type)
        elif field.name in FINGERPRINT or field.name not in stored.table.column_names:
            old = pa.nulls(rows, new.type)
        else:
            old = stored.table[field.name].combine_chunks()
            old = (old.dictionary_decode() if pa.types.is_dictionary(old.type) else old).cast(new.type)
        values = pa.concat_arrays([old, new]).take(pa.array(at)) if len(again) else old
        return values.dictionary_encode() if pa.types.is_dictionary(field.type) else values

    return pa.table([merged(field) for field in schema], schema=schema)


class _Write(WriteShards):
    """Writes the merged object of a shard when the last of the documents that were read again has come."""

    def __init__(self, usual: WriteFingerprints, parent: Parent, editors: tuple[StepSpec, ...]) -> None:
        super().__init__(usual.objects, usual.run, usual.options, usual.more, usual.wide_outcomes)
        self._parent, self._editors = parent, editors
        self._read = self._schema
        self._schema = self._schema.append(pa.field(READ_AGAIN, pa.bool_()))

    def setup(self) -> None:
        """Imports the editors, whose counts are added up."""
        self._steps = [spec.load() for spec in self._editors]

    def begin(self, batch: Batch) -> Open:
        """Opens the shard's object, under no name yet."""
        self._again: list[pa.RecordBatch] = []
        return super().begin(batch)

    def add(self, work: Open, batch: Batch) -> None:
        """Holds what was read again; with the last batch, writes the shard."""
        if batch.error:
            return
        if len(batch.data):
            self._again.append(as_stored(batch.data, self._read))
        self.spent(work, batch)
        decided = batch.decided
        if batch.last and decided is not None and decided.shard.rows:
            with batch.at_work("WriteFingerprints"):
                self._write_all(work, decided)
            work.rows = decided.shard.rows

    def _write_all(self, work: Open, decided: RulesDecided) -> None:
        uri = self._parent.fingerprints.uri_of(decided.shard)
        there = schema_of(uri).names
        names = [name for name in self._read.names if name in there and name not in FINGERPRINT]
        stored = read_fingerprints(uri, names)
        again = pa.Table.from_batches(self._again, self._read)
        if len(again) != np.count_nonzero(decided.read):
            raise ValueError(f"{len(again)} documents were read again, not {np.count_nonzero(decided.read)}")
        merged = merged_columns(decided, stored, again, self._schema)
        for start in range(0, len(merged), ROWS_AT_ONCE):
            for rows in merged.slice(start, ROWS_AT_ONCE).combine_chunks().to_batches():
                work.output.write(rows)
        if self._steps:
            work.notes = {"edits": {step.label: edits_of(merged, step) for step in self._steps}}

    def footer(self, work: Open, batch: Batch) -> dict[bytes, bytes]:
        """The census, the notes, and the parent's object."""
        return super().footer(work, batch) | {PARENT: self._parent.fingerprints.uri_of(batch.shard).encode()}

    def finish(self, work: Open, batch: Batch) -> Iterator[Shard | beam.pvalue.TaggedOutput]:
        """Commits; what the sources of a packed shard have is known from the parent."""
        census = batch.decided.census if batch.decided is not None else None
        yield from super().finish(work, dataclasses.replace(batch, census=census))


@dataclasses.dataclass
class WriteDecided(beam.PTransform):
    """From ``Batch`` of fingerprints of what was read again: as ``WriteFingerprints``.

    Attributes:
      usual: what writes the objects of a run that reads all texts.
      parent: the run that is decided again.
      editors: of the new recipe.
    """

    usual: WriteFingerprints
    parent: Parent
    editors: tuple[StepSpec, ...]

    def expand(self, batches: beam.PCollection[Batch]) -> Fingerprinted:
        """One object a shard."""
        write = beam.ParDo(_Write(self.usual, self.parent, self.editors))
        outputs = batches | write.with_outputs("lineage", main="shards")
        return Fingerprinted(outputs.shards, outputs.lineage)
