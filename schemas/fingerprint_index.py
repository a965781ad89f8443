"""The index of a corpus's fingerprints: what a new run is held against instead of all that older runs have stored.

It has, of every document that a run has kept: a *text* (hash of the normalized text, and the document), a *band* for
each band of its signature (bucket, and the address of its sketch), and a *sketch* (what verifies a pair).

- ``index/000012.json`` says what the index is after run 12 (``FingerprintIndex``). It is written last, never changed.
- ``index/segments/NAME/``: texts and bands of one run, or of several merged, sorted by hash and cut by the first bits
  of the hash into parts, ``00003.texts`` and ``00003.bands`` (``transforms.io.index_parts``).
- ``index/sketches/000012/0000345``: the sketches of a shard of run 12, by its place among the run's shards.

A document is known by its id in the corpus, ``(source number in the corpus << 32) | row``; an address is ``(sketch
object's number in the corpus << 32) | offset`` in words of 4 bytes. Both are ordered as runs, sources and rows are.
"""

from __future__ import annotations

import bisect
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

PART_BYTES = 64 << 20
"""About what the bands of a part take: a part is sorted in memory."""


@dataclasses.dataclass(frozen=True)
class Segment:
    """Texts and bands of some runs.

    Attributes:
      name: of its folder.
      documents: how many it has.
      bits: how many first bits of a hash name its part.
    """

    name: str
    documents: int
    bits: int

    @property
    def level(self) -> int:
        """Segments of one level are merged when there are several: documents as a power of 8."""
        return max(0, (self.documents.bit_length() - 1) // 3)

    def part(self, number: int, kind: str) -> str:
        """The name of a part; ``kind`` is ``texts`` or ``bands``."""
        return f"segments/{self.name}/{number:05}.{kind}"


@dataclasses.dataclass(frozen=True)
class IndexedRun:
    """What the index knows of a run.

    Attributes:
      number: in the corpus.
      run: its id.
      first_source, sources: its sources' numbers in the corpus.
      first_object, objects: its sketch objects' numbers in the corpus.
      documents: how many it has kept.
    """

    number: int
    run: str
    first_source: int
    sources: int
    first_object: int
    objects: int
    documents: int


@dataclasses.dataclass(frozen=True)
class FingerprintIndex:
    """The index after a run.

    Attributes:
      uri: folder or prefix of the index.
      comparable: what the fingerprints of all runs have in common, and what decides which pairs are duplicates.
      runs: in the order of their numbers.
      segments: where their texts and bands are.
    """

    uri: str
    comparable: Mapping[str, Any]
    runs: tuple[IndexedRun, ...] = ()
    segments: tuple[Segment, ...] = ()

    @property
    def documents(self) -> int:
        """How many it has."""
        return sum(segment.documents for segment in self.segments)

    @property
    def objects(self) -> int:
        """How many sketch objects."""
        return sum(run.objects for run in self.runs)

    @property
    def words(self) -> int:
        """Most words that a sketch has: ``transforms.kernels.deduplication.fingerprinting`` lists so many shingles."""
        return int(self.comparable["signature_size"]) * 5 // 4

    def run_of_source(self, number: int) -> IndexedRun:
        """The run that has a source, by its number in the corpus."""
        return self.runs[bisect.bisect_right([run.first_source for run in self.runs], number) - 1]

    def sketches_uri(self, number: int) -> str:
        """The sketch object of a number in the corpus."""
        run = self.runs[bisect.bisect_right([run.first_object for run in self.runs], number) - 1]
        return sketches_uri(self.uri, run.number, number - run.first_object)

    def encode(self) -> bytes:
        """The bytes of its object."""
        values = dataclasses.asdict(self)
        del values["uri"]  # a corpus may be moved
        return json.dumps(values, indent=1).encode()

    @classmethod
    def decode(cls, data: bytes, uri: str) -> FingerprintIndex:
        """The index in an object's bytes, in the folder in which it was found.

        Raises:
          ValueError: it is cut short, or isn't one.
        """
        try:
            stored = json.loads(data)
            runs = tuple(IndexedRun(**run) for run in stored["runs"])
            return cls(uri, stored["comparable"], runs, tuple(Segment(**each) for each in stored["segments"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"isn't an index of fingerprints: {error!r}") from error


def sketches_uri(index_uri: str, run: int, number: int) -> str:
    """The sketch object of a run's shard, by its place among the run's shards."""
    return f"{index_uri}/sketches/{run:06}/{number:07}"


def bits_for(documents: int, bands: int) -> int:
    """How many bits name the parts of a segment of so many documents."""
    size = max(1, documents) * bands * 16
    return min(16, max(0, (-(-size // PART_BYTES) - 1).bit_length()))
