"""What ``extract`` writes of web archives: pages with their text, and beside them every record without one.

Under its output stand ``plan.json``, ``sources.parquet`` as for a run, ``text/`` and ``rest/`` with one object a shard
each, and ``run.json``, the manifest, last. Every record of every archive is a row of exactly one of the two.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pyarrow as pa

from schemas.run_layout import RunLayout

WARC_FILE, WARC_OFFSET, WARC_LENGTH, WARC_WITHIN = "warc_file", "warc_offset", "warc_length", "warc_within"

_PLACE = [
    pa.field("url", pa.string()),  # WARC-Target-URI
    pa.field("date", pa.string()),  # WARC-Date, as it is written
    pa.field(WARC_FILE, pa.string()),  # URI of the archive
    pa.field(WARC_OFFSET, pa.int64()),  # where in it the record, or the member or frame that it is in, begins
    pa.field(WARC_LENGTH, pa.int64()),  # bytes from there to the next record's; null where that is in the same member
    pa.field(WARC_WITHIN, pa.int64()),  # where in what is decompressed from there the record begins; mostly 0
    pa.field("digest", pa.string()),  # WARC-Payload-Digest, or else that of the block
    pa.field("status", pa.uint16()),  # of HTTP; null where there is none
    pa.field("mime", pa.string()),  # media type as the header names it
    pa.field("charset", pa.string()),  # in which the body was, as found out
    pa.field("truncated", pa.string()),  # why the page isn't whole: WARC-Truncated, or `body`; null if it is
]

TEXT = pa.schema(
    [
        pa.field("id", pa.string()),  # WARC-Record-ID
        pa.field("text", pa.string()),
        *_PLACE,
        pa.field("title", pa.string()),
        pa.field("links", pa.uint32()),  # how many the page has
        pa.field("extractor", pa.string()),  # the engine that made the text; `none` for plain text
    ]
)
"""One row a page that has a text, in the order of the archive."""

REST = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("type", pa.string()),  # WARC-Type
        *_PLACE,
        pa.field("reason", pa.string()),  # why there is no text
    ]
)
"""One row a record without a text, in the order of the archive."""

COUNTS = b"beam_pipeline.counts"
"""Footer key of a text object: JSON of records by reason, ``extracted`` among them, and by extractor."""
PART = b"beam_pipeline.part"
"""Footer key of a text object: JSON of its part of the archive, how many parts that has, and where its records end."""
EXTRACTED, EMPTY = "extracted", "empty_text"
FAILURES = ("timeout", "memory", "nesting", "crash", "extractor")
"""Why an engine gave no answer about a page."""


class ExtractionLayout(RunLayout):
    """Where everything of an extraction is: plan, sources and manifest as of a run, and its two folders."""

    @property
    def text(self) -> str:
        """The folder of ``TEXT``."""
        return self._below("text")

    @property
    def rest(self) -> str:
        """The folder of ``REST``."""
        return self._below("rest")


@dataclasses.dataclass(frozen=True)
class ExtractionPlan:
    """The contents of an extraction's ``plan.json``.

    Attributes:
      run: its id (UUID).
      created: ISO 8601, UTC.
      code_version: of the package.
      input: URIs.
      extract: all that decides the results, but the archives.
      sources_sha256: of all that names and pins the archives.
    """

    run: str
    created: str
    code_version: str
    input: list[str]
    extract: dict[str, Any]
    sources_sha256: str

    @classmethod
    def decode(cls, data: bytes) -> ExtractionPlan:
        """The plan in the bytes of ``plan.json``.

        Raises:
          ValueError: it is cut short, or isn't the plan of an extraction.
        """
        try:
            stored = json.loads(data)
            return cls(**{field.name: stored[field.name] for field in dataclasses.fields(cls)})
        except (KeyError, TypeError) as error:
            raise ValueError(f"isn't the plan of an extraction: {error!r}") from error

    def encode(self) -> bytes:
        """The bytes of ``plan.json``."""
        return json.dumps(dataclasses.asdict(self), indent=2).encode()
