"""Events of real commands through a real RabbitMQ: as committed, in order, with a broker that goes and comes back."""

from __future__ import annotations

import contextlib
import datetime
import json
import re
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import psycopg
import pytest

from beam_pipeline import broker, embedded_postgres
from beam_pipeline.broker import BrokerSettingsError, BrokerUnavailable
from beam_pipeline.cli import main
from beam_pipeline.event_publisher import Publisher
from beam_pipeline.watching.broker_queue import Message, Queue
from schemas.events import KINDS, Event, Fact
from tests import rabbit, runs
from tests.event_consumers import VALIDATOR, bind, kinds, once, received
from tests.lineage_examples import OUTCOMES, RUN, segment
from tests.rabbit import Rabbit
from transforms.io.lineage import Lineage

EXCHANGE = "pipeline"
DOCS = (Path(__file__).parents[1] / "docs" / "events.md").read_text()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority (``ca.pem``) and a certificate of it for localhost (``cert.pem``, ``key.pem``)."""
    folder = tmp_path_factory.mktemp("certificates")
    for name, subject, more in (
        ("ca", "/CN=tests", []),
        ("", "/CN=localhost", ["-addext", "subjectAltName=DNS:localhost", "-CA", "ca.pem", "-CAkey", "cakey.pem"]),
    ):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", subject, *more,
             "-keyout", f"{name}key.pem", "-out", f"{name or 'cert'}.pem"],
            check=True, capture_output=True, cwd=folder,
        )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def server(certificates: Path) -> Iterator[Rabbit]:
    with rabbit.broker(tls=certificates) as running:
        bind(running, EXCHANGE, "all")
        yield running


@pytest.fixture
def amqp(server: Rabbit, monkeypatch: pytest.MonkeyPatch) -> Rabbit:
    """The broker, in the environment, with nothing in the queue."""
    monkeypatch.setenv("AMQP_URL", server.url)
    received(server, "all")
    return server


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """An empty database of the embedded server, without events of other tests."""
    dsn = embedded_postgres.start()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE DATABASE events ENCODING 'UTF8' TEMPLATE template0")
    yield psycopg.conninfo.make_conninfo(dsn, dbname="events")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP DATABASE events WITH (FORCE)")


def test_a_run_goes_on_without_the_broker_and_is_told_when_it_is_back(
    amqp: Rabbit, database: str, corpus: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 cut short PAR1")
    output = tmp_path / "out"
    amqp.stop()
    try:
        done = runs.run(
            [corpus, broken], output, "--shard_bytes", "300KiB", "--events_exchange", EXCHANGE,
            "--lineage_dsn", database, "--direct_num_workers", 1, status=3,
        )  # fmt: skip
        assert "Events wait in the outbox" in done.stderr
        status = runs.ask("status", "--output", output, "--lineage_dsn", database)
        expected = 4 + 2 * status["shards"]["done"]  # planned, started, a source, each shard twice, done
        assert (status["events"]["waiting"], status["events"]["alarm"]) == (expected, None)
    finally:
        amqp.start()
    assert runs.ask("events", "--send", "--output", output, "--lineage_dsn", database)["sent"] == expected
    events = once(received(amqp, "all"))
    assert [int(event["sequence"]) for event in events] == list(range(1, expected + 1))
    found = kinds(events)
    assert (found[:2], found[-1]) == (["run.planned", "run.started"], "run.done")
    shards = status["shards"]["done"]
    assert Counter(found[2:-1]) == {"source.unreadable": 1, "shard.fingerprinted": shards, "shard.done": shards}
    manifest = runs.manifest(output)
    data = {kind: event["data"] for kind, event in zip(found, events, strict=True)}
    assert data["run.planned"]["sources"] == 4
    assert data["run.done"]["counts"] == manifest["counts"]
    assert data["run.done"]["tokens"] == manifest["tokens"]
    assert data["source.unreadable"]["uri"] == str(broken)
    written = {event["data"]["token_object"] for event in events if event["type"].endswith("shard.done")}
    assert written == {str(file) for file in (output / "tokens").glob("*.parquet")}
    with Lineage(database) as lineage:
        assert not lineage.read(lambda connection: connection.execute("SELECT FROM outbox").fetchall())


def test_exports_and_decisions_are_told(
    amqp: Rabbit, database: str, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ["--events_exchange", EXCHANGE, "--lineage_dsn", database]
    run = runs.manifest(finished)["run"]
    export = ["export", "--run", str(finished), "--output", str(tmp_path / "train"), "--format", "megatron", *told]
    dedup = ["dedup", "--run", str(finished), "--output", str(tmp_path / "again"), "--direct_num_workers", "1", *told]
    assert main(export) == main(export) == 0  # the second time nothing is new
    assert main(dedup) == 0
    exported, decided = once(received(amqp, "all"))
    assert kinds([exported, decided]) == ["export.done", "decision.done"]
    assert (exported["data"]["runs"], exported["data"]["output"]) == ([run], str(tmp_path / "train"))
    manifest = json.loads((tmp_path / "train" / "export.json").read_text())
    assert exported["data"]["splits"]["train"]["tokens"] == manifest["splits"]["train"]["tokens"]
    assert decided["data"]["counts"] == json.loads((tmp_path / "again" / "dedup.json").read_text())["counts"]


def _planned(dsn: str, run: str, shards: int) -> Lineage:
    lineage = Lineage(dsn)
    lineage.migrate()
    lineage.start_run(run, {"output": "/out", "parent": RUN}, "hash", "1.0", OUTCOMES, EXCHANGE,
                      {"sources": 1, "source_bytes": 1, "parent": RUN})  # fmt: skip
    for shard in range(shards):
        lineage.upsert_segments([segment(1, 0, first_row=50 * shard, run=run)])
    return lineage


def test_a_broker_that_dies_in_the_middle_gets_every_event(amqp: Rabbit, database: str) -> None:
    run = "5f1c9a52-3f0e-4a0e-9d7e-1d2f3a4b5c6d"
    lineage = _planned(database, run, 60)
    counts = {"documents": 1, "kept": 1, "dropped": {}, "invalid": {}}
    lineage.finish_run(run, "done", {"counts": counts, "tokens": 1})
    with contextlib.closing(lineage), contextlib.closing(Publisher(broker.parameters())) as publisher:
        publish, before = publisher._publish, []

        def die_once(event: Any) -> None:
            before.append(event.sequence)
            if len(before) == 20:
                amqp.kill()
            publish(event)

        publisher._publish = die_once  # type: ignore[method-assign]
        with pytest.raises(BrokerUnavailable, match=r"AMQP_URL: RabbitMQ on 127\.0\.0\.1"):
            publisher.send_all(lineage, 120)
        amqp.start()
        publisher._publish = publish  # type: ignore[method-assign]
        assert publisher.send_all(lineage, 120) == 64 - 19
        assert publisher.send_all(lineage, 120) == 0
    events = once(received(amqp, "all"))
    assert [int(event["sequence"]) for event in events] == list(range(1, 65))
    assert kinds(events)[-2:] == ["decision.done", "run.done"]


def test_an_event_that_is_sent_twice_has_the_same_id(amqp: Rabbit, database: str) -> None:
    lineage = _planned(database, "6a1c9a52-3f0e-4a0e-9d7e-1d2f3a4b5c6d", 1)
    with contextlib.closing(lineage), contextlib.closing(Publisher(broker.parameters())) as publisher:

        def die(connection: Any) -> None:
            from transforms.io import outbox

            outbox.send(connection, lambda event: publisher._publish(event) is None, 10)
            raise RuntimeError("killed before the commit")

        with pytest.raises(RuntimeError, match="killed"):
            lineage.read(die)
        assert publisher.send_all(lineage, 120) == 3
    events = received(amqp, "all")
    assert (len(events), len(once(events))) == (6, 3)


def _event(stream: str) -> Event:
    counts = {"documents": 1, "kept": 1, "dropped": {}, "invalid": {}}
    data = {"run": RUN, "output": "out", "counts": counts, "tokens": 1, "unreadable": 0, "warnings": []}
    return Event(1, EXCHANGE, stream, 1, Fact("run.done", RUN, data), datetime.datetime.now(datetime.UTC))


def test_a_broker_that_does_not_answer_is_given_up(amqp: Rabbit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "ANSWER_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = broker.parameters({"AMQP_URL": f"amqp://127.0.0.1:{silent.getsockname()[1]}"})
        with pytest.raises(BrokerUnavailable, match=r"RabbitMQ on 127\.0\.0\.1:\d+ .* can't be used"):
            broker.connect(settings)
    event = _event(RUN)
    asked: list[Callable[[Publisher, Queue], Any]] = [
        lambda publisher, queue: publisher._publish(event),
        lambda publisher, queue: queue.waiting(),
        lambda publisher, queue: queue.set_aside(Message(1, b"x", redelivered=False), "isn't JSON"),
    ]
    for ask in asked:
        with (
            contextlib.closing(Publisher(broker.parameters())) as publisher,
            contextlib.closing(Queue(broker.parameters(), "unanswered", 1)) as queue,
        ):
            publisher._publish(event)
            queue.connect()
            with monkeypatch.context() as patient:
                patient.setattr(broker, "CONFIRM_SECONDS", 1)
                with amqp.asleep(), pytest.raises(BrokerUnavailable, match="no answer within 1 s"):
                    ask(publisher, queue)
            publisher._publish(event)  # over another connection, if need be


def test_a_message_that_is_given_back_comes_again(amqp: Rabbit) -> None:
    with contextlib.closing(Queue(broker.parameters(), "given-back", 1)) as queue:
        queue.connect()
        with amqp.connected() as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            channel.basic_publish("", "given-back", b"x", mandatory=True)

        def next_message() -> Message:
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline:
                for message in queue.receive(0.5):
                    return message
            raise AssertionError("no message for 120 s")

        first = next_message()
        queue.give_back(first)
        again = next_message()
        assert (first.body, first.redelivered) == (b"x", False)
        assert (again.body, again.redelivered) == (b"x", True)
        queue.acknowledge(again)


def test_an_event_with_a_long_id_is_published(amqp: Rabbit) -> None:
    long = f"s3://lake/{'é' * 200}"
    with contextlib.closing(Publisher(broker.parameters())) as publisher:
        publisher._publish(_event(long))
    with amqp.connected() as connection:
        _, properties, body = connection.channel().basic_get("all", auto_ack=True)
    assert properties.message_id is None
    assert json.loads(body)["id"] == f"{long}#1"


def test_tls_and_credentials_from_the_environment(amqp: Rabbit, certificates: Path) -> None:
    certificate = str(certificates / "cert.pem")
    secure = {
        "AMQP_URL": f"amqps://localhost:{amqp.tls_port}",
        "AMQP_USER": "guest",
        "AMQP_PASSWORD": "guest",
        "AMQP_CA_FILE": str(certificates / "ca.pem"),
        "AMQP_CERT_FILE": certificate,
        "AMQP_KEY_FILE": str(certificates / "key.pem"),
    }
    broker.connect(broker.parameters(secure)).close()
    for wrong in ({"AMQP_CA_FILE": ""}, {"AMQP_PASSWORD": "other"}, {"AMQP_CERT_FILE": "", "AMQP_KEY_FILE": ""}):
        with pytest.raises(BrokerUnavailable, match="can't be used") as failure:
            broker.connect(broker.parameters(secure | wrong))
        assert "other" not in str(failure.value)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "AMQP_URL: not in the environment"),
        ({"AMQP_URL": "http://rabbitmq:secret@host/"}, r"AMQP_URL: isn't of the form amqps"),
        ({"AMQP_URL": "amqps://host:port/"}, r"AMQP_URL: isn't of the form amqps"),
        *(
            ({"AMQP_URL": f"amqps://user:12{between}secret@host/"}, "AMQP_URL: isn't of the form.*AMQP_PASSWORD")
            for between in "/?#"
        ),
        ({"AMQP_URL": "amqps://host/", "AMQP_CA_FILE": "/not/there"}, r"AMQP_CA_FILE=/not/there: can't be used"),
        ({"AMQP_URL": "amqps://host/", "AMQP_KEY_FILE": "key.pem"}, "AMQP_KEY_FILE: needs the certificate"),
    ],
)
def test_an_environment_that_cannot_be_used_is_refused(environment: dict[str, str], said: str) -> None:
    with pytest.raises(BrokerSettingsError, match=said) as failure:
        broker.parameters(environment)
    assert "secret" not in str(failure.value)


def test_every_event_of_the_documentation_is_as_its_schema_says() -> None:
    examples = re.findall(r"### `(.+?)`\n.*?```json\n(.*?)```", DOCS, re.DOTALL)
    assert sorted(kind for kind, _ in examples) == sorted(KINDS)
    for kind, text in examples:
        event = json.loads(text)
        VALIDATOR.validate(event)
        assert event["type"] == f"beam_pipeline.{kind}"
        for place in ([], ["data"]):
            for name in event["data"] if place else event:
                if (kind, name) == ("decision.done", "tokens"):
                    continue  # dedup makes none
                spoilt = json.loads(text)
                del (spoilt["data"] if place else spoilt)[name]
                with pytest.raises(jsonschema.ValidationError):
                    VALIDATOR.validate(spoilt)
