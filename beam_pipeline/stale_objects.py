"""What dead runs have left under an output: unfinished writes, and objects that the plan doesn't know."""

from __future__ import annotations

import dataclasses
import datetime
import re
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq

from beam_pipeline.plan import read_plan
from beam_pipeline.settings import stable_hash
from schemas.shards import Shard
from transforms.io import storage
from transforms.io.own_objects import DamagedObject, opened
from transforms.io.source_list import read_planned

SHARD_NAME = re.compile(r"(\d{7,})-\d{5,}\.parquet")


@dataclasses.dataclass(frozen=True, slots=True)
class Leftover:
    """Something that no run will use again.

    Attributes:
      uri: the object, or the object that was being written.
      reason: why it's a leftover.
      unfinished: the write that was never committed; None for an object.
    """

    uri: str
    reason: str
    unfinished: storage.Unfinished | None = None


def leftovers(output: str, older_than: datetime.timedelta) -> Iterator[Leftover]:
    """The leftovers below an output, one at a time.

    Unfinished writes count from an age on, as a run that is alive has some, too. An object under ``fingerprints/`` or
    ``tokens/`` counts if its name is no shard's of the plan, or its footer says other settings or another version of
    the source. That takes a request an object, sometimes two. Without a plan, objects aren't judged.

    Raises:
      StorageError: the store refuses.
    """
    now = datetime.datetime.now(datetime.UTC)
    for unfinished in storage.list_unfinished(storage.join(output, "")):
        age = now - unfinished.started
        if age >= older_than:
            reason = f"begun {age.total_seconds() / 3600:.1f} hours ago and never committed"
            yield Leftover(unfinished.uri, reason, unfinished)
    plan = read_plan(output)
    if plan is None:
        return
    deciding = plan["deciding"]
    planned = read_planned(storage.join(output, "sources.parquet"))
    etags = {(item.source if isinstance(item, Shard) else item).number: item.etag for item in planned}
    yield from _unknown(storage.join(output, "fingerprints"), stable_hash(deciding["fingerprints"]), etags)
    yield from _unknown(storage.join(output, "tokens"), stable_hash(deciding), etags)


def remove(leftover: Leftover) -> None:
    """Removes a leftover for good; one that is gone is no error."""
    if leftover.unfinished is None:
        storage.delete(leftover.uri)
    else:
        storage.discard(leftover.unfinished)


def _unknown(uri: str, settings_hash: str, etags: dict[int, str]) -> Iterator[Leftover]:
    try:
        for info in storage.list_objects(uri):
            reason = _reason(info.uri, settings_hash, etags)
            if reason:
                yield Leftover(info.uri, reason)
    except storage.NotFound:
        return  # nothing was written there


def _reason(uri: str, settings_hash: str, etags: dict[int, str]) -> str:
    """Why an object is a leftover; empty if it is none."""
    name = SHARD_NAME.fullmatch(uri.rpartition("/")[2])
    if name is None:
        return "its name is no shard's"
    if int(name[1]) not in etags:
        return f"the plan has no shard that begins with source {int(name[1])}"
    try:
        with opened(uri) as file:
            stored: dict[bytes, Any] = pq.read_metadata(file).metadata or {}
    except DamagedObject:
        return "is cut short or damaged"
    if stored.get(b"beam_pipeline.settings", b"").decode() != settings_hash:
        return "other settings made it"
    if stored.get(b"beam_pipeline.etag", b"").decode() != etags[int(name[1])]:
        return "it was made from another version of its source"
    return ""
