"""The ledger of a corpus: every source in exactly one run, whoever claims it how often."""

from __future__ import annotations

import concurrent.futures
import json
import random
import uuid
from pathlib import Path

import psycopg
import pytest

from beam_pipeline.corpus import Corpus, CorpusError
from tests.postgres import waiting_for_lock
from transforms.io.corpus_ledger import CorpusLedger, LedgerError
from transforms.io.corpus_lock import alone
from transforms.io.lineage import Lineage, LineageUnavailable
from transforms.io.storage import ObjectInfo


def objects(*numbers: int, etag: str = "a") -> list[ObjectInfo]:
    return [ObjectInfo(f"s3://bucket/{number:05}.parquet", etag, 100 + number) for number in numbers]


@pytest.fixture
def ledger(lineage: Lineage) -> CorpusLedger:
    ledger = CorpusLedger(lineage, str(uuid.uuid4()))
    ledger.register("s3://bucket/corpus")
    return ledger


def test_only_new_sources_are_claimed_and_numbered_by_their_uris(ledger: CorpusLedger) -> None:
    first = ledger.claim(objects(3, 1, 2), "runs", ["s3://bucket/"])
    assert first is not None
    assert (first.number, first.state, first.output, first.first_source) == (1, "claimed", "runs/000001", 0)
    assert (first.sources, first.bytes, first.inputs, first.run) == (3, 306, ("s3://bucket/",), None)
    assert [source.uri for source in ledger.sources(1)] == [info.uri for info in objects(1, 2, 3)]
    assert [(source.number, source.size) for source in ledger.sources(1)] == [(0, 101), (1, 102), (2, 103)]
    assert ledger.claim(objects(1, 2, 3), "runs", []) is None
    assert ledger.claim([], "runs", []) is None
    assert ledger.new(objects(5, 3, 4)) == objects(4, 5)
    second = ledger.claim(objects(5, 3, 4), "runs", [])
    assert second is not None
    assert (second.number, second.first_source, second.sources) == (2, 3, 2)
    assert [run.number for run in ledger.runs()] == [1, 2]


def test_a_changed_source_is_new_and_the_run_of_both_is_known(ledger: CorpusLedger) -> None:
    ledger.claim(objects(1, 2), "runs", [])
    changed = ledger.claim(objects(1, etag="b"), "runs", [])
    assert changed is not None
    assert (changed.number, changed.sources) == (2, 1)
    assert ledger.run_of_source("s3://bucket/00001.parquet") == [1, 2]
    assert ledger.run_of_source("s3://bucket/00002.parquet") == [1]


def test_a_released_run_gives_its_sources_back(ledger: CorpusLedger) -> None:
    ledger.claim(objects(1, 2), "runs", [])
    ledger.set_state(1, "failed", "its disk was full")
    ledger.release(1, "given up")
    assert (ledger.run(1).state, ledger.run(1).error, ledger.sources(1)) == ("released", "given up", [])
    again = ledger.claim(objects(1), "runs", [])
    assert again is not None
    assert (again.number, again.first_source) == (2, 2)  # neither is given twice
    ledger.set_state(2, "done", run=str(uuid.uuid4()))
    with pytest.raises(LedgerError, match="run 2 of the corpus is done: it can't be released"):
        ledger.release(2, "no")
    with pytest.raises(LedgerError, match="has no run 7"):
        ledger.release(7, "no")


def test_a_run_is_not_released_while_a_command_works(database: str, lineage: Lineage) -> None:
    corpus = str(uuid.uuid4())
    ledger = CorpusLedger(lineage, corpus)
    ledger.register("s3://bucket/corpus")
    ledger.claim(objects(1, 2), "runs", [])
    with alone(database, corpus), pytest.raises(LedgerError, match=r"works on the corpus; stop it.* release run 1"):
        ledger.release(1, "given up")
    assert (ledger.run(1).state, len(ledger.sources(1))) == ("claimed", 2)
    ledger.release(1, "given up")
    ledger.set_state(1, "done")
    assert ledger.run(1).state == "released"


def test_a_connection_that_is_lost_while_waiting_is_told(database: str) -> None:
    def wait() -> None:
        with alone(database, "waited for"):
            pass

    with (
        concurrent.futures.ThreadPoolExecutor(1) as pool,
        psycopg.connect(database, autocommit=True) as other,
        alone(database, "waited for"),
    ):
        waiting = pool.submit(wait)
        other.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s) AS pid", (waiting_for_lock(other),))
        with pytest.raises(
            LineageUnavailable, match=r"lost while waiting for the corpus: .*run the same command again"
        ):
            waiting.result(120)


def test_claims_at_the_same_time_take_each_source_once(database: str, lineage: Lineage) -> None:
    """Eight processes' worth of connections, each with random slices of the same 200 sources."""
    corpus = str(uuid.uuid4())
    CorpusLedger(lineage, corpus).register("s3://bucket/corpus")

    def claim(seed: int) -> None:
        generator = random.Random(seed)
        with Lineage(database, retry_seconds=120) as own:
            ledger = CorpusLedger(own, corpus)
            for _ in range(6):
                ledger.claim(objects(*generator.sample(range(200), 60)), "runs", [])

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(claim, range(8)))
    ledger = CorpusLedger(lineage, corpus)
    taken = [source.uri for run in ledger.runs() for source in ledger.sources(run.number)]
    assert len(taken) == len(set(taken)) == 200
    assert [run.number for run in ledger.runs()] == list(range(1, len(ledger.runs()) + 1))
    assert sum(run.sources for run in ledger.runs()) == 200
    ends = [run.first_source + run.sources for run in ledger.runs()]
    assert [run.first_source for run in ledger.runs()] == [0, *ends[:-1]]


def test_a_corpus_is_one_folder_and_one_ledger(database: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"has no corpus.json"):
        Corpus.open(str(tmp_path / "c"), database, create=False)
    with Corpus.open(str(tmp_path / "c"), database) as corpus:
        claim = corpus.claim(objects(2, 1), ["s3://bucket/"])
        assert claim is not None
        assert claim.output == str(tmp_path / "c" / "runs" / "000001")
        assert [source.number for source in claim.sources] == [0, 1]
    with Corpus.open(str(tmp_path / "c"), database) as again:
        assert again.id == corpus.id
        assert again.pending() == [claim]
        assert again.claim(objects(1), []) is None
        again.ledger.set_state(1, "done")
        assert again.pending() == []
    (tmp_path / "c" / "runs" / "000001").mkdir(parents=True)
    (tmp_path / "c" / "runs" / "000001" / "run.json").write_text("{}")
    (tmp_path / "c" / "corpus.json").write_text(json.dumps({"corpus": str(uuid.uuid4())}))
    with pytest.raises(CorpusError, match="isn't in the database at"):
        Corpus.open(str(tmp_path / "c"), database)
    (tmp_path / "c" / "corpus.json").write_text("half")
    with pytest.raises(CorpusError, match=r"corpus.json is damaged"):
        Corpus.open(str(tmp_path / "c"), database)
