"""Objects put into a bucket become tokens without a hand: real RabbitMQ, an S3 server's own events, real PostgreSQL."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_pipeline.corpus import Corpus, vanished
from beam_pipeline.corpus.vanished import forget_vanished
from beam_pipeline.watching.claiming import Wanted
from beam_pipeline.watching.gathering import Limits
from beam_pipeline.watching.watcher import Watcher
from beam_pipeline.watching.worker import Worker
from tests import runs
from tests.event_consumers import kinds, once, received
from tests.watched import FLAGS, QUEUE, Site, documents, notification, site
from transforms.io import storage
from transforms.io.corpus_ledger import CorpusLedger
from transforms.io.lineage import Lineage, LineageUnavailable


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("lake"), "watched") as opened:
        yield opened


def test_objects_become_tokens(lake: Site) -> None:
    with lake.watching() as watch:
        named = [lake.put(f"in/{name}.jsonl", documents(number)) for number, name in enumerate(["a", "b c+d é"])]
        lake.put("in/gone.jsonl", documents(7))
        lake.client.delete_object(Bucket="lake", Key="in/gone.jsonl")
        lake.announce(b"poison", notification("in/never.jsonl"), notification("in/a.jsonl"))
        lake.until(lambda: lake.run_states()["done"] >= 1 and set(lake.runs_of_sources()) >= set(named), "a first run")
        lake.until(lambda: set(lake.run_states()) == {"done"}, "nothing is pending")
        lake.announce(notification("in/a.jsonl"))  # once more, when it is known
        late = lake.put("in/late.jsonl", documents(2))
        lake.until(lambda: late in lake.runs_of_sources() and set(lake.run_states()) == {"done"}, "another run")
        lake.until(lambda: lake.messages(QUEUE) == 0, "the queue is empty")
        watch.send_signal(signal.SIGTERM)
        assert watch.wait(300) == 0, lake.log()
    assert lake.left() == []  # nothing comes back: all was acknowledged
    lake.until(lambda: lake.messages(f"{QUEUE}.dead") == 1, "the message that isn't understood is set aside")
    in_runs = lake.runs_of_sources()
    assert set(in_runs) - {"s3://lake/in/gone.jsonl"} == {*named, late}
    assert all(len(numbers) == 1 for numbers in in_runs.values())
    kept = lake.ask("SELECT reason, sum(documents) FROM runs CROSS JOIN funnel(run) GROUP BY 1 ORDER BY 1")
    assert dict(kept)["exact_duplicate"] == 2 + ("s3://lake/in/gone.jsonl" in in_runs)  # also of another run's
    listed = lake.client.list_objects_v2(Bucket="lake", Prefix="corpus/runs/000001/tokens/")
    assert listed["KeyCount"] >= 1
    events = once(received(lake.rabbit, "all"))
    done = [event for event in events if event["type"] == "beam_pipeline.run.done"]
    assert len(done) == lake.run_states()["done"]
    assert kinds(events).count("run.planned") == len(done)
    assert not lake.ask("SELECT FROM outbox")


def test_two_watchers_of_one_queue_do_not_make_two_runs_of_an_object(lake: Site) -> None:
    before_all = lake.messages(QUEUE)
    named = [lake.put(f"more/{number}.jsonl", documents(100 + number)) for number in range(6)]
    lake.announce(*(notification(f"more/{number}.jsonl") for number in range(6)))
    before = lake.run_states()["done"]
    lake.until(lambda: lake.messages(QUEUE) >= before_all + 12, "all is announced")
    first, second = (
        subprocess.Popen(
            [*lake.command("--once", "--gather_messages", "6")], cwd=runs.ROOT, env=lake.environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for _ in range(2)
    )  # fmt: skip
    try:
        told = [process.communicate(timeout=600)[0].decode() for process in (first, second)]
        assert (first.returncode, second.returncode) == (0, 0), told
    finally:
        for process in (first, second):
            process.kill()
            process.wait()
    in_runs = lake.runs_of_sources()
    assert all(len(in_runs[uri]) == 1 for uri in named), in_runs
    assert set(lake.run_states()) == {"done"}
    assert lake.run_states()["done"] > before
    assert lake.left() == []


def test_without_a_broker_a_place_is_listed(lake: Site) -> None:
    uri = lake.put("polled/a.jsonl", documents(500))
    environment = {name: value for name, value in lake.environment.items() if name != "AMQP_URL"}
    command = runs.command("watch", "--corpus", "s3://lake/other", "--lineage_dsn", lake.dsn, "--once", "--poll",
                           "s3://lake/polled", "s3://lake/nothing-yet", *FLAGS)  # fmt: skip
    done = subprocess.run(command, cwd=runs.ROOT, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [len(numbers) for found, numbers in lake.runs_of_sources().items() if found == uri] == [1]


def test_sources_that_vanish_after_their_claim_do_not_stop_the_corpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.jsonl").write_bytes(documents(number))
    infos = {Path(info.uri).name: info for info in storage.list_objects(str(folder))}
    with Corpus.open(str(tmp_path / "corpus")) as corpus:
        corpus.claim([infos["3.jsonl"]], [str(folder)])
        claim = corpus.claim([infos[f"{number}.jsonl"] for number in range(3)], [str(folder)])
        assert claim is not None
        for gone in (0, 3):
            (folder / f"{gone}.jsonl").unlink()
        (folder / "1.jsonl").write_bytes(documents(9))
        for each in corpus.pending():
            forget_vanished(corpus, each)
        assert [run.state for run in corpus.ledger.runs()] == ["released", "claimed"]
        assert [(source.number, Path(source.uri).name) for source in corpus.ledger.sources(2)] == [(0, "2.jsonl")]
        assert corpus.ledger.run(2).sources == 1
        assert [Path(source.uri).name for source in corpus.new(storage.list_objects(str(folder)))] == ["1.jsonl"]
        [left] = corpus.pending()
        assert forget_vanished(corpus, left) == left
        monkeypatch.setattr(vanished, "ASKED_ONE_BY_ONE", 0)  # as of very many: the input is listed
        assert forget_vanished(corpus, left) == left
        (folder / "2.jsonl").write_bytes(documents(8))
        assert not forget_vanished(corpus, left).sources


def test_a_database_that_is_away_is_waited_for_unless_once(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "0.jsonl").write_bytes(documents(0))
    with contextlib.ExitStack() as stack:
        corpus = stack.enter_context(Corpus.open(str(tmp_path / "corpus")))
        away = stack.enter_context(Lineage("host=127.0.0.1 port=1 dbname=away", retry_seconds=0))
        corpus_away = dataclasses.replace(corpus, ledger=CorpusLedger(away, corpus.id))
        worker = Worker(str(tmp_path / "corpus"), "", {}, [])
        stack.callback(worker.close)

        def watcher(of: Corpus, *, once: bool) -> Watcher:
            place = str(tmp_path / "in")
            wanted = Wanted([place], str(tmp_path / "corpus"))
            return Watcher(of, wanted, worker, None, Limits(), [place], 300.0, once=once, publisher=None)

        patient, hasty = watcher(corpus_away, once=False), watcher(corpus_away, once=True)
        patient._list()
        assert patient._pending()
        for ask in (hasty._list, hasty._pending):
            with pytest.raises(LineageUnavailable):
                ask()
        found = watcher(corpus, once=False)
        found._work()
        assert not found._waits
        corpus.claim(storage.list_objects(str(tmp_path / "in")), [])  # by a process that died then
        found._list()
        assert found._waits
        assert found._pending()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "give --queue, --poll, or both"),
        (["--queue", "a"], "AMQP_URL: not in the environment"),
        (["--poll", "s3://a/b", "--poll_seconds", "0"], "poll_seconds: 0 isn't above 0"),
        (["--poll", "s3://a/b", "--output", "out"], "output: a run of a corpus has it from the corpus"),
        (["--poll", "s3://a/b", "--gather_seconds", "0"], "quiet: 0"),
        (["--poll", "s3://a/b", "--gather_messages", "65536"], "messages: 65536 is above 65535"),
        (["--queue", "a" * 251], "is longer than the 250 bytes that RabbitMQ takes"),
        (["--poll", "s3://a/b", "--bands", "x"], "bands"),
    ],
)
def test_what_cannot_be_watched_is_refused(
    flags: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from beam_pipeline.cli import main

    monkeypatch.delenv("AMQP_URL", raising=False)
    assert main(["watch", "--corpus", str(tmp_path / "corpus"), *FLAGS[:4], *flags]) == 2
    assert said in capsys.readouterr().err
