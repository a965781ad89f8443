"""Exports read back by the libraries of trainers, in an environment without ours (``TRAINERS``: its Python)."""

from __future__ import annotations

import collections
import itertools
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests import exports, runs

READ = Path(__file__).with_name("read.py")
FORMATS = ("megatron", "mds", "arrow", "parquet", "numpy")


def trainers(*arguments: object) -> str:
    """Runs a script in the trainers' environment; returns what it printed."""
    python = Path(os.environ["TRAINERS"]).absolute()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"HF_HUB_OFFLINE": "1"}
    environment["OMP_NUM_THREADS"] = "1"  # more wait for one another on a busy machine
    done = subprocess.run(
        [str(python), *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def read(format: str, folder: Path, work: Path) -> list[tuple[int, ...]]:
    """All sequences, as the library has them."""
    trainers(READ, format, folder, work / "read.npz")
    with np.load(work / "read.npz") as found:
        bounds = np.concatenate([[0], np.cumsum(found["lengths"])])
        tokens = found["tokens"]
    return [tuple(tokens[a:b].tolist()) for a, b in itertools.pairwise(bounds)]


@pytest.fixture(scope="session")
def run_to_export(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run over ``CORPUS``, a folder of Parquet, if it is there; else over the tests' own."""
    corpus = os.environ.get("CORPUS", "")
    if not corpus:
        return finished
    output = tmp_path_factory.mktemp("corpus-run") / "out"
    runs.run(Path(corpus), output, timeout=1800)
    return output


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("packing", ["none", "best-fit"])
def test_every_token_of_every_document_in_the_planned_order(
    run_to_export: Path, format: str, packing: str, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"eos": "<|endoftext|>"}
    if packing != "none":
        settings |= {"packing": packing, "sequence_length": 1024}
    padded = {"pad": "<|endoftext|>"} if format == "numpy" and packing != "none" else {}
    exports.export(tmp_path / "out", run_to_export, format, **settings, **padded)
    exports.export(tmp_path / "own", run_to_export, "parquet", **settings, **padded)
    expected = exports.sequences(tmp_path / "own")
    found = read(format, tmp_path / "out" / "train", tmp_path)
    if format == "numpy":
        assert [token for part in found for token in part] == [token for part in expected for token in part]
    else:
        assert found == expected
    if packing == "none":
        end = runs.reference_tokenizer().token_to_id("<|endoftext|>")
        documents = exports.documents_of(run_to_export).values()  # the run may have ended them itself
        there = collections.Counter(ids if ids[-1] == end else (*ids, end) for ids in documents if ids)
        assert collections.Counter(expected) == there


def test_both_splits_are_a_dataset_dict(finished: Path, tmp_path: Path) -> None:
    exports.export(tmp_path / "out", finished, "arrow", holdout=0.1)
    script = f"import datasets; d = datasets.load_from_disk({str(tmp_path / 'out')!r}); print(dict(d.num_rows))"
    said = trainers("-c", script)
    splits = exports.manifest(tmp_path / "out")["splits"]
    assert said.strip() == str({name: split["sequences"] for name, split in splits.items()})


def test_a_tiny_model_learns(run_to_export: Path, tmp_path: Path) -> None:
    exports.export(tmp_path, run_to_export, "numpy", eos="<|endoftext|>")
    said = trainers(runs.ROOT / "examples" / "train.py", tmp_path / "train")
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+)", said)]
    assert len(losses) > 3 and losses[-1] < 0.8 * losses[0]
    print(said)  # noqa: T201 - what the target is for


def test_ten_thousand_tokens_stand_in_the_texts_they_are_traced_to(corpus: Path, tmp_path: Path) -> None:
    """With the text beside the tokens: the traced token is the one that the reference tokenizer has at its place."""
    from beam_pipeline.export import trace

    runs.run(corpus, tmp_path / "run", "--with_text", "--eos", "<|endoftext|>", "--direct_num_workers", 2)
    rows = {
        row["id"]: row
        for path in (tmp_path / "run" / "tokens").iterdir()
        for row in pq.read_table(path, columns=["id", "text", "source", "source_row"]).to_pylist()
    }
    tokenizer, generator = runs.reference_tokenizer(), np.random.default_rng(0)
    plan = exports.export(
        tmp_path / "out", tmp_path / "run", "mds", packing="concatenate", sequence_length=512, shard_tokens=100_000
    )
    samples = exports.samples(tmp_path / "out" / "train")
    files = [  # which file and sequence each sample is
        (f"shard.{number:05d}.mds", sequence)
        for split, number in plan.files
        for sequence in range(trace.ProvenanceIndex(plan.output, split, number).written.sequences)
    ]
    encoded: dict[int, Any] = {}
    asked = 0
    for sample in generator.integers(len(samples), size=10_000):
        ids = samples[sample]["input_ids"]
        position = int(generator.integers(len(ids)))
        said = trace.trace_token(plan, *files[sample], position)
        row = rows[said["document"]]
        assert (said["source"], said["source_row"]) == (row["source"], row["source_row"])
        if said["document"] not in encoded:
            encoded[said["document"]] = tokenizer.encode(row["text"], add_special_tokens=False)
        found = encoded[said["document"]]
        if said["document_token"] < len(found.ids):
            assert found.ids[said["document_token"]] == ids[position]
            asked += 1
            begin, end = found.offsets[said["document_token"]]
            word = tokenizer.decode([ids[position]]).replace("\ufffd", "").strip()
            assert word in row["text"][max(0, begin - 1) : end + 1]
        else:
            assert ids[position] == tokenizer.token_to_id("<|endoftext|>")
    assert asked > 9_900


@pytest.mark.parametrize("workers", [1, 4])
def test_the_same_bytes_with_any_number_of_workers(finished: Path, workers: int, tmp_path: Path) -> None:
    exports.export(tmp_path / "here", finished, "arrow", shard_tokens=60_000)
    flags = ("--format", "arrow", "--shard_tokens", 60_000, "--direct_num_workers", workers)
    command = runs.command("export", "--run", finished, "--output", tmp_path / "out", *flags)
    subprocess.run(command, cwd=runs.ROOT, check=True, capture_output=True, timeout=300)
    parts = ("train", "provenance", "README.md")
    assert exports.digests(tmp_path / "out", *parts) == exports.digests(tmp_path / "here", *parts)


def test_ten_kills_leave_no_trace(finished: Path, tmp_path: Path) -> None:
    exports.export(tmp_path / "here", finished, "mds", shard_tokens=30_000, parts=3)
    flags = ("--format", "mds", "--shard_tokens", 30_000, "--parts", 3, "--direct_num_workers", 2)
    command = runs.command("export", "--run", finished, "--output", tmp_path / "out", *flags)
    generator, killed = np.random.default_rng(9), 0
    while killed < 10:
        process = subprocess.Popen(command, cwd=runs.ROOT, start_new_session=True, stderr=subprocess.DEVNULL)
        done = len(list((tmp_path / "out").glob("provenance/*.parquet")))
        deadline = time.monotonic() + 60
        while len(list((tmp_path / "out").glob("provenance/*.parquet"))) <= done and time.monotonic() < deadline:
            time.sleep(float(generator.uniform(0, 0.2)))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        killed += 1
        for path in sorted((tmp_path / "out").glob("provenance/*.parquet"))[2 * (killed % 2) + 1 :]:
            path.unlink()  # more to do for the next
    subprocess.run(command, cwd=runs.ROOT, check=True, capture_output=True, timeout=300)
    parts = ("train", "provenance", "README.md")
    assert exports.digests(tmp_path / "out", *parts) == exports.digests(tmp_path / "here", *parts)
