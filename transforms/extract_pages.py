"""ExtractPages: the text of every page in a part of a web archive, one pair of objects a part."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import itertools
import json
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa

from schemas import outcomes, pages
from schemas.shards import Shard, Source
from transforms.counters import count, metered
from transforms.extraction.bounded import BoundedExtractor, Failed
from transforms.io import storage
from transforms.io.read_options import MIB, ReadOptions
from transforms.io.readers import ranges
from transforms.io.readers.reader import Look
from transforms.io.readers.warc import REASONS, fields_of, is_warc
from transforms.io.readers.warc_records import Record, records
from transforms.io.source_list import read_sources
from transforms.io.stage_objects import ObjectWriter, StageObjects
from transforms.kernels.web.page import Page, page_of
from transforms.spread import Spread

ROW_GROUP_BYTES, ROW_GROUP_ROWS = 16 * MIB, 1 << 14


@dataclasses.dataclass(frozen=True)
class Extraction:
    """How pages are extracted.

    Attributes:
      engine: name of an engine (``transforms.extraction.engines``).
      page_seconds: CPU time of a page.
      page_bytes: memory of the process that extracts it.
      shard_bytes: bytes of a compressed archive in a shard, as stored.
    """

    engine: str = "cascade"
    page_seconds: float = 10.0
    page_bytes: int = 2 << 30
    shard_bytes: int = 256 * MIB


class ArchivePart(NamedTuple):
    """A shard of a web archive, and how many shards the archive has."""

    shard: Shard
    parts: int

    @property
    def name(self) -> str:
        """The shard's."""
        return self.shard.name

    @property
    def size(self) -> int:
        """Bytes as stored."""
        return self.shard.size


@dataclasses.dataclass(frozen=True)
class PageObjects:
    """The objects of an extraction: ``text`` is committed last, so where it is, ``rest`` is too."""

    text: StageObjects
    rest: StageObjects


def split_archive(source: Source, extraction: Extraction) -> Iterator[ArchivePart]:
    """A web archive -> its parts, cut where records begin; one part if it isn't compressed by record.

    What isn't a web archive is one part with its ``error``.
    """
    with storage.open_input(source.uri, source.etag, source.size) as file:
        look = Look.at(file, source.size, ReadOptions())
    if not is_warc(look):
        error = "isn't WARC: its first bytes aren't those of a record" if source.size else "is empty"
        yield ArchivePart(Shard(source, error=error), 1)
        return
    bounds = [0, source.size]
    if look.compression != "plain" and source.size > 2 * extraction.shard_bytes:
        bounds = ranges.boundaries(source, look.compression, extraction.shard_bytes)
    for part, (begin, end) in enumerate(itertools.pairwise(bounds)):
        yield ArchivePart(Shard(source, part, begin, end, size=end - begin, format=look.compression), len(bounds) - 1)


def extract_part(part: ArchivePart, objects: PageObjects, extraction: Extraction) -> Iterator[str]:
    """Writes the two objects of a part, unless they are there; its name, when they are."""
    if objects.text.find(part.shard) is None:
        _Part(part, objects, extraction).write()
        count(shards_done=1)
    else:
        count(shards_skipped=1)
    yield part.name


class _Part:
    """One part at work."""

    def __init__(self, part: ArchivePart, objects: PageObjects, extraction: Extraction) -> None:
        self._part, self._shard, self._objects, self._extraction = part, part.shard, objects, extraction
        self._counts: Counter[str] = Counter()
        self._extractors: Counter[str] = Counter()
        self._end = self._shard.end

    def write(self) -> None:
        """Both objects; of an archive that can't be read, empty ones that say why."""
        with contextlib.ExitStack() as unfinished:
            text = self._objects.text.open(self._shard, pages.TEXT, self._shard.error)
            unfinished.callback(text.abort)
            with contextlib.ExitStack() as unfinished_rest:
                rest = self._objects.rest.open(self._shard, pages.REST, self._shard.error)
                unfinished_rest.callback(rest.abort)
                if not self._shard.error:
                    self._extract(_Rows(text, pages.TEXT), _Rows(rest, pages.REST))
                unfinished_rest.pop_all()  # a commit that fails cleans up itself
            rest.commit()
            unfinished.pop_all()
        described = {
            "source": self._shard.source.number,
            "part": self._shard.part,
            "parts": self._part.parts,
            "begin": self._shard.begin,
            "end": self._end,
        }
        counts = {"records": dict(sorted(self._counts.items())), "extractors": dict(sorted(self._extractors.items()))}
        text.commit({pages.PART: json.dumps(described).encode(), pages.COUNTS: json.dumps(counts).encode()})

    def _extract(self, text: _Rows, rest: _Rows) -> None:
        shard = self._shard
        extractor = _extractor(self._extraction)
        with storage.open_input(shard.source.uri, shard.source.etag, shard.source.size) as file:
            last: Record | None = None
            for record in records(shard.source.uri, file, shard.format, shard.begin, shard.end):  # type: ignore[arg-type]
                last = record
                row, reason = self._row(record, extractor)
                self._counts[reason or pages.EXTRACTED] += 1
                count(documents=1)
                if reason:
                    rest.add(row | {"reason": reason}, 0)
                else:
                    text.add(row, len(row["text"]))
        if last is not None and last.length:
            self._end = last.offset + last.length
        text.flush()
        rest.flush()

    def _row(self, record: Record, extractor: BoundedExtractor) -> tuple[dict[str, Any], str]:
        """The columns of a record, and why there is no text; empty if there is."""
        row = fields_of(record)
        row |= {"id": row["record_id"], pages.WARC_FILE: self._shard.source.uri}
        if record.reason:
            return row, outcomes.OWN[REASONS[record.reason]][1]
        page = page_of(record.type, record.headers, record.block)
        row |= {
            "status": page.status or None,
            "mime": page.mime or None,
            "charset": page.charset or None,
            "truncated": page.truncated or None,
        }
        if page.outcome:
            return row, outcomes.OWN[page.outcome][1]
        return self._text(row, page, extractor)

    def _text(self, row: dict[str, Any], page: Page, extractor: BoundedExtractor) -> tuple[dict[str, Any], str]:
        if not page.html:
            self._extractors["none"] += 1
            return row | {"text": page.text, "title": None, "links": 0, "extractor": "none"}, ""
        found = extractor.extract(page.text)
        if isinstance(found, Failed):
            return row, found.reason
        if not found.text:
            return row, pages.EMPTY
        self._extractors[found.extractor] += 1
        return row | dataclasses.asdict(found) | {"title": found.title or None}, ""


class _Rows:
    """Rows of one object, written a row group at a time."""

    def __init__(self, output: ObjectWriter, schema: pa.Schema) -> None:
        self._output, self._schema = output, schema
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0

    def add(self, row: dict[str, Any], size: int) -> None:
        """Takes a row with so many characters of text."""
        self._rows.append(row)
        self._bytes += size
        if self._bytes >= ROW_GROUP_BYTES or len(self._rows) >= ROW_GROUP_ROWS:
            self.flush()

    def flush(self) -> None:
        """Writes what is held."""
        if self._rows:
            columns = [pa.array([row.get(field.name) for row in self._rows], field.type) for field in self._schema]
            self._output.write(pa.RecordBatch.from_arrays(columns, schema=self._schema))
            self._rows, self._bytes = [], 0


_mine = threading.local()


def _extractor(extraction: Extraction) -> BoundedExtractor:
    """This thread's extractor: its process takes a second to start, and serves all parts."""
    key = (extraction.engine, extraction.page_seconds, extraction.page_bytes)
    if getattr(_mine, "key", None) != key:
        if hasattr(_mine, "extractor"):
            _mine.extractor.close()
        _mine.extractor = BoundedExtractor(*key)
        atexit.register(_mine.extractor.close)
        _mine.key = key
    found: BoundedExtractor = _mine.extractor
    return found


@dataclasses.dataclass
class ExtractPages(beam.PTransform):
    """From the root: the names of all parts of the archives, when their objects are written.

    Attributes:
      sources_uri: the pinned archives.
      objects: where the pages go.
      extraction: how they are extracted.
    """

    sources_uri: str
    objects: PageObjects
    extraction: Extraction

    def expand(self, root: beam.Pipeline) -> beam.PCollection[str]:
        """Lists, splits, spreads, extracts: no page is shuffled."""
        return (
            root
            | "Plan" >> beam.Create([self.sources_uri], reshuffle=False)
            | "ListArchives" >> beam.FlatMap(metered, read_sources)
            | "SpreadArchives" >> beam.Reshuffle()
            | "SplitArchives" >> beam.FlatMap(metered, split_archive, (self.extraction,))
            | "SpreadParts" >> Spread()
            | "ExtractPages" >> beam.FlatMap(metered, extract_part, (self.objects, self.extraction))
        )
