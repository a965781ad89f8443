"""The sources of a run: what is read and what isn't, and the list in which they are pinned."""

from __future__ import annotations

import fnmatch
import hashlib
import io
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from schemas import columns
from schemas.errors import WRONG_USAGE, ToldError
from schemas.run_layout import RunLayout, is_own
from schemas.shards import MAX_SOURCES, Source
from transforms.io import storage
from transforms.io.own_objects import DamagedObject
from transforms.io.source_list import SOURCES_AT_ONCE, packing, read_sources
from transforms.io.storage import globs

LOGGER = logging.getLogger(__name__)


BESIDE_DATA = (
    "readme", "readme.*", "license", "license.*", "dataset_info.json", "dataset_infos.json", "dataset_dict.json",
    "state.json", "*.crc", "*.md5", "*.sha256",
)  # fmt: skip
"""Names of files that stand beside data: a data set's card and description, Hugging Face's state, checksums."""

SHOWN = 10
"""How many objects are named that are no sources."""


class PlanError(ToldError):
    """The run can't be started like this; nothing was done."""

    exit_status = WRONG_USAGE


class Places(Protocol):
    """Settings that say what is read, and where all that is written goes."""

    @property
    def input(self) -> list[str]:
        """URIs."""

    @property
    def output(self) -> str:
        """Folder or prefix."""


def list_sources(settings: Places) -> list[Source]:
    """The sources, numbered in the order of their sorted URIs; nothing that runs have written is one.

    What is below the output isn't, by whichever symbolic link it is found; unless an input lies below the output: then
    it is, but for the objects of the run itself.
    """
    output = storage.real(settings.output)
    found: dict[str, storage.ObjectInfo] = {}
    passed_over: list[str] = []
    for uri in settings.input:
        base = globs.split_glob(uri)[0].rstrip("/") if globs.is_glob(uri) else uri
        inside = _below(output, storage.real(base)) if base else None
        for info in data_objects(uri, passed_over.append):
            relative = _below(output, storage.real(info.uri))
            if relative is None or (inside and not is_own(relative)):
                found[info.uri] = info
    folders = map(RunLayout, {uri.rpartition("/")[0] for uri in found})
    others = sorted(folder.output for folder in folders if {folder.plan, folder.sources} <= found.keys())
    if others:
        raise PlanError(f"input: {others[0]} is the output of a run; name the folders or files to read beside it")
    said = say_passed_over([uri for uri in passed_over if _below(output, storage.real(uri)) is None])
    objects = [found[uri] for uri in sorted(found)]
    if not objects:
        raise PlanError(f"input: there is nothing to read in {', '.join(settings.input)}{said and f'; {said}'}")
    if said:
        LOGGER.info("%s", said)
    if len(objects) > MAX_SOURCES:
        raise PlanError(f"input: {len(objects)} sources, but a run can have {MAX_SOURCES}")
    return [Source(number, info.uri, info.etag, info.size) for number, info in enumerate(objects)]


def sources_of(inputs: Iterable[str]) -> list[Source]:
    """The sources of commands that read some texts and aren't runs, numbered in the order of their sorted URIs.

    Says in the log which objects were passed over.

    Raises:
      NotFound: an input has nothing.
    """
    passed_over: list[str] = []
    found = {info.uri: info for uri in map(storage.absolute, inputs) for info in data_objects(uri, passed_over.append)}
    if said := say_passed_over(passed_over):
        LOGGER.info("%s", said)
    return [Source(number, uri, found[uri].etag, found[uri].size) for number, uri in enumerate(sorted(found))]


def data_objects(uri: str, passed_over: Callable[[str], None]) -> Iterator[storage.ObjectInfo]:
    """The objects of an input that may hold documents: a file that is named, or all but those in ``BESIDE_DATA``.

    Args:
      uri: file, folder, prefix or glob.
      passed_over: called with the URI of each other object.

    Raises:
      NotFound: there is nothing.
    """
    named = globs.is_glob(uri) and not globs.is_glob(uri.rpartition("/")[2])
    for info in storage.list_objects(uri, passed_over):
        if info.uri != uri and not named and _is_beside_data(info.uri):
            passed_over(info.uri)
        else:
            yield info


def _is_beside_data(uri: str) -> bool:
    """Whether an object describes data and holds none, by its name."""
    name = uri.rpartition("/")[2].lower()
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in BESIDE_DATA)


def say_passed_over(uris: Sequence[str]) -> str:
    """Says which objects below the inputs aren't sources; empty if there are none."""
    shown = sorted(set(uris))
    if not shown:
        return ""
    more = f" and {len(shown) - SHOWN:,} more" if len(shown) > SHOWN else ""
    listed = ", ".join(shown[:SHOWN])
    return f"passed over, by their names no documents: {listed}{more} (name a file itself to have it read)"


def _below(folder: str, uri: str) -> str | None:
    """The rest of a URI that lies below a folder; None if it doesn't."""
    inside = storage.join(folder, "")
    return uri[len(inside) :] if uri.startswith(inside) else None


def hash_of(sources: Iterable[Source]) -> str:
    """SHA-256 of all that names and pins the sources."""
    listed = hashlib.sha256()
    for source in sources:
        listed.update(f"{source.uri}\0{source.etag}\0{source.size}\n".encode())
    return listed.hexdigest()


def is_listed(uri: str, sources_sha256: str) -> bool:
    """Whether the list of the pinned sources is there, whole, and the plan's."""
    try:
        return hash_of(read_sources(uri)) == sources_sha256
    except storage.NotFound:
        return False
    except DamagedObject as error:
        LOGGER.warning("%s", error)
        return False


def differing_sources(uri: str, sources: Iterable[Source]) -> list[str]:
    """What distinguishes the sources of now from those that are listed, one line each."""
    try:
        before = {source.uri: source for source in read_sources(uri)}
    except (storage.NotFound, DamagedObject) as error:
        return [f"  sources: others than now; which ones isn't known ({error})"]
    now = {source.uri: source for source in sources}
    differences = []
    for source in sorted(before.keys() | now.keys()):
        if source not in now:
            differences.append(f"  source {source}: gone")
        elif source not in before:
            differences.append(f"  source {source}: new")
        elif (before[source].etag, before[source].size) != (now[source].etag, now[source].size):
            differences.append(f"  source {source}: changed since the run was planned")
    return differences


def write_sources(uri: str, sources: list[Source], shard_bytes: int) -> None:
    """Stores the list, and which small sources share a shard (``schemas.columns.SOURCES``)."""
    buffer = io.BytesIO()
    values = {name: [getattr(source, name) for source in sources] for name in ("number", "uri", "etag", "size")}
    values["packed"] = packing(values["size"], shard_bytes)
    table = pa.Table.from_pydict(values, schema=columns.SOURCES)
    pq.write_table(table, buffer, compression="zstd", row_group_size=SOURCES_AT_ONCE)
    storage.write(uri, buffer.getbuffer())
