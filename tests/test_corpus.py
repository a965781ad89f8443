"""A corpus that grows by deliveries: what an earlier run kept stays, and the promises hold across runs."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from beam_pipeline import embedded_postgres, running
from beam_pipeline.cli import main
from beam_pipeline.corpus import Corpus, indexing
from beam_pipeline.corpus.growing import index_before
from beam_pipeline.options import beam_options
from beam_pipeline.planned_sources import PlanError
from beam_pipeline.sample import tokenizer_path
from tests import runs
from tests.corpus_promises import check
from transforms.io import storage
from transforms.io.index_parts import BANDS, Part

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


def test_a_run_that_was_killed_before_it_was_indexed_is_indexed_by_the_next(grown: Grown) -> None:
    with Corpus.open(grown.uri, create=False) as corpus:
        index = Path(corpus.layout.index)
        before = {path: path.read_bytes() for path in index.rglob("*") if path.is_file()}
        (index / "000003.json").unlink()
        corpus.ledger.set_state(3, "running")
        assert work(corpus) == 0
        assert {path: path.read_bytes() for path in index.rglob("*") if path.is_file()} == before
        assert corpus.pending() == []


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
    monkeypatch.setattr(running, "carry_out", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    assert main(arguments) == 130
    monkeypatch.setattr(running, "carry_out", carry_out)
    assert not (corpus / "runs" / "000002" / "run.json").exists()
    assert main(arguments) == 0
    assert main(arguments) == 0
    assert sorted(path.name for path in (corpus / "runs").iterdir()) == ["000001", "000002"]
    assert check(corpus, embedded_postgres.start())["kept"] > 100
    sources = pq.read_table(corpus / "runs" / "000002" / "sources.parquet")["uri"].to_pylist()
    assert sources == [str(files[2])]
