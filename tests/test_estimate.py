"""``--plan`` estimates a run from a sample, writes nothing, and stands beside the actual figures afterwards."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from beam_pipeline.estimation import estimate
from beam_pipeline.prices import Prices, compare, cost_summary, total_requests
from beam_pipeline.sample import documents_path, tokenizer_path
from beam_pipeline.settings import Settings
from tests import runs
from transforms.kernels.deduplication.near_duplicate_estimate import duplicate_share
from transforms.kernels.deduplication.options import Deduplication


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More documents than ``corpus`` has, so that a sample says something."""
    folder = tmp_path_factory.mktemp("many")
    runs.write_corpus(folder, files=4, documents=3000, seed=5)
    return folder


def plan(corpus: Path, tmp_path: Path, fraction: float) -> dict:
    return estimate(
        Settings(
            input=[str(corpus)], output=str(tmp_path / "out"), tokenizer=str(tokenizer_path()), plan_fraction=fraction
        )
    )


def test_the_prediction_stands_beside_the_actual_figures(many: Path, tmp_path: Path) -> None:
    arguments = ["--input", many, "--output", tmp_path / "out", "--tokenizer", tokenizer_path()]
    planned = subprocess.run(
        runs.command(*arguments, "--plan", "--plan_fraction", 0.2), cwd=runs.ROOT, capture_output=True, check=True
    )
    assert not (tmp_path / "out").exists()
    (tmp_path / "prediction.json").write_bytes(planned.stdout)
    runs.run(many, tmp_path / "out", "--prediction", tmp_path / "prediction.json")
    shown = runs.manifest(tmp_path / "out")["prediction"]
    assert shown["documents"] == {"predicted": 12000, "actual": 12000}
    # The text is full of copies of copies, whose number the sample overrates.
    assert shown["tokens"]["predicted"] == pytest.approx(shown["tokens"]["actual"], rel=0.2)
    assert shown["stored_bytes"]["predicted"] == pytest.approx(shown["stored_bytes"]["actual"], rel=0.2)
    assert shown["cost.cpu"]["predicted"] > 0


def test_all_documents_are_no_sample(corpus: Path, finished: Path, tmp_path: Path) -> None:
    predicted, manifest = plan(corpus, tmp_path, 1.0), runs.manifest(finished)
    assert predicted["documents"] == manifest["counts"]["documents"]
    assert predicted["tokens"] == pytest.approx(manifest["tokens"], rel=0.05)


def test_json_lines_are_counted_by_their_bytes(tmp_path: Path) -> None:
    lines = [line for line in documents_path().read_bytes().splitlines() if line.strip()]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    assert plan(tmp_path / "in", tmp_path, 0.5)["documents"] == len(lines)


def test_the_share_of_duplicates_is_that_of_pairs_over_the_square_of_the_share() -> None:
    generator = np.random.default_rng(1)
    hashes = generator.integers(0, 2**63, 20_000).astype(">u8")
    hashes[10_000:14_000] = hashes[:4_000]  # a fifth are copies
    chosen = hashes[generator.random(len(hashes)) < 0.25]
    batch = pa.RecordBatch.from_pydict(
        {
            "content_hash": pa.array([bytes(16 - 8) + value.tobytes() for value in chosen], pa.binary(16)),
            "signature": pa.nulls(len(chosen), pa.binary(256)),
            "shingles": pa.nulls(len(chosen), pa.large_binary()),
            "bands": pa.nulls(len(chosen), pa.binary(8 * 14)),
        }
    )
    assert duplicate_share([batch], Deduplication(), len(chosen) / len(hashes)) == pytest.approx(0.2, abs=0.03)
    assert duplicate_share([batch[:0]], Deduplication(), 0.5) == 0


def test_the_bill_adds_up() -> None:
    steps = {"A": {"get": 3.0, "cpu": 1.0}, "B": {"put": 2.0, "get": 1.0, "bytes_read": 7.0}, "C": {"list": 1.0}}
    requests = total_requests(steps)
    assert (requests["get"], requests["put"], requests["list"], requests["bytes_read"]) == (4, 2, 1, 7)
    made = cost_summary(requests, 7200, 5 * 10**9, Prices(get=1000, put=2000, gb_month=3, cpu_hour=4))
    assert made["cost"] == {"requests": 10.0, "cpu": 8.0, "storage_per_month": 15.0}
    assert compare({"a": 1, "b": {"c": 2}, "x": 1}, {"a": 3, "b": {"c": 4}}) == {
        "a": {"predicted": 1, "actual": 3},
        "b.c": {"predicted": 2, "actual": 4},
    }
