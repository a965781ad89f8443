"""What the first rows of the sources look like, before any work starts.

The cost has a bound: of many sources ``MOST_SOURCES`` are looked at, ``AT_ONCE`` at a time; of each a Parquet footer,
or what ``LOOK_BYTES`` of a JSON Lines source hold. No page of Parquet is decoded: nothing here can end the process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import posixpath
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

from schemas.shards import Source
from transforms.io import storage
from transforms.io.readers.common import ReadOptions, UnreadableSource
from transforms.io.readers.formats import PARQUET_MAGIC, decompressed, refusal
from transforms.io.readers.json_line import fields_of
from transforms.io.readers.parquet_footer import names_of, read_footer
from transforms.io.readers.streams import BOM, compression_of, without_blank
from transforms.io.storage.requests import on_behalf_of

MOST_SOURCES = 1000
AT_ONCE = 16
LOOK_BYTES = 1 << 18
LOOK_ROWS, MOST_ROWS = 100, 1000  # more than the first are looked at only while the text column isn't found


@dataclasses.dataclass(frozen=True)
class FirstLook:
    """What was seen of one source.

    Attributes:
      reason: why it can't be read, as far as that shows already; a missing text column is one of a Parquet source.
      columns: names of its columns, or of the fields of its first lines, in the order in which they come.
      rows: first lines that were looked at; rows of a Parquet source.
      has_text: whether the text column is one of the columns; None if nothing was seen that could tell.
    """

    source: Source
    reason: str = ""
    columns: tuple[str, ...] = ()
    rows: int = 0
    has_text: bool | None = None


def first_looks(sources: Sequence[Source], options: ReadOptions, most: int = MOST_SOURCES) -> Iterator[FirstLook]:
    """Looks at every source, or at ``most`` of them: one of every folder and file suffix first, then spread evenly.

    Raises:
      StorageError: a fault of the storage, or a source that isn't the pinned one.
    """
    requests = storage.current()

    def look(source: Source) -> FirstLook:
        with on_behalf_of(requests):
            return first_look(source, options)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(look, _chosen(sources, most))


def first_look(source: Source, options: ReadOptions) -> FirstLook:
    """Looks at one source.

    Raises:
      StorageError: a fault of the storage, or a source that isn't the pinned one.
    """
    with storage.open_input(source.uri, source.etag, source.size) as file:
        head = file.read(LOOK_BYTES)
        file.seek(max(0, source.size - len(PARQUET_MAGIC)))
        if head.startswith(PARQUET_MAGIC) and file.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC:
            return _parquet(source, file, options)
    if head.startswith(PARQUET_MAGIC):
        return FirstLook(source, "starts as a Parquet file but doesn't end as one: cut short, or not Parquet")
    if reason := refusal(head, options.text_column):
        return FirstLook(source, reason)
    text = decompressed(head, compression_of(head), LOOK_BYTES).removeprefix(BOM)
    whole = len(head) < LOOK_BYTES and len(text) < LOOK_BYTES
    lines = without_blank(text.split(b"\n") if whole else text.split(b"\n")[:-1])
    columns: dict[str, None] = {}
    rows = 0
    for line in lines[:MOST_ROWS]:
        if rows >= LOOK_ROWS and options.text_column in columns:
            break
        columns |= dict.fromkeys(fields_of(line))
        rows += 1
    return FirstLook(source, "", tuple(columns), rows, options.text_column in columns if columns else None)


def _parquet(source: Source, file: BinaryIO, options: ReadOptions) -> FirstLook:
    columns: tuple[str, ...] = ()
    with contextlib.suppress(UnreadableSource):
        columns = tuple(names_of(source.uri, file, source.size))
    has_text = options.text_column in columns if columns else None
    try:
        footer = read_footer(source.uri, file, source.size, options)
    except UnreadableSource as unreadable:
        return FirstLook(source, unreadable.reason, columns, has_text=has_text)
    return FirstLook(source, "", columns, int(footer.rows.sum()), has_text)


def _chosen(sources: Sequence[Source], most: int) -> list[Source]:
    if len(sources) <= most:
        return list(sources)
    kinds: dict[tuple[str, str], Source] = {}
    for source in sources:
        folder, name = posixpath.split(source.uri)
        kinds.setdefault((folder, name.partition(".")[2]), source)
    spread = [sources[i * len(sources) // most] for i in range(most)]
    return list(dict.fromkeys([*kinds.values()][: most // 2] + spread))[:most]
