"""A consumer of events as a user has it: it reads a queue, checks each event by its schema and drops repeated ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema

from tests.rabbit import Rabbit

SCHEMA = json.loads((Path(__file__).parents[1] / "schemas" / "events.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())


def bind(rabbit: Rabbit, exchange: str, queue: str, pattern: str = "#") -> None:
    """Makes the exchange, and a queue for events that match."""
    with rabbit.connected() as connection:
        channel = connection.channel()
        channel.exchange_declare(exchange, "topic", durable=True)
        channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
        channel.queue_bind(queue, exchange, pattern)


def received(rabbit: Rabbit, queue: str) -> list[dict[str, Any]]:
    """All events that are in the queue, repeated ones too; they are taken out."""
    events = []
    with rabbit.connected() as connection:
        channel = connection.channel()
        while True:
            method, properties, body = channel.basic_get(queue)
            if method is None:
                return events
            event = json.loads(body)
            VALIDATOR.validate(event)
            assert properties.message_id == event["id"]
            assert properties.content_type == "application/cloudevents+json"
            assert event["type"] == f"beam_pipeline.{method.routing_key}"
            events.append(event)
            channel.basic_ack(method.delivery_tag)


def once(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events without repeated ones; a repeated one is the same, and those of a stream are in order."""
    first: dict[str, dict[str, Any]] = {}
    last: dict[str, str] = {}
    for event in events:
        if event["id"] in first:
            assert event == first[event["id"]]
            continue
        assert event["sequence"] > last.get(event["source"], ""), f"{event['id']} comes too late"
        first[event["id"]], last[event["source"]] = event, event["sequence"]
    return list(first.values())


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("beam_pipeline.") for event in events]
