"""What ``watch`` is tested with: a broker, an S3 server that announces its objects there, and a database."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3

from beam_pipeline import broker, embedded_postgres
from beam_pipeline.sample import tokenizer_path
from beam_pipeline.watching.broker_queue import Queue
from beam_pipeline.watching.notifications import announced
from tests import rabbit, runs, s3
from tests.event_consumers import bind
from tests.rabbit import Rabbit
from transforms.io.lineage import Lineage

QUEUE, EXCHANGE, CORPUS = "new-objects", "pipeline", "s3://lake/corpus"
PATIENCE = 600.0
FLAGS = ("--gather_seconds", "1", "--tokenizer", str(tokenizer_path()), "--direct_num_workers", "1")


class Site:
    """The bucket ``lake``, whose server sends its events to the queue, and events out in the queue ``all``."""

    def __init__(self, folder: Path, server: Rabbit, dsn: str, corpus: str) -> None:
        self.rabbit, self.dsn, self.corpus, self._folder = server, dsn, corpus, folder
        with contextlib.closing(Queue(broker.parameters({"AMQP_URL": server.url}), QUEUE, 1)) as queue:
            queue.connect()  # makes it
        bind(server, EXCHANGE, "all")
        time.sleep(1)  # tests.rabbit: a broker that is killed forgets a queue that it has just made
        self.store = s3.Server(
            folder / "buckets", "--event-rabbitmq-url", server.url, "--event-rabbitmq-routing-key", QUEUE
        )
        self.store.start()
        self.client = boto3.client(
            "s3", endpoint_url=self.store.endpoint, region_name=s3.REGION,
            aws_access_key_id=s3.ACCESS_KEY, aws_secret_access_key=s3.SECRET_KEY,
        )  # fmt: skip
        self.client.create_bucket(Bucket="lake")
        with Lineage(dsn) as lineage:
            lineage.migrate()
        self.environment = os.environ | s3.environment(self.store.endpoint) | {"AMQP_URL": server.url}

    def put(self, key: str, data: bytes) -> str:
        self.client.put_object(Bucket="lake", Key=key, Body=data)
        return f"s3://lake/{key}"

    def announce(self, *bodies: bytes) -> None:
        """Puts messages into the queue."""
        with self.rabbit.connected() as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            for body in bodies:
                channel.basic_publish("", QUEUE, body, mandatory=True)

    def command(self, *flags: str) -> list[str]:
        return runs.command("watch", "--corpus", self.corpus, "--lineage_dsn", self.dsn, "--events_exchange", EXCHANGE,
                            "--queue", QUEUE, *FLAGS, *flags)  # fmt: skip

    @contextlib.contextmanager
    def watching(self, *flags: str, name: str = "watch") -> Iterator[subprocess.Popen[bytes]]:
        """``watch`` in a process of its own, which is gone at the end."""
        with (self._folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                self.command(*flags), cwd=runs.ROOT, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def log(self, name: str = "watch") -> str:
        return (self._folder / f"{name}.log").read_text()

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with Lineage(self.dsn) as lineage:
            return lineage.read(lambda connection: connection.execute(query.encode()).fetchall())

    def runs_of_sources(self) -> dict[str, list[int]]:
        """In which runs of the corpus each source is."""
        found: dict[str, list[int]] = {}
        for uri, number in self.ask("SELECT uri, number FROM corpus_sources ORDER BY uri, number"):
            found.setdefault(uri, []).append(number)
        return found

    def run_states(self) -> Counter[str]:
        return Counter(state for (state,) in self.ask("SELECT state FROM corpus_runs"))

    def messages(self, queue: str) -> int:
        """Messages that are ready in a queue."""
        with self.rabbit.connected() as connection:
            return int(connection.channel().queue_declare(queue, passive=True).method.message_count)

    def left(self) -> list[str]:
        """What is announced by messages that are left in the queue, without what runs have written."""
        found = []
        with self.rabbit.connected() as connection:
            channel = connection.channel()
            while (got := channel.basic_get(QUEUE, auto_ack=True))[0] is not None:
                found += [
                    name for each in announced(got[2]) for name in each.names if not name.startswith(f"{CORPUS}/")
                ]
        return found

    def until(self, condition: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
        deadline = time.monotonic() + patience
        while not condition():
            assert time.monotonic() < deadline, f"{what}: not within {patience:g} s\n{self.log()[-3000:]}"
            time.sleep(0.5)

    def close(self) -> None:
        self.client.close()
        self.store.kill()


def notification(key: str, name: str = "ObjectCreated:Put") -> bytes:
    """As AWS sends it; the key is one that needs no encoding."""
    told = {"bucket": {"name": "lake"}, "object": {"key": key, "size": 1, "eTag": "x"}}
    return json.dumps({"Records": [{"eventName": name, "s3": told}]}).encode()


def documents(number: int, count: int = 20) -> bytes:
    """JSON Lines; each text is another, but the first of every object is the same."""
    texts = [f"The same text, which comes with every delivery, {'again and ' * 9}again."]
    texts += [f"Delivery {number} has document {row}: {' '.join(f'word{number * row + i}' for i in range(40))}"
              for row in range(1, count)]  # fmt: skip
    return "".join(
        json.dumps({"id": f"{number}/{row}", "text": text}) + "\n" for row, text in enumerate(texts)
    ).encode()


@contextlib.contextmanager
def site(folder: Path, database: str, corpus: str = CORPUS) -> Iterator[Site]:
    """Everything started, with an empty database of the embedded server."""
    import psycopg

    dsn = embedded_postgres.start()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {database} ENCODING 'UTF8' TEMPLATE template0".encode())
    try:
        with rabbit.broker() as server:
            opened = Site(folder, server, psycopg.conninfo.make_conninfo(dsn, dbname=database), corpus)
            try:
                yield opened
            finally:
                opened.close()
    finally:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {database} WITH (FORCE)".encode())
