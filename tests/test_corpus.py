"""A corpus that grows by deliveries: what an earlier run kept stays, and the promises hold across runs."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import io
import json
import shutil
import uuid
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from beam_pipeline import embedded_postgres, running
from beam_pipeline.cli import main
from beam_pipeline.corpus import Corpus, CorpusError, indexing
from beam_pipeline.corpus.growing import index_before
from beam_pipeline.corpus.versions import decide_anew
from beam_pipeline.finished_runs import finished_run
from beam_pipeline.options import beam_options
from beam_pipeline.planned_sources import PlanError
from beam_pipeline.report.run_result import result_of
from beam_pipeline.sample import tokenizer_path
from beam_pipeline.trial.result import totals
from tests import runs
from tests.corpus_promises import check
from tests.postgres import waiting_for_lock
from transforms.io import storage
from transforms.io.corpus_lock import alone
from transforms.io.index_parts import BANDS, Part
from transforms.io.lineage import Lineage

VALUES: dict[str, Any] = {"tokenizer": str(tokenizer_path()), "shard_bytes": "300KiB"}


def work(corpus: Corpus, **changed: Any) -> int:
    console = Console(file=io.StringIO())
    return corpus.work(VALUES | changed, beam_options(["--direct_num_workers=1"]), console)


@dataclasses.dataclass(frozen=True)
class Grown:
    """A corpus of three deliveries of two or three files each, of 250 documents."""

    uri: str
    files: list[Path]
    deliveries: list[list[Path]]
    digests: list[dict[str, str]]
    """Of the objects of each run, when it was done."""


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Grown:
    folder = tmp_path_factory.mktemp("grown")
    files = runs.write_corpus(folder / "in", files=7, documents=250, seed=21)
    deliveries, uri, digests = [files[:3], files[3:5], files[5:]], str(folder / "corpus"), []
    with Corpus.open(uri) as corpus:
        for number, delivery in enumerate(deliveries, 1):
            claim = corpus.claim([info for file in delivery if (info := storage.stat(str(file)))], ["somewhere/"])
            assert claim is not None
            assert claim.number == number
            assert work(corpus) == 0
            digests.append(runs.digests(Path(claim.output)))
    return Grown(uri, files, deliveries, digests)


def test_the_promises_hold_across_the_runs(grown: Grown) -> None:
    seen = check(Path(grown.uri), embedded_postgres.start())
    assert seen["for an earlier run"] > 50
    assert min(seen["exact_duplicate"], seen["near_duplicate"]) > 100
    assert seen["pairs compared"] > 10_000


def test_what_earlier_runs_have_written_stays_as_it_is(grown: Grown) -> None:
    for number, digests in enumerate(grown.digests, 1):
        assert runs.digests(Path(grown.uri, "runs", f"{number:06}")) == digests
        assert any(name.startswith("tokens/") for name in digests)


def test_the_runs_are_told_apart_in_the_ledger_and_all_are_done(grown: Grown) -> None:
    with Corpus.open(grown.uri, create=False) as corpus:
        assert [(run.number, run.state, run.sources) for run in corpus.ledger.runs()] == [
            (1, "done", 3), (2, "done", 2), (3, "done", 2),
        ]  # fmt: skip
        manifests = [runs.manifest(Path(run.output)) for run in corpus.ledger.runs()]
        assert [run.run for run in corpus.ledger.runs()] == [manifest["run"] for manifest in manifests]
        assert corpus.pending() == []
        index = index_before(corpus, 4)
        assert [run.documents for run in index.runs] == [manifest["counts"]["kept"] for manifest in manifests]
        assert corpus.claim([info for file in grown.files if (info := storage.stat(str(file)))], []) is None


def test_a_run_that_was_killed_before_it_was_indexed_is_indexed_by_the_next(
    grown: Grown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "openlineage.jsonl"
    transport = {"type": "file", "log_file_path": str(told), "append": True}
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT", json.dumps(transport))
    with Corpus.open(grown.uri, create=False) as corpus:
        index = Path(corpus.layout.index)
        before = {path: path.read_bytes() for path in index.rglob("*") if path.is_file()}
        (index / "000003.json").unlink()
        corpus.ledger.set_state(3, "running")
        run = uuid.UUID(corpus.ledger.run(3).run)

        def change(statement: str) -> Any:
            return corpus.lineage.read(lambda connection: connection.execute(statement.encode(), (run,)))

        assert sorted(path.name for path in index.glob("*.json")) == ["000002.json"]
        change("UPDATE runs SET state = 'running' WHERE run = %s")  # killed before it was recorded as done
        assert work(corpus) == 0
        assert change("SELECT state FROM runs WHERE run = %s").fetchone() == ("done",)
        assert {path: path.read_bytes() for path in index.rglob("*") if path.is_file()} == before
        assert corpus.pending() == []
    [complete] = map(json.loads, told.read_text().splitlines())
    assert (complete["eventType"], complete["run"]["runId"]) == ("COMPLETE", str(run))


def test_a_run_whose_sources_are_replaced_while_it_is_at_work_is_given_up_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = runs.write_corpus(tmp_path / "in", files=3, documents=60, seed=8)
    carry_out = running.carry_out

    def overwrite(*arguments: Any) -> int:
        monkeypatch.setattr(running, "carry_out", carry_out)
        files[1].write_bytes(files[0].read_bytes())
        return carry_out(*arguments)

    monkeypatch.setattr(running, "carry_out", overwrite)
    with Corpus.open(str(tmp_path / "corpus")) as corpus:
        corpus.claim([info for file in files if (info := storage.stat(str(file)))], ["somewhere/"])
        assert work(corpus) == 0
        given_up, other = corpus.ledger.runs()
        assert (given_up.state, other.state) == ("released", "done")
        assert f"1 of its 3 sources were deleted or replaced while it ran: {files[1]}" in given_up.error
        assert other.inputs == given_up.inputs == ("somewhere/",)
        assert [source.uri for source in corpus.ledger.sources(other.number)] == [str(files[0]), str(files[2])]
        assert [info.uri for info in corpus.new(storage.list_objects(str(tmp_path / "in")))] == [str(files[1])]
        assert corpus.claim(storage.list_objects(str(tmp_path / "in")), []) is not None
        assert work(corpus) == 0
    assert check(tmp_path / "corpus", embedded_postgres.start())["exact_duplicate"] >= 50


def test_an_object_without_texts_does_not_stop_a_corpus(tmp_path: Path) -> None:
    (good,) = runs.write_corpus(tmp_path / "in", files=1, documents=30)
    stray = tmp_path / "stray.json"
    stray.write_text('{"name": "not a text"}\n')
    with Corpus.open(str(tmp_path / "corpus")) as corpus:
        for number, file in enumerate((good, stray), 1):
            assert corpus.claim([info for info in [storage.stat(str(file))] if info], []) is not None
            assert work(corpus) == (0 if file == good else 3)
            assert corpus.ledger.run(number).state == "done"
        [unreadable] = runs.manifest(Path(corpus.ledger.run(2).output))["unreadable"]
        assert (unreadable["uri"], "no field 'text'" in unreadable["reason"]) == (str(stray), True)
        stray.write_text('{"name": "still not a text"}\n')
        assert corpus.claim([info for info in [storage.stat(str(stray))] if info], []) is not None
        with pytest.raises(PlanError, match=r"(?s)text_column: .* has no 'texts'.*--release 3"):
            work(corpus, text_column="texts")  # a setting that is another one isn't proven


def test_clean_knows_the_index(grown: Grown, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "corpus"
    shutil.copytree(grown.uri, copy)
    assert main(["clean", str(copy)]) == 0
    assert "nothing is left over" in capsys.readouterr().out
    index = copy / "index"
    released = copy / "runs/000000/tokens/0000000-00000.parquet"
    stale = [index / "segments/000002-level-0/00000.texts", index / "sketches/000000/0000000", released]
    at_work = [index / "segments/000099/00000.texts", index / "sketches/000099/0000000"]  # of a run that is indexed now
    for path in (*stale, *at_work):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"left")
    of_run = copy / "runs" / "000001" / "tokens" / "notes.txt"
    of_run.write_bytes(b"left")
    assert main(["clean", str(copy), "--delete"]) == 0
    said = capsys.readouterr().out
    assert "4 stale objects removed" in said
    assert all(f"{path}: the index doesn't name it" in said for path in stale)
    assert not any(path.exists() for path in (*stale, of_run))
    assert all(path.exists() for path in at_work)


def test_merged_segments_have_what_the_single_ones_had(grown: Grown, monkeypatch: pytest.MonkeyPatch) -> None:
    with Corpus.open(grown.uri, create=False) as corpus:
        index = index_before(corpus, 4)
    monkeypatch.setattr(indexing, "MERGED_FROM", 2)
    merged = indexing.merge(index, 3, 14, beam_options(["--direct_num_workers=1"]))
    assert len(merged.segments) < len(index.segments) == 3
    assert merged.documents == index.documents

    def bands(of: Any) -> list[tuple[int, int]]:
        found = []
        for segment in of.segments:
            for part in range(1 << segment.bits):
                with Part(storage.join(of.uri, segment.part(part, "bands")), BANDS) as file:
                    found += file.all().tolist()
        return sorted(found)

    assert bands(merged) == bands(index)


def test_other_settings_of_the_deduplication_are_refused_and_named(grown: Grown, tmp_path: Path) -> None:
    file = runs.write_corpus(tmp_path / "in", files=1, documents=5)[0]
    with Corpus.open(grown.uri, create=False) as corpus:
        claim = corpus.claim([info for info in [storage.stat(str(file))] if info], [])
        assert claim is not None
        with pytest.raises(PlanError, match=r"(?s)min_similarity: the corpus has 0.8, but now it is 0.7.*--release 4"):
            work(corpus, min_similarity=0.7)
        assert corpus.ledger.run(4).state == "failed"
        assert "min_similarity" in corpus.ledger.run(4).error
        corpus.release(4, "another corpus is better")
        assert work(corpus) == 0


def test_the_command_takes_what_is_new_and_is_killed_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = runs.write_corpus(tmp_path / "in", files=3, documents=120, seed=4)
    late = files[2].rename(tmp_path / "late.parquet")
    corpus = tmp_path / "corpus"
    arguments = ["run", "--corpus", str(corpus), "--input", str(tmp_path / "in"), "--tokenizer", str(tokenizer_path())]
    assert main([*arguments, "--output", "x"]) == 2
    assert main(arguments) == 0
    late.rename(files[2])
    carry_out = running.carry_out

    def fail(*_: object) -> None:
        raise running.RunFailed("the machine was switched off")

    monkeypatch.setattr(running, "carry_out", fail)
    assert main(arguments) == 1
    monkeypatch.setattr(running, "carry_out", carry_out)
    assert not (corpus / "runs" / "000002" / "run.json").exists()
    assert main(arguments) == 0
    assert main(arguments) == 0
    assert sorted(path.name for path in (corpus / "runs").iterdir()) == ["000001", "000002"]
    assert check(corpus, embedded_postgres.start())["kept"] > 100
    sources = pq.read_table(corpus / "runs" / "000002" / "sources.parquet")["uri"].to_pylist()
    assert sources == [str(files[2])]


def told(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> Any:
    """What a command says with --json."""
    capsys.readouterr()
    assert main([*arguments, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def rows_of(grown: Grown) -> list[tuple[Any, ...]]:
    """The documents that were dropped for documents of earlier runs, as the view has them."""
    with psycopg.connect(embedded_postgres.start()) as connection:
        return connection.execute(
            "SELECT run::text, source_uri, source_row, reason, witness_run::text, witness_uri, witness_row FROM lineage"
            " WHERE witness_run <> run AND run IN (SELECT run FROM corpus_runs WHERE output LIKE %s) ORDER BY 2, 3",
            [f"{grown.uri}/%"],
        ).fetchall()


def test_questions_are_asked_of_all_runs(grown: Grown, capsys: pytest.CaptureFixture[str]) -> None:
    manifests = [runs.manifest(path) for path in sorted(Path(grown.uri, "runs").iterdir())]
    status = told(capsys, "status", "--corpus", grown.uri)
    done = [run["run"] for run in status["runs"] if run["state"] == "done"]
    assert done == [manifest["run"] for manifest in manifests]
    funnel = told(capsys, "funnel", "--corpus", grown.uri)
    assert sum(cell["documents"] for cell in funnel) == sum(m["counts"]["documents"] for m in manifests)
    [kept] = [cell for cell in funnel if cell["outcome"] == "kept"]
    assert kept["documents"] == sum(manifest["counts"]["kept"] for manifest in manifests)
    assert kept["tokens"] == sum(manifest["tokens"] for manifest in manifests)
    [answer] = told(capsys, "what-if", "--corpus", grown.uri, "text_bytes >= 0")
    assert answer["total"]["kept"]["documents"] == kept["documents"]
    assert answer["total"]["without_witness"]["documents"] == 0
    plan = told(capsys, "export", "--corpus", grown.uri, "--output", "unused", "--format", "numpy", "--plan")
    assert sum(row["available"]["documents"] for row in plan["mixture"]) == kept["documents"]
    assert main(["export", "--corpus", grown.uri, "--run", "x", "--output", "unused", "--format", "numpy"]) == 2
    assert main(["status", "--corpus", str(Path(grown.uri).parent)]) == 2


def test_a_witness_in_an_earlier_run_is_named(grown: Grown, capsys: pytest.CaptureFixture[str]) -> None:
    across = rows_of(grown)
    assert {row[3] for row in across} == {"exact_duplicate", "near_duplicate"}
    for run, source, row, reason, witness_run, witness_uri, witness_row in (across[0], across[-1]):
        found = told(capsys, "trace", "--corpus", grown.uri, "--source", source, "--row", str(row), "--text")
        assert (found["run"], found["reason"], found["witness_run"]) == (run, reason, witness_run)
        assert (found["witness_uri"], found["witness_row"]) == (witness_uri, witness_row)
        assert found["text"]["witness"] == pq.read_table(witness_uri)["text"][witness_row].as_py()
        why = told(capsys, "why", "--run", run, "--source", source, "--row", str(row))
        assert why["witness"]["outcome"] == "kept"
        dropped = told(capsys, "duplicates", "--run", witness_run, "--source", witness_uri, "--row", str(witness_row))
        assert (run, source, row) in [
            (each["run"], each["source_uri"], each["source_row"]) for each in dropped["dropped"]
        ]


def test_a_report_is_of_all_runs(grown: Grown, tmp_path: Path) -> None:
    finished = [finished_run(f"{grown.uri}/runs/{number:06}") for number in (1, 2, 3)]
    counts = [run.manifest["counts"] for run in finished]
    with Lineage(embedded_postgres.start()) as lineage:
        result, distributions = result_of(finished[2], lineage, True, grown.uri, finished[:2])
        alone, _ = result_of(finished[2], lineage)
    assert result.looked.documents == sum(each["documents"] for each in counts) > alone.looked.documents
    ends = totals(result)
    assert ends["kept", ""]["documents"] == sum(each["kept"] for each in counts)
    assert result.duplicates.exact == sum(each["dropped"]["exact_duplicate"] for each in counts)
    with_text = sum(each["documents"] - sum(each["invalid"].values()) for each in counts)
    counted = {each.name: each.documents for each in distributions}["text_bytes"]
    assert with_text <= counted < result.looked.documents
    assert set(result.documents["source"].to_pylist()) == set(map(str, grown.files))
    earlier = {str(file) for delivery in grown.deliveries[:2] for file in delivery}
    for found in (result, alone):
        assert any(cluster.texts[0].source in earlier for cluster in found.duplicates.clusters)  # of another run
        assert {text.source for text in found.texts} <= set(map(str, grown.deliveries[2]))
    page = tmp_path / "report.html"
    assert main(["report", "--corpus", grown.uri, "--output", str(page)]) == 0
    assert "3 runs of a corpus" in page.read_text()
    with pytest.raises(SystemExit):
        main(["report", "--corpus", grown.uri, "--run", finished[0].output])


def kept_of_version(grown: Grown, name: str) -> set[tuple[str, int]]:
    files = sorted(Path(grown.uri, "versions", name).glob("*/decisions/*.parquet"))
    rows = pa.concat_tables([pq.read_table(file) for file in files]).to_pylist()
    return {(row["source"], row["source_row"]) for row in rows if row["outcome"] == "kept"}


def test_deciding_all_anew_keeps_what_one_run_over_everything_keeps(
    grown: Grown, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.run(grown.files, tmp_path / "one", "--shard_bytes", "300KiB", "--direct_num_workers", 1)
    one = {(row["source"], row["source_row"]) for row in runs.tokens(tmp_path / "one").to_pylist()}
    monkeypatch.setenv("AMQP_URL", "amqp://127.0.0.1:1/")  # nobody listens: the event waits
    told_to = ["--events_exchange", "pipeline"]
    decide = ["decide", "--corpus", grown.uri, "--direct_num_workers", "1", "--version"]
    before = {
        name: digest
        for number in (1, 2, 3)
        for name, digest in runs.digests(Path(grown.uri, "runs", f"{number:06}")).items()
    }
    assert main([*decide, "anew", *told_to]) == 0
    assert main([*decide, "anew", *told_to]) == 2  # nothing new is told
    with psycopg.connect(embedded_postgres.start()) as connection:
        place = f"{grown.uri}/versions/anew"
        query = "DELETE FROM outbox WHERE stream = %s RETURNING type, data"
        [(kind, told_of)] = connection.execute(query, [place]).fetchall()
    manifest = json.loads(Path(place, "version.json").read_text())
    assert (kind, told_of["output"], told_of["counts"]) == ("decision.done", place, manifest["counts"])
    assert told_of["runs"] == [run["run"] for run in manifest["runs"]]
    assert kept_of_version(grown, "anew") == one
    assert main([*decide, "strict", "--min_similarity", "0.95"]) == 0
    assert len(kept_of_version(grown, "strict")) > len(one)
    for wrong in (["anew"], ["as-grown"], ["a/b"], ["x", "--output", "y"], ["x", "--languages", "de"]):
        assert main([*decide, *wrong]) == 2
    after = {
        name: digest
        for number in (1, 2, 3)
        for name, digest in runs.digests(Path(grown.uri, "runs", f"{number:06}")).items()
    }
    assert after == before
    assert told(capsys, "status", "--corpus", grown.uri)["versions"] == ["anew", "strict"]
    compared = told(capsys, "compare", "anew", "strict", "--corpus", grown.uri)["documents"]
    kept = [sum(row["documents"] for row in compared if row[f"outcome_{side}"] == "kept") for side in "ab"]
    assert kept == [len(one), len(kept_of_version(grown, "strict"))]
    as_grown = told(capsys, "compare", "as-grown", "anew", "--corpus", grown.uri)["documents"]
    assert sum(row["documents"] for row in as_grown) == sum(row["documents"] for row in compared)
    plan = told(
        capsys, "export", "--corpus", grown.uri, "--version", "anew", "--output", "x", "--format", "numpy", "--plan"
    )
    with_tokens = sum(row["documents"] for row in as_grown if row["outcome_a"] == row["outcome_b"] == "kept")
    assert sum(row["available"]["documents"] for row in plan["mixture"]) == with_tokens


def test_a_version_that_another_command_makes_is_waited_for(grown: Grown) -> None:
    def decide() -> None:
        with Corpus.open(grown.uri, create=False) as own:
            decide_anew(own, "raced", {}, beam_options(["--direct_num_workers=1"]))

    with (
        Corpus.open(grown.uri, create=False) as corpus,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
        psycopg.connect(corpus.dsn, autocommit=True) as other,
    ):
        version = corpus.layout.version("raced")
        with alone(corpus.dsn, f"{corpus.id} version raced"):
            deciding = pool.submit(decide)
            waiting_for_lock(other)
            storage.write(version, b"{}")
        with pytest.raises(CorpusError, match="there is a version raced"):
            deciding.result(120)
        storage.delete(version)


def test_a_run_of_a_corpus_isnt_decided_again_alone(grown: Grown, tmp_path: Path) -> None:
    assert main(["decide", "--run", f"{grown.uri}/runs/000002", "--output", str(tmp_path / "x")]) == 2
