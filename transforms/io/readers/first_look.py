"""What the first rows of the sources look like, before any work starts.

The cost has a bound: of many sources ``MOST_SOURCES`` are looked at, ``AT_ONCE`` at a time; of each a Parquet footer,
or what the first ``LOOK_BYTES`` of another source hold. No page of Parquet is decoded: nothing here can end the
process.
"""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

from schemas.shards import Source
from transforms.io import storage
from transforms.io.kept_columns import folder_names
from transforms.io.read_options import ReadOptions
from transforms.io.readers.reader import FirstLook, Look
from transforms.io.readers.registry import reader_of
from transforms.io.storage.requests import on_behalf_of

MOST_SOURCES = 1000
AT_ONCE = 16
LOOK_BYTES = 1 << 18


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
    options = options.of_source(source.uri)
    with storage.open_input(source.uri, source.etag, source.size) as file:
        look = Look.at(file, source.size, options, LOOK_BYTES)
        seen = reader_of(look).first_look(source, file, look)
    folders = folder_names(source.uri)
    of_folders = {column.path: [pa.string()] for column in options.columns if column.path in folders}
    return dataclasses.replace(seen, paths=(*seen.paths, *folders), types=of_folders | {**seen.types})


def _chosen(sources: Sequence[Source], most: int) -> list[Source]:
    if len(sources) <= most:
        return list(sources)
    kinds: dict[tuple[str, str], Source] = {}
    for source in sources:
        folder, name = posixpath.split(source.uri)
        kinds.setdefault((folder, name.partition(".")[2]), source)
    spread = [sources[i * len(sources) // most] for i in range(most)]
    return list(dict.fromkeys([*kinds.values()][: most // 2] + spread))[:most]
