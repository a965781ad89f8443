"""What dead runs have left under an output, or in a corpus: unfinished writes, and objects that nothing knows."""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq

from beam_pipeline.plan import read_plan
from schemas import run_layout
from schemas.corpus_layout import CorpusLayout
from schemas.fingerprint_index import FingerprintIndex
from schemas.run_layout import SHARD_OBJECT
from schemas.shards import Shard
from transforms.io import storage
from transforms.io.own_objects import DamagedObject, opened
from transforms.io.source_list import read_planned

_LIST = re.compile(r"(\d{6,})\.json")
_OF_A_RUN = re.compile(r"((?:index/segments|index/sketches|runs)/(\d{6,})[^/]*)/")
"""A folder of a corpus, and the number of the run that has written it, or after which it was written."""


@dataclasses.dataclass(frozen=True, slots=True)
class StaleObject:
    """Something that no run will use again.

    Attributes:
      uri: the object, or the object that was being written.
      reason: why it can go.
      unfinished: the write that was never committed; None for an object.
    """

    uri: str
    reason: str
    unfinished: storage.Unfinished | None = None


def stale_objects(output: str, older_than: datetime.timedelta) -> Iterator[StaleObject]:
    """The stale objects of runs that were killed below an output, one at a time.

    Unfinished writes count from an age on, as a run that is alive has some, too. An object under ``fingerprints/`` or
    ``tokens/`` counts if its name is no shard's of the plan, or its footer says other settings or another version of
    the source. So does one in ``text/`` or ``jsonl/``, of which only objects of shards are ours. That takes a request
    an object, sometimes two. Without a plan, objects aren't judged.

    Of a corpus, that is asked of each run in its index. An object under ``index/`` or ``runs/`` counts if the index
    doesn't name it. What a run has written that isn't in the index yet is left.

    Raises:
      StorageError: the store refuses.
      ValueError: a list of the index is damaged.
    """
    now = datetime.datetime.now(datetime.UTC)
    for unfinished in storage.list_unfinished(storage.join(output, "")):
        age = now - unfinished.started
        if age >= older_than:
            reason = f"begun {age.total_seconds() / 3600:.1f} hours ago and never committed"
            yield StaleObject(unfinished.uri, reason, unfinished)
    corpus = CorpusLayout(storage.absolute(output))
    if storage.stat(corpus.identity) is None:
        yield from _of_run(output)
        return
    lists = _lists(corpus.index)
    if lists:
        for run in lists[-1].runs:
            yield from _of_run(corpus.run(run.number))
        yield from _of_corpus(corpus, lists)


def _of_run(output: str) -> Iterator[StaleObject]:
    plan = read_plan(output)
    if plan is None:
        return
    layout = run_layout.RunLayout(storage.absolute(output))
    planned = read_planned(layout.sources)
    etags = {(item.source if isinstance(item, Shard) else item).number: item.etag for item in planned}
    yield from _unknown(layout.fingerprints, plan.deciding.fingerprints_hash, etags)
    yield from _unknown(layout.kept(plan.deciding), plan.deciding.settings_hash, etags)
    yield from _unknown(layout.lines, None, etags)


def _lists(uri: str) -> list[FingerprintIndex]:
    """What the index of a corpus is, and what it was a run before: lists are removed late."""
    try:
        names = [info.uri.rpartition("/")[2] for info in storage.list_objects(uri)]
    except storage.NotFound:
        return []
    numbered = sorted((name for name in names if _LIST.fullmatch(name)), key=lambda name: int(name.split(".")[0]))
    found = []
    for name in numbered[-2:]:
        place = storage.join(uri, name)
        try:
            found.append(FingerprintIndex.decode(storage.read_bytes(place), uri))
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
    return found


def _of_corpus(corpus: CorpusLayout, lists: list[FingerprintIndex]) -> Iterator[StaleObject]:
    """What neither list names: merged segments, and what runs have written that were released."""
    latest = lists[-1].runs[-1].number
    named = {f"index/segments/{segment.name}" for index in lists for segment in index.segments}
    for place in ("index/sketches", "runs"):
        named |= {f"{place}/{run.number:06}" for index in lists for run in index.runs}
    for uri in (corpus.index, corpus.runs):
        for info in storage.list_objects(uri):
            of_run = _OF_A_RUN.match(info.uri[len(storage.join(corpus.uri, "")) :])
            if of_run and int(of_run[2]) <= latest and of_run[1] not in named:
                yield StaleObject(info.uri, "the index doesn't name it")


def remove(stale: StaleObject) -> None:
    """Removes one for good; one that is gone is no error."""
    if stale.unfinished is None:
        storage.delete(stale.uri)
    else:
        storage.discard(stale.unfinished)


def _unknown(uri: str, settings_hash: str | None, etags: dict[int, str]) -> Iterator[StaleObject]:
    try:
        for info in storage.list_objects(uri):
            name = f"{uri.rpartition('/')[2]}/{info.uri[len(storage.join(uri, '')) :]}"
            reason = _reason(info.uri, settings_hash, etags) if run_layout.is_own(name) else ""
            if reason:
                yield StaleObject(info.uri, reason)
    except storage.NotFound:
        return  # nothing was written there


def _reason(uri: str, settings_hash: str | None, etags: dict[int, str]) -> str:
    """Why an object is stale; empty if it isn't. JSON Lines have no hash of settings: their names say all."""
    name = SHARD_OBJECT.fullmatch(uri.rpartition("/")[2])
    if name is None:
        return "its name is no shard's"
    if int(name[1]) not in etags:
        return f"the plan has no shard that begins with source {int(name[1])}"
    if settings_hash is None:
        return ""
    try:
        with opened(uri) as file:
            stored: dict[bytes, Any] = pq.read_metadata(file).metadata or {}
    except DamagedObject:
        return "is cut short or damaged"
    if stored.get(run_layout.SETTINGS, b"").decode() != settings_hash:
        return "other settings made it"
    if stored.get(run_layout.ETAG, b"").decode() != etags[int(name[1])]:
        return "it was made from another version of its source"
    return ""
