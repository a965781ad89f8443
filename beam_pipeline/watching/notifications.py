"""S3 event notifications as AWS, MinIO, Ceph and versitygw send them: which objects are new.

A message says that something happened, not what is there now: it may come late, twice or out of order, and the object
may be gone again. So only names are taken from it, and the store is asked for the rest (``claiming``).

- Keys are URL-encoded by AWS and MinIO (``+`` is a blank), and as they are from Ceph and versitygw.
- ETags are in quotes from versitygw. Ceph gives sizes as strings.
- The event's name begins with ``s3:`` everywhere but at AWS and newer versions of Ceph.
"""

from __future__ import annotations

import dataclasses
import json
import re
import urllib.parse
from collections.abc import Iterator
from typing import Any

_AS_THEY_ARE = ("ceph:",)
_VERSITYGW = "-global"
_DEPTH = 4
_BUCKET = re.compile(r"[A-Za-z0-9][\w.:-]{1,254}", re.ASCII)
_KEY_BYTES = 1024


class NotUnderstood(ValueError):
    """A message isn't a notification; says why."""


@dataclasses.dataclass(frozen=True, slots=True)
class Announced:
    """An object that is said to be new.

    Attributes:
      names: its URI; where the sender may or may not have encoded the key, the likelier one first.
      etag: of it then, without quotes; empty if it isn't said.
      size: bytes then; 0 if it isn't said.
    """

    names: tuple[str, ...]
    etag: str
    size: int


def announced(body: bytes) -> list[Announced]:
    """The objects that a message says are new; none, if it says something else, such as that one was deleted.

    Raises:
      NotUnderstood: it isn't a notification of S3.
    """
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NotUnderstood(f"isn't JSON: {error}") from error
    return [found for record in _records(message) for found in _announced(record)]


def _records(message: Any, depth: int = 0) -> list[Any]:
    if isinstance(message, dict):
        if isinstance(records := message.get("Records"), list):
            return records
        if message.get("Event") == "s3:TestEvent":  # sent when notifications are configured
            return []
        if isinstance(inner := message.get("Message"), str) and depth < _DEPTH:  # in an envelope of SNS
            try:
                return _records(json.loads(inner), depth + 1)
            except (ValueError, RecursionError) as error:
                raise NotUnderstood(f"its Message isn't JSON: {error}") from error
    raise NotUnderstood("has no list of Records: it isn't a notification of S3")


def _announced(record: Any) -> Iterator[Announced]:
    try:
        name, s3 = str(record["eventName"]), record["s3"]
        if not name.removeprefix("s3:").startswith("ObjectCreated:"):
            return
        bucket, thing = s3["bucket"]["name"], s3["object"]
        key = thing["key"]
        key.encode()  # no lone surrogate
        size = int(thing.get("size") or 0)
        etag = str(thing.get("eTag") or "").strip('"')
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise NotUnderstood(f"a record lacks what it should have: {error!r}") from error
    if not isinstance(bucket, str) or not isinstance(key, str) or not _BUCKET.fullmatch(bucket):
        raise NotUnderstood("a record's bucket or key isn't a name")
    decoded = urllib.parse.unquote_plus(key)
    if not key or "\0" in decoded or len(decoded.encode()) > _KEY_BYTES:
        raise NotUnderstood("a record's key isn't one of an object of S3")
    plain = str(record.get("eventSource", "")).startswith(_AS_THEY_ARE) or str(s3.get("configurationId", "")).endswith(
        _VERSITYGW
    )
    keys = dict.fromkeys((key, decoded) if plain else (decoded, key))
    yield Announced(tuple(f"s3://{bucket}/{each}" for each in keys), etag, max(0, size))
