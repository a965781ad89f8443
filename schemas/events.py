"""Events: what is told to whoever listens, as CloudEvents 1.0 in JSON (https://cloudevents.io, docs/events.md).

``events.schema.json`` beside this file is the JSON Schema of every event.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import urllib.parse
from typing import Any

PREFIX = "beam_pipeline."
"""Before the name of each kind in ``type``."""
SCHEMA = "urn:beam-pipeline:events:1"
"""Name of the JSON Schema; its number goes up when an event changes so that a reader may break."""
CONTENT_TYPE = "application/cloudevents+json"

RUN_PLANNED, RUN_STARTED, RUN_DONE, RUN_FAILED = "run.planned", "run.started", "run.done", "run.failed"
SOURCE_UNREADABLE = "source.unreadable"
SHARD_FINGERPRINTED, SHARD_DONE = "shard.fingerprinted", "shard.done"
DECISION_DONE, EXPORT_DONE = "decision.done", "export.done"
KINDS = (
    RUN_PLANNED, RUN_STARTED, RUN_DONE, RUN_FAILED, SOURCE_UNREADABLE, SHARD_FINGERPRINTED, SHARD_DONE,
    DECISION_DONE, EXPORT_DONE,
)  # fmt: skip
OF_SHARDS = (SHARD_FINGERPRINTED, SHARD_DONE, SOURCE_UNREADABLE)
"""The many: those that an outbox without room leaves out."""


@dataclasses.dataclass(frozen=True, slots=True)
class Fact:
    """Something that is committed, to be told.

    Attributes:
      kind: one of ``KINDS``; also the routing key.
      subject: what it is about: a run's id, a shard's name, a URI.
      data: JSON of that kind.
    """

    kind: str
    subject: str
    data: dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """A fact with its place in a stream.

    Attributes:
      number: its place in the outbox.
      exchange: where it is published.
      stream: a run's id, or the URI of what was made: events of one stream are sent in order.
      sequence: from 1, without gaps in a stream.
      time: when it was written.
    """

    number: int
    exchange: str
    stream: str
    sequence: int
    fact: Fact
    time: datetime.datetime

    @property
    def id(self) -> str:
        """The same however often it is sent, and no other event's."""
        return f"{self.stream}#{self.sequence}"

    def encode(self) -> bytes:
        """The event as a CloudEvent in JSON."""
        return json.dumps(
            {
                "specversion": "1.0",
                "id": self.id,
                "source": f"urn:beam-pipeline:{urllib.parse.quote(self.stream, safe='/:')}",
                "type": PREFIX + self.fact.kind,
                "subject": self.fact.subject,
                "time": self.time.astimezone(datetime.UTC).isoformat(),
                "datacontenttype": "application/json",
                "dataschema": SCHEMA,
                "sequence": f"{self.sequence:012d}",  # the extension of that name: its order is that of strings
                "data": self.fact.data,
            },
            ensure_ascii=False,
        ).encode()
