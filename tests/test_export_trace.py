"""The index of provenance: any token to its document, any document to its places, in both directions the same."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_pipeline.export import trace
from beam_pipeline.export.publishers import documents_of
from schemas.errors import ToldError
from schemas.exports import PROVENANCE
from tests import exports, runs
from transforms.export.provenance import ProvenanceIndex

EOS = runs.reference_tokenizer().token_to_id("<|endoftext|>")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs; the second has ended its documents itself."""
    folder = tmp_path_factory.mktemp("runs")
    generator = np.random.default_rng(2)
    made = []
    for number, eos in ((1, None), (2, "<|endoftext|>")):
        lengths = generator.choice([0, 1, 7, 90, 300], 300)
        documents = [[*generator.integers(10, 1000, length).tolist(), *([EOS] if eos else [])] for length in lengths]
        run = f"00000000-0000-0000-0000-00000000000{number}"
        made.append(exports.make_run(folder / f"{number}", documents, eos=eos, run=run))
    return made[0], made[1]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"packing": "concatenate", "sequence_length": 50},
        {"packing": "best-fit", "sequence_length": 64, "pad": str(EOS)},
        {"packing": "concatenate", "sequence_length": 1 << 20, "pad": str(EOS)},
    ],
    ids=["none", "concatenate", "best-fit", "one sequence"],
)
def test_every_token_is_traced_to_its_document(
    both: tuple[Path, Path], settings: dict[str, Any], tmp_path: Path
) -> None:
    documents = exports.documents_of(*both)
    plan = exports.export(tmp_path, both, "megatron", eos="<|endoftext|>", bos="5", shard_tokens=20_000, **settings)
    names = [run.run for run in plan.runs]
    found = exports.sequences(tmp_path)
    where = [
        (path, number)
        for path in sorted((tmp_path / "train").glob("*.bin"))
        for number in range(ProvenanceIndex(str(tmp_path), 0, int(path.stem[-5:])).written.sequences)
    ]
    generator = np.random.default_rng(3)
    firsts: dict[tuple[int, int], list[dict[str, object]]] = {}
    for (path, number), tokens in zip(where, found, strict=True):
        position = int(generator.integers(len(tokens)))
        said = trace.trace_token(plan, f"train/{path.name}", number, position)
        earlier = [len(other) for other, place in zip(found, where, strict=True) if place < (path, number)]
        first = sum(earlier[len(earlier) - number :])
        assert trace.trace_token(plan, f"train/{path.name}", None, first + position) == said
        if said["document"] is None:
            assert tokens[position] == EOS and said["added"] == "padding"
            continue
        run = names.index(said["run"])
        document = documents[run, said["document"]]
        assert said["source"] == f"/source/{said['document'] >> 32}"
        offset = said["document_token"]
        if offset is None:
            assert tokens[position] == 5 and said["added"] == "begin"
        elif offset == len(document):
            assert run == 0 and tokens[position] == EOS
        else:
            assert document[offset] == tokens[position]
        firsts.setdefault((run, said["document"]), []).append(said)
    assert len(found) == 1 or len(firsts) > 100 or settings.get("sequence_length") == 1 << 20
    for (run, document), sayings in list(firsts.items())[:20]:
        pieces = trace.where_it_went(plan, run, document)
        assert sum(end - begin for begin, end in (piece["piece"] for piece in pieces)) == (
            len(documents[run, document]) + (2 if run == 0 else 1)
        )
        for said in sayings:
            same = [piece for piece in pieces if (piece["file"], piece["sequence"]) == (said["file"], said["sequence"])]
            assert said["piece"] in [piece["piece"] for piece in same]


def test_what_is_not_there_is_named(both: tuple[Path, Path], tmp_path: Path) -> None:
    plan = exports.export(tmp_path, both[0], "parquet")
    for arguments, message in (
        (("train/part-00009.parquet", 0, 0), "no 'train/part-00009.parquet'; it has 1 in train/"),
        (("part-00000.parquet", 10_000, 0), "sequences, so none is 10000"),
        (("0", 0, 10_000), "tokens, so none is 10000"),
        (("0", None, 10**9), "tokens, so none is 1000000000"),
    ):
        with pytest.raises(trace.NotInExport, match=message):
            trace.trace_token(plan, *arguments)
    with pytest.raises(trace.NotInExport, match="no source"):
        trace.document_at(plan, 0, "other", 0)
    with pytest.raises(trace.NotInExport, match="the export has 0000"):
        trace.position_of_run(plan, "another")
    assert trace.where_it_went(plan, 0, 7 << 32) == []


def test_the_command_answers(both: tuple[Path, Path], tmp_path: Path) -> None:
    exports.export(tmp_path, both[0], "parquet")
    [said] = runs.ask("trace", "--export", tmp_path, "--file", "part-00000.parquet", "--sequence", 3)
    went = runs.ask("trace", "--export", tmp_path, "--source", said["source"], "--row", said["source_row"])
    assert [(piece["sequence"], piece["document"]) for piece in went] == [(3, said["document"])]


def test_a_publisher_is_found_and_taken_out(tmp_path: Path) -> None:
    hosts = ["https://example.org/{}", "http://User@News.Example.ORG:80/{}", "https://notexample.org/{}", "//x.org/{}"]
    urls = [hosts[n % 4].format(n) if n % 9 else None for n in range(300)]
    run = exports.make_run(tmp_path / "run", [[n] * 20 for n in range(300)], urls=urls)
    settings: dict[str, Any] = {"shard_tokens": 1000, "where": "n_tokens > 0", "holdout": 0.1}
    plan = exports.export(tmp_path / "out", run, "mds", **settings)
    mine = {n for n in range(300) if n % 9 and n % 4 in (0, 1)}
    found = list(documents_of(plan, "url", domain="Example.org"))
    assert {row["url"] for row in found} == {urls[n] for n in mine}
    assert all(row["pieces"] == 1 == len(row["files"]) for row in found)
    [one] = documents_of(plan, "url", url=str(urls[5]))
    assert one["url"] == urls[5]
    command = runs.command("trace", "--export", tmp_path / "out", "--domain", "example.org", "--list")
    said = subprocess.run(command, cwd=runs.ROOT, check=True, capture_output=True, text=True, timeout=60)
    (tmp_path / "list").write_text(said.stdout)
    exports.export(
        tmp_path / "out",
        run,
        "mds",
        shard_tokens=1000,
        where="n_tokens > 0",
        holdout=0.1,
        without=str(tmp_path / "list"),
    )
    left = {ids[0] for split in ("train", "holdout") for ids in exports.sequences(tmp_path / "out", split)}
    assert left == set(range(300)) - mine
    assert list(documents_of(trace.opened(str(tmp_path / "out")), "url", domain="example.org")) == []
    with pytest.raises(ToldError, match=r"no column 'link'.*token_columns"):
        list(documents_of(plan, "link", domain="x"))


def test_the_index_is_small_and_quick(tmp_path: Path) -> None:
    """Beside documents of 500 tokens it takes 2 % of their bytes at most; an answer reads one row group."""
    count = 20_000
    documents = [np.zeros(500, np.int64)] * count
    run = exports.make_run(tmp_path / "run", documents, objects=4, row_group=1000)
    exports.export(tmp_path / "out", run, "numpy", eos="0")
    index = ProvenanceIndex(str(tmp_path / "out"), 0, 0)
    size = sum(path.stat().st_size for path in (tmp_path / "out" / "provenance").iterdir())
    assert size < 0.02 * index.tokens * 2
    assert pq.read_schema(index.uri).equals(PROVENANCE, check_metadata=False)
    took = []
    for sequence in np.random.default_rng(4).integers(0, count, 20):
        started = time.perf_counter()
        place = index.at(int(sequence), 499)
        took.append(time.perf_counter() - started)
        assert place.offset == 499 and place.sequence == sequence
    assert sorted(took)[10] < 0.1
    assert pa.compute.count_distinct(pq.read_table(index.uri)["document"]).as_py() == count
