"""Two forms of one step held against each other on real text: do they answer alike, and how much faster is one.

A step is written in Python first and ported to a kernel later. The port is right if nobody can tell the two apart, so
both are called with the same documents: normalized, with their language, and with what the steps before have added.
The port is called twice: with the batch, and with slices of it cut elsewhere, which begin in the middle of Arrow's
buffers. Both must give the answers of the slow form.

Memory: one batch of documents (16 MiB of text), the answers for it, and the differences that are shown.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import mmh3
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_pipeline.port_answers import TEXT_SHOWN, Form, differ, forms_of, in_words, joined
from schemas.shards import Shard, Source
from transforms.apply_recipe import recipe_boxes
from transforms.batches import Batch
from transforms.identify_language import IdentifyLanguage
from transforms.io.readers import ReadOptions, UnreadableSource, read, split
from transforms.io.readers.batching import string_lengths
from transforms.normalize import Normalize
from transforms.recipe.spec import PlannedRecipe, StepSpec

SHOWN = 10
"""Differences that are described; all are counted."""
WARM_UP = 100
"""Documents with which both forms are called first, so that loading and compiling isn't taken for work."""
CUT = 0.37
"""Where a batch is cut in two for the second call of the port: anywhere but the middle."""


@dataclasses.dataclass(frozen=True)
class Difference:
    """A document on which the two forms differ.

    Attributes:
      source, row, id: where the document is; its own id, if it has one.
      column: what differs: ``reason``, ``text``, or the name of an attribute.
      slow, fast: the two answers, in words; of texts, the lines that differ.
      text: how the document begins.
    """

    source: str
    row: int
    id: str | None
    column: str
    slow: str
    fast: str
    text: str


@dataclasses.dataclass
class PortCheck:
    """What the comparison has found.

    Attributes:
      kind: ``annotator``, ``filter`` or ``editor``.
      documents, text_bytes: that both were shown.
      different: documents on which they differ.
      differences: the first of them, in the order in which documents were read.
      slow_seconds, fast_seconds: CPU time of the process in each form, without the first call.
    """

    kind: str
    documents: int = 0
    text_bytes: int = 0
    different: int = 0
    differences: list[Difference] = dataclasses.field(default_factory=list)
    slow_seconds: float = 0.0
    fast_seconds: float = 0.0

    @property
    def times_faster(self) -> float:
        """Of the fast form; above 1 if it is faster."""
        return self.slow_seconds / max(self.fast_seconds, 1e-9)

    def as_json(self) -> dict[str, Any]:
        """With the speeds in MB/s of text."""
        speeds = {
            "slow_mb_per_second": self.text_bytes / 1e6 / max(self.slow_seconds, 1e-9),
            "fast_mb_per_second": self.text_bytes / 1e6 / max(self.fast_seconds, 1e-9),
            "times_faster": self.times_faster,
        }
        return dataclasses.asdict(self) | {name: round(speed, 3) for name, speed in speeds.items()}


def check_port(
    slow: StepSpec,
    fast: StepSpec,
    sources: Sequence[Source],
    *,
    before: Sequence[StepSpec] = (),
    options: ReadOptions = ReadOptions(),  # noqa: B008
    documents: int | None = None,
    tolerance: float = 0.0,
) -> PortCheck:
    """Compares two forms of a step on the texts of some sources.

    Args:
      slow, fast: the steps.
      sources: what is read, in an order that depends on a hash of their row groups, so that a part says much.
      before: steps whose attributes the two read.
      options: how sources are read.
      documents: that are read at the least, if there are so many; None: all.
      tolerance: how far numbers may be apart, in absolute terms and as a share of the slow form's number.

    Raises:
      NotComparable: the steps are of two kinds, or declare other reasons or attributes.
      ValueError: a step can't be loaded.
      StorageError: a source can't be read. One whose data is damaged is left out.
    """
    steps = slow.resolved().load(), fast.resolved().load()
    forms = forms_of(*steps)
    found = PortCheck(steps[0].kind)
    recipe = PlannedRecipe.of(before, [column.field for column in options.columns])
    boxes = [Normalize(), IdentifyLanguage(), *recipe_boxes(recipe.steps, recipe.outcomes)]
    for box in boxes:
        box.setup()
    for batch in _batches(sources, options):
        for box in boxes:
            batch = box(batch)
        active = np.flatnonzero(pc.is_null(batch.data["outcome"]).to_numpy(zero_copy_only=False))
        if not len(active):
            continue
        batch = batch.with_data(batch.data.take(pa.array(active)))
        if not found.documents:
            for form in forms:
                form.warm_up(batch.data[:WARM_UP])
        _compare(batch, *forms, tolerance, found)
        if documents is not None and found.documents >= documents:
            break
    return found


def _batches(sources: Sequence[Source], options: ReadOptions) -> Iterator[Batch]:
    """Batches of row groups in the order of their hashes: the same order every time, and spread over the sources."""
    places = [place for source in sources for place in _places(source, dataclasses.replace(options, shard_bytes=1))]
    places.sort(key=lambda place: mmh3.hash64(f"{place.source.uri} {place.begin}")[0])
    for place in places:
        if place.error:
            continue
        try:
            for index, data in enumerate(read(place, options)):
                yield Batch(place, index, False, data)
        except UnreadableSource:
            continue  # what came before was compared


def _places(source: Source, options: ReadOptions) -> list[Shard]:
    """The row groups of a source; the whole source where nothing says which rows its parts have."""
    places = split(source, options)
    return places if all(place.counted for place in places) else [Shard(source, format=places[0].format)]


def _compare(batch: Batch, slow: Form, fast: Form, tolerance: float, found: PortCheck) -> None:
    """Calls both forms with the documents of a batch."""
    data = batch.data
    before = slow.seconds, fast.seconds
    right, whole = slow.answers(data), fast.answers(data)
    found.slow_seconds += slow.seconds - before[0]
    found.fast_seconds += fast.seconds - before[1]
    found.documents += len(data)
    found.text_bytes += int(string_lengths(data["text"]).sum())
    cut = int(len(data) * CUT)
    sliced = joined(fast.answers(part) for part in (data[:cut], data[cut:]) if len(part))
    ways = ((whole, ""), (sliced, ", when the batch is cut elsewhere"))
    found_differing = [
        (name, answers[name], how, differ(name, right[name], answers[name], tolerance))
        for answers, how in ways
        for name in right
    ]
    anywhere = np.logical_or.reduce([differs for *_, differs in found_differing])
    found.different += int(np.count_nonzero(anywhere))
    for place in np.flatnonzero(anywhere)[: SHOWN - len(found.differences)].tolist():
        name, answers, how, _ = next(each for each in found_differing if each[3][place])
        sources, which, rows = batch.sources(data["row"][place : place + 1].to_numpy())
        found.differences.append(
            Difference(
                sources[which[0]].uri,
                int(rows[0]),
                data["id"][place].as_py(),
                name + how,
                *in_words(name, right[name][place].as_py(), answers[place].as_py()),
                data["text"][place].as_py()[:TEXT_SHOWN],
            )
        )
