"""Twelve deliveries in random slices: messages come twice, `watch` is killed ten times, the broker stopped three times.

With DATA/corpus (Parquet), of these documents; otherwise of generated ones. DELIVERY_DOCUMENTS says how many new ones a
delivery has; 0: the deliveries are all of them.
"""

from __future__ import annotations

import collections
import io
import json
import os
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import runs
from tests.corpus_promises import check
from tests.event_consumers import once, received
from tests.watched import QUEUE, Site, documents, notification, site
from transforms.io.lineage import Lineage

DELIVERIES, KILLS, RESTARTS = 12, 10, 3
PATIENCE = 3600.0
DOCUMENTS = int(os.environ.get("DELIVERY_DOCUMENTS", "300"))
SEED = int(os.environ.get("DELIVERY_SEED", str(time.time_ns() % 100_000)))


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path, "deliveries", corpus=str(tmp_path / "corpus")) as opened:
        yield opened


def slices(generator: random.Random) -> list[pa.Table]:
    """Random slices of the texts; a third of what was in a delivery comes with a later one again."""
    folder = Path(os.environ.get("DATA", "/nowhere")) / "corpus"
    if folder.is_dir():
        read = [pq.read_table(file, columns=["text"]) for file in sorted(folder.glob("*.parquet"))]
        texts = pa.concat_tables(read)["text"].to_pylist()
    else:
        lines = [line for number in range(DELIVERIES) for line in documents(number, DOCUMENTS).splitlines()]
        texts = [json.loads(line)["text"] for line in lines]
    each = DOCUMENTS or -(-len(texts) // DELIVERIES)
    generator.shuffle(texts)
    delivered = []
    for start in range(0, DELIVERIES * each, each):
        chosen = texts[start : start + each]
        chosen += generator.sample(texts[:start], min(start, len(chosen) // 3))
        generator.shuffle(chosen)
        delivered.append(pa.table({"text": pa.array(chosen, pa.string())}))
    return delivered


def test_every_document_is_in_one_run_and_every_fact_is_told(lake: Site) -> None:
    generator = random.Random(SEED)
    print(f"DELIVERY_SEED={SEED}", flush=True)
    tables = slices(generator)
    kills = set(generator.sample(range(DELIVERIES), KILLS))
    restarts = set(generator.sample(range(1, DELIVERIES), RESTARTS))
    keys: list[str] = []
    for number, table in enumerate(tables):
        if number in restarts:
            lake.rabbit.restart()
            lake.store.kill()  # it doesn't connect again
            lake.store.start()
        with lake.watching() as watch:
            data = io.BytesIO()
            pq.write_table(table, data, row_group_size=100)
            keys.append(f"in/delivery {number:02d}+é.parquet")
            lake.put(keys[-1], data.getvalue())
            for key in generator.sample(keys, min(len(keys), 3)):
                lake.announce(*[notification(key.replace(" ", "%20").replace("+", "%2B"))] * 2)
            lake.announce(b"{}", notification("in/deleted-again.parquet"))
            if number in kills:
                time.sleep(generator.uniform(4, 40))
            else:
                uri = f"s3://lake/{keys[-1]}"
                lake.until(lambda uri=uri: uri in lake.runs_of_sources(), f"{uri} is taken", PATIENCE)
            assert watch.poll() is None, lake.log()[-3000:]
        print(f"delivery {number}: {'killed' if number in kills else 'ended'}, {dict(lake.run_states())}", flush=True)
    with lake.watching():
        lake.until(lambda: len(lake.runs_of_sources()) == DELIVERIES, "everything is taken", PATIENCE)
        lake.until(lambda: set(lake.run_states()) == {"done"}, "every run is done", PATIENCE)
    command = runs.command("events", "--send", "--lineage_dsn", lake.dsn)
    subprocess.run(command, cwd=runs.ROOT, env=lake.environment, check=True, timeout=600)
    assert sorted(lake.runs_of_sources()) == sorted(f"s3://lake/{key}" for key in keys)
    assert all(len(numbers) == 1 for numbers in lake.runs_of_sources().values())
    stored = lake.store.folder  # of the S3 server, which keeps objects as files
    print(check(Path(lake.corpus), lake.dsn, lambda uri: str(stored / uri.removeprefix("s3://"))), flush=True)
    assert lake.left() == []
    assert lake.messages(f"{QUEUE}.dead") >= DELIVERIES
    compare(lake, received(lake.rabbit, "all"))


def compare(lake: Site, sent: list[dict[str, Any]]) -> None:
    """Each event's fact is in the database, and each fact has its event."""
    events = once(sent)
    print(f"{len(sent)} events came, {len(events)} of them once", flush=True)
    told = collections.Counter(
        (event["type"].removeprefix("beam_pipeline."), event["data"].get("run"), event["subject"]) for event in events
    )
    facts: collections.Counter[tuple[str, str, str]] = collections.Counter()
    for run, state, starts in lake.ask("SELECT run::text, state, starts FROM runs"):
        assert state == "done"
        facts["run.planned", run, run] = 1
        facts["run.started", run, run] = starts
        facts["run.done", run, run] = 1
    for run, shard, state in lake.ask("SELECT run::text, shard, state FROM segments"):
        assert state == "done"
        facts["shard.done", run, shard] = 1
        facts["shard.fingerprinted", run, shard] = 1
    once_each = {fact: min(count, facts.get(fact, count)) for fact, count in told.items() if fact[0] != "run.failed"}
    assert once_each == dict(facts)
    assert all(count == facts[fact] for fact, count in told.items() if fact[0] in ("run.planned", "run.started"))
    last = dict(lake.ask("SELECT stream, last FROM event_streams"))
    numbers = collections.defaultdict(list)
    for event in events:
        numbers[event["source"].removeprefix("urn:beam-pipeline:")].append(int(event["sequence"]))
    assert numbers == {stream: list(range(1, count + 1)) for stream, count in last.items()}
    with Lineage(lake.dsn) as lineage:
        assert not lineage.read(lambda connection: connection.execute("SELECT FROM outbox").fetchall())
