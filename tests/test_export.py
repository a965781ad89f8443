"""Exports: every document in every format, the same bytes however they are made, refusals."""

from __future__ import annotations

import collections
import itertools
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_pipeline.export.runs import NotExportable
from schemas.errors import ToldError
from tests import exports, runs
from transforms.export.formats import FORMATS
from transforms.export.formats.base import Sequences, Target
from transforms.export.formats.megatron import index

EOS = runs.reference_tokenizer().token_to_id("<|endoftext|>")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 400 documents in 10 row groups, some of them without tokens or long."""
    generator = np.random.default_rng(1)
    lengths = generator.choice([0, 1, 5, 40, 400], 400)
    documents = [generator.integers(10, 1000, length).tolist() for length in lengths]
    return exports.make_run(tmp_path_factory.mktemp("made") / "run", documents)


@pytest.mark.parametrize("format", sorted(set(FORMATS) - {"numpy"}))
def test_every_document_is_there_once_in_an_order_that_the_seed_decides(
    made: Path, format: str, tmp_path: Path
) -> None:
    documents = exports.documents_of(made)
    exports.export(tmp_path / "a", made, format, shard_tokens=10_000)
    exports.export(tmp_path / "b", made, format, shard_tokens=10_000, seed=1)
    first, second = exports.sequences(tmp_path / "a"), exports.sequences(tmp_path / "b")
    there = collections.Counter(tokens for tokens in documents.values() if tokens)
    assert collections.Counter(first) == collections.Counter(second) == there
    assert first != second
    exports.export(tmp_path / "c", made, "parquet", shard_tokens=10_000)
    assert exports.sequences(tmp_path / "c") == first  # the format doesn't decide the order
    split = exports.manifest(tmp_path / "a")["splits"]["train"]
    empty = sum(not tokens for tokens in documents.values())
    assert (split["documents"], split["empty"]) == (len(documents) - empty, empty)
    assert split["files"] > 2 and split["tokens"] == sum(map(len, documents.values()))


def test_documents_of_a_real_run(finished: Path, tmp_path: Path) -> None:
    exports.export(tmp_path, finished, "megatron", shard_tokens=200_000)
    there = collections.Counter(tokens for tokens in exports.documents_of(finished).values() if tokens)
    assert collections.Counter(exports.sequences(tmp_path)) == there
    card = (tmp_path / "README.md").read_text()
    assert f"{sum(there.values()):,} kept" in card and "exact_duplicate" in card


def test_a_flat_array_ends_documents_once(made: Path, tmp_path: Path) -> None:
    with pytest.raises(NotExportable, match="nothing but a token"):
        exports.export(tmp_path / "none", made, "numpy")
    assert not (tmp_path / "none").exists()
    exports.export(tmp_path / "added", made, "numpy", eos="<|endoftext|>", shard_tokens=10_000)
    documents = collections.Counter(tokens for tokens in exports.documents_of(made).values() if tokens)

    def read(folder: Path) -> collections.Counter[tuple[int, ...]]:
        found: collections.Counter[tuple[int, ...]] = collections.Counter()
        for path in sorted((folder / "train").iterdir()):
            tokens = np.fromfile(path, np.uint16)
            ends = np.flatnonzero(tokens == EOS)
            assert ends[-1] == len(tokens) - 1
            found.update(tuple(part[:-1].tolist()) for part in np.split(tokens, ends + 1) if len(part))
        return found

    assert read(tmp_path / "added") == documents
    ended = [[*tokens, EOS] for tokens in documents.elements()]
    run = exports.make_run(tmp_path / "ended", ended, eos="<|endoftext|>")
    exports.export(tmp_path / "had", run, "numpy", eos="<|endoftext|>")
    assert read(tmp_path / "had") == documents
    exports.export(tmp_path / "both", [made, run], "megatron", eos="<|endoftext|>", bos="1")
    assert all(
        found[0] == 1 and found[-1] == EOS and found[-2] != EOS for found in exports.sequences(tmp_path / "both")
    )


def test_a_run_that_does_not_end_documents_as_its_settings_say_is_refused(tmp_path: Path) -> None:
    run = exports.make_run(tmp_path / "run", [[5, 6, EOS], [5, 6, 7]], eos="<|endoftext|>", objects=1)
    with pytest.raises(ToldError, match=f"don't end with token {EOS}"):
        exports.export(tmp_path / "out", run)
    with pytest.raises(NotExportable, match="has written token"):
        exports.export(tmp_path / "other", run, eos="5")
    with pytest.raises(NotExportable, match="no token '<none>'"):
        exports.export(tmp_path / "other", run, pad="<none>", packing="concatenate", sequence_length=10)


def test_ids_of_32_bits(tmp_path: Path) -> None:
    documents = [[100_000 + n] * (n % 7 + 1) for n in range(50)]
    run = exports.make_run(tmp_path / "run", documents, id_type=pa.uint32())
    for format in ("megatron", "mds", "arrow", "aleph-alpha", "parquet"):
        exports.export(tmp_path / format, run, format)
        assert sorted(exports.sequences(tmp_path / format)) == sorted(map(tuple, documents))


@pytest.mark.parametrize("packing", ["concatenate", "best-fit"])
def test_packing_keeps_every_token_and_tells_documents_apart(made: Path, packing: str, tmp_path: Path) -> None:
    documents = collections.Counter(tokens for tokens in exports.documents_of(made).values() if tokens)
    size = 64
    settings = {"packing": packing, "sequence_length": size, "shard_tokens": 10_000}
    exports.export(tmp_path / "cu", made, "mds", boundaries="cu_seqlens", **settings)
    samples = exports.samples(tmp_path / "cu" / "train")
    assert max(len(sample["input_ids"]) for sample in samples) == size
    pieces = []
    for sample in samples:
        bounds = sample["cu_seqlens"]
        assert bounds[0] == 0 and bounds[-1] == len(sample["input_ids"])
        pieces += [tuple(sample["input_ids"][a:b]) for a, b in itertools.pairwise(bounds)]
    assert sum(map(len, pieces)) == sum(len(tokens) * count for tokens, count in documents.items())
    short = {tokens: count for tokens, count in documents.items() if len(tokens) <= size}
    if packing == "best-fit":  # only what is longer than a sequence is cut
        whole = collections.Counter(pieces)
        assert all(whole[tokens] >= count for tokens, count in short.items())
        split = exports.manifest(tmp_path / "cu")["splits"]["train"]
        assert split["cut"] == sum(documents.values()) - sum(short.values())
        assert split["unused_share"] < 0.05
    exports.export(tmp_path / "ids", made, "arrow", boundaries="position_ids", **settings)
    rows = [
        row
        for path in sorted((tmp_path / "ids" / "train").glob("*.arrow"))
        for row in pa.ipc.open_stream(path.read_bytes()).read_all().to_pylist()
    ]
    assert [row["input_ids"] for row in rows] == [sample["input_ids"] for sample in samples]
    for row, sample in zip(rows, samples, strict=True):
        lengths = np.diff(sample["cu_seqlens"])
        assert row["position_ids"] == [position for length in lengths for position in range(length)]
    exports.export(tmp_path / "padded", made, "megatron", pad=str(EOS), **settings)
    padded = exports.sequences(tmp_path / "padded")
    assert {len(found) for found in padded} == {size}
    assert [found[: len(row["input_ids"])] for found, row in zip(padded, rows, strict=True)] == [
        tuple(row["input_ids"]) for row in rows
    ]
    padding = exports.manifest(tmp_path / "padded")["splits"]["train"]["padding"]
    assert padding == sum(size - len(row["input_ids"]) for row in rows)
    assert sum(found.count(EOS) for found in padded) == padding


def command(run: Path, output: Path, *flags: object) -> list[str]:
    return runs.command("export", "--run", run, "--output", output, "--format", "mds", "--shard_tokens", 60_000, *flags)


def test_the_same_bytes_with_more_workers_and_after_kills(finished: Path, tmp_path: Path) -> None:
    exports.export(tmp_path / "here", finished, "mds", shard_tokens=60_000)
    expected = exports.digests(tmp_path / "here", "train", "provenance", "README.md")
    assert len(expected) > 12
    killed = subprocess.Popen(
        command(finished, tmp_path / "out", "--direct_num_workers", 2), cwd=runs.ROOT, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while not list((tmp_path / "out").glob("provenance/*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "out" / "export.json").exists()
    there = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("provenance/*.parquet")}
    first = min(there)
    first.write_bytes(first.read_bytes()[:-100])  # cut short
    again = command(finished, tmp_path / "out", "--direct_num_workers", 2)
    subprocess.run(again, cwd=runs.ROOT, check=True, capture_output=True, timeout=120)
    assert exports.digests(tmp_path / "out", "train", "provenance", "README.md") == expected
    assert all(path.stat().st_mtime_ns == time_ for path, time_ in there.items() if path != first)


def test_another_export_in_the_same_place_is_refused(made: Path, tmp_path: Path) -> None:
    exports.export(tmp_path / "out", made, "megatron")
    before = exports.digests(tmp_path / "out")
    with pytest.raises(NotExportable, match="seed: 0 there, 5 now"):
        exports.export(tmp_path / "out", made, "megatron", seed=5)
    (tmp_path / "other" / "train").mkdir(parents=True)
    (tmp_path / "other" / "train" / "file").touch()
    with pytest.raises(NotExportable, match="no plan of an export"):
        exports.export(tmp_path / "other", made, "megatron")
    assert exports.digests(tmp_path / "out") == before


def test_runs_that_are_changed_unfinished_or_of_another_tokenizer_are_refused(made: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(made, run)
    with pytest.raises(NotExportable, match="named twice"):
        exports.export(tmp_path / "out", [run, run])
    (run / "run.json").rename(run / "gone")
    with pytest.raises(NotExportable, match="no finished run"):
        exports.export(tmp_path / "out", run)
    (run / "gone").rename(run / "run.json")
    other = run / "tokens" / "0000009-00000.parquet"
    pq.write_table(pq.read_table(next((run / "tokens").iterdir())).replace_schema_metadata(), other)
    with pytest.raises(NotExportable, match=r"0000009-00000\.parquet wasn't made by run"):
        exports.export(tmp_path / "out", run)
    other.unlink()
    plan = (run / "plan.json").read_text()
    (run / "plan.json").write_text(plan.replace('"tokenizer_sha256": "', '"tokenizer_sha256": "0'))
    with pytest.raises(NotExportable, match="another tokenizer"):
        exports.export(tmp_path / "out", [made, run])
    assert not (tmp_path / "out").exists()


def test_a_column_that_is_not_there_is_named(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ToldError, match=r"no column 'topic'; it has input_ids, n_tokens"):
        exports.export(tmp_path / "out", made, where="topic == 'x'")
    assert not (tmp_path / "out").exists()


def test_limits_that_broke_others_hold() -> None:
    """On lengths alone: over 2^31 tokens and bytes in a file, and more than 4 GiB in a shard."""
    lengths = np.full(3_000, 1 << 20)
    parts = index(lengths, 2)
    offsets = parts[5]
    assert offsets[-1] == 2_999 * 2**21 > 2**32 and offsets.dtype == np.int64
    tokens = np.lib.stride_tricks.as_strided(np.zeros(1, np.uint16), (2**31 + 5,), (0,))
    starts = np.array([0, 5, 2**31 + 5])
    huge = Sequences(tokens, starts, starts[:-1], len(tokens))
    target = Target("/nowhere")
    plan = ["tokens of a sequence", "bytes of an MDS shard"]
    for format, what in zip(("megatron", "mds"), plan, strict=True):
        with pytest.raises(ToldError, match=rf"{what}: [\d,]+ in one file"):
            FORMATS[format].write(huge, target, 0, 1, options_of(format))
    assert not target.objects


def options_of(format: str) -> object:
    from transforms.export.options import ExportOptions
    from transforms.export.selection import Selection

    return ExportOptions("", format, Selection(), 1, "none", 0, (-1,), (-1,), (-1,), (-1,), -1, "none", 2)
