"""The outbox: what is committed is told, and nothing else; in order, by one sender at a time, within its bound."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import pytest

from beam_pipeline.lineage.outbox import outbox_of
from schemas.events import Event, Fact
from schemas.segments import Segment, SourceState
from tests.lineage_examples import OUTCOMES, RUN, segment, sources
from transforms.io import outbox
from transforms.io.lineage import Lineage

pytest_plugins = ["tests.postgres"]

EXCHANGE = "pipeline"


def start(lineage: Lineage, exchange: str | None = EXCHANGE) -> None:
    lineage.start_run(RUN, {"output": "/out"}, "hash", "1.0", OUTCOMES, exchange, {"sources": 3})
    lineage.record_sources(RUN, sources(3))


def waiting(lineage: Lineage) -> list[tuple[int, str, str]]:
    """Sequence, type and subject of what waits, in the order in which it will be sent."""
    return lineage.read(
        lambda connection: connection.execute("SELECT sequence, type, subject FROM outbox ORDER BY number").fetchall()
    )


def sent(lineage: Lineage, most: int = 1000, publish: Any = lambda event: True) -> list[Event]:
    events: list[Event] = []

    def note(event: Event) -> bool:
        if not publish(event):
            return False
        events.append(event)
        return True

    lineage.read(lambda connection: outbox.send(connection, note, most))
    return events


def test_every_fact_of_a_run_is_told_once(lineage: Lineage) -> None:
    start(lineage)
    states = [SourceState(0, "ok", 50, 1), SourceState(1, "ok", 50, 1), SourceState(2, "unreadable: cut short")]
    for _ in range(2):  # the second time nothing is new
        lineage.set_source_states(RUN, states)
        lineage.upsert_segments([segment(1, state="fingerprinted")])
    for _ in range(2):
        lineage.upsert_segments([segment(1), Segment(RUN, "0000001-00000", 1, 0, 0, "unreadable", error="damaged")])
    lineage.upsert_segments([segment(2)])
    for _ in range(2):
        lineage.finish_run(RUN, "failed", {"error": "no room"})
    start(lineage)
    lineage.finish_run(RUN, "done", {"counts": {}, "tokens": 7})
    uri, broken = (f"s3://bucket/in/part-00{number}.parquet" for number in (2, 1))
    shard = segment(1).shard
    assert waiting(lineage) == list(
        zip(
            range(1, 11),
            ["run.planned", "run.started", "source.unreadable", "shard.fingerprinted", "shard.done",
             "source.unreadable", "shard.done", "run.failed", "run.started", "run.done"],
            [RUN, RUN, uri, shard, shard, broken, shard, RUN, RUN, RUN],
            strict=True,
        )
    )  # fmt: skip
    facts = [event.fact.data for event in sent(lineage)]
    assert (facts[0]["sources"], facts[1]["start"], facts[8]["start"]) == (3, 1, 2)
    assert (facts[2]["reason"], facts[2]["shard"], facts[5]["shard"]) == ("cut short", None, "0000001-00000")
    assert (facts[4]["attempt"], facts[6]["attempt"], facts[7]["error"], facts[9]["tokens"]) == (1, 2, "no room", 7)
    assert waiting(lineage) == []


def test_what_is_not_committed_is_not_told(lineage: Lineage) -> None:
    start(lineage)
    before = waiting(lineage)
    with pytest.raises(ValueError, match="weren't recorded"):
        lineage.set_source_states(RUN, [SourceState(2, "unreadable: cut short"), SourceState(9, "ok", 1, 1)])
    assert waiting(lineage) == before
    lineage.upsert_segments([segment(1)])
    assert waiting(lineage)[-1][:2] == (3, "shard.done")  # the number wasn't used


def test_without_an_exchange_nothing_is_told(lineage: Lineage) -> None:
    start(lineage, None)
    lineage.upsert_segments([segment(1)])
    lineage.finish_run(RUN, "done", {})
    lineage.record_product("export", "/export", [RUN], {}, None)
    assert waiting(lineage) == []


def test_a_product_is_told_when_it_is_another(lineage: Lineage) -> None:
    for summary in ({"format": "mds"}, {"format": "mds"}, {"format": "flat"}):
        lineage.record_product("export", "/export", [RUN], summary, EXCHANGE)
    assert waiting(lineage) == [(1, "export.done", "/export"), (2, "export.done", "/export")]


def test_many_writers_of_one_run_are_told_in_the_order_of_their_numbers(lineage: Lineage, database: str) -> None:
    start(lineage)

    def write(worker: int) -> None:
        with Lineage(database) as own:
            for shard in range(5):
                own.upsert_segments([segment(1, 0, first_row=50 * (5 * worker + shard))])

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [sequence for sequence, *_ in waiting(lineage)] == list(range(1, 33))


def test_what_could_not_be_published_stays_in_order(lineage: Lineage) -> None:
    start(lineage)
    lineage.upsert_segments([segment(1), segment(1, 1)])
    numbers = [event.sequence for event in sent(lineage, publish=lambda event: event.sequence < 3)]
    assert numbers == [1, 2]
    with pytest.raises(RuntimeError, match="died"):
        sent(lineage, publish=lambda event: (_ for _ in ()).throw(RuntimeError("died")))
    assert [event.sequence for event in sent(lineage, most=1)] == [3]
    assert [event.sequence for event in sent(lineage)] == [4]


def test_one_sender_at_a_time(lineage: Lineage, database: str) -> None:
    start(lineage)
    with Lineage(database) as other:
        seen = sent(lineage, publish=lambda event: not sent(other))
    assert [event.sequence for event in seen] == [1, 2]


def test_a_full_outbox_leaves_shards_out_and_says_so(lineage: Lineage) -> None:
    start(lineage)
    fact = Fact("shard.done", "a", {})

    def fill(connection: Any) -> None:
        outbox.tell(connection, EXCHANGE, RUN, [fact, fact, fact], room=4)
        outbox.tell(connection, EXCHANGE, RUN, [fact, dataclasses.replace(fact, kind="run.done")], room=3)

    lineage.read(fill)
    assert [row[:2] for row in waiting(lineage)] == [(1, "run.planned"), (2, "run.started"), (7, "run.done")]
    looked = lineage.read(lambda connection: outbox_of(connection, room=3))
    assert (looked.waiting, looked.lost) == (3, 4)
    assert "is full" in str(looked.alarm)
    assert "filling" in str(lineage.read(lambda connection: outbox_of(connection, room=4)).alarm)
    lineage.read(lambda connection: connection.execute("UPDATE outbox SET time = time - interval '1 hour'"))
    assert "have waited for 1:00:0" in str(lineage.read(outbox_of).alarm)
    sent(lineage)
    assert "4 events of shards and sources were left out" in str(lineage.read(outbox_of).alarm)
