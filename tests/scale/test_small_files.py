"""A hundred thousand files of twenty short documents, and twenty thousand on S3: time, memory, and a trace by source.

``make scale-small-files`` runs it: a quarter of an hour.
"""

from __future__ import annotations

import concurrent.futures
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from beam_pipeline.sample import tokenizer_path
from benchmarks.cpu import measure
from tests import runs
from tests.postgres import public_folder
from tests.s3_store import TOKENIZER, store_in

FILES, FILES_ON_S3, DOCUMENTS, WORDS = 100_000, 20_000, 20, 25
MOST_SECONDS, MOST_BYTES = 300, 10**9
MOST_SECONDS_A_SOURCE = 0.003
"""On a disk. On S3 it is only told: two GETs by boto3 are 2.4 ms of CPU, and the server is on the same two cores."""


def contents(number: int, words: list[str]) -> bytes:
    """Twenty documents of 25 words; one in fourteen is a copy of one of an earlier file."""
    lines = []
    for row in range(DOCUMENTS):
        of = number
        while of > 1 and (of * DOCUMENTS + row) % 14 == 3:
            of //= 2
        text = " ".join(random.Random(of * DOCUMENTS + row).choices(words, k=WORDS))
        lines.append(json.dumps({"id": f"{number}/{row}", "text": text}).encode() + b"\n")
    return b"".join(lines)


def vocabulary() -> list[str]:
    return sorted({word for text in runs.sample_texts() for word in text.split() if word.isalpha() and word.isascii()})


@pytest.fixture
def data() -> Iterator[Path]:
    """Where the embedded PostgreSQL keeps its data: pytest's folders are closed to the user that runs it for root."""
    with public_folder() as folder:
        yield folder


def write(files: int, put: Callable[[str, bytes], Any]) -> None:
    words = vocabulary()
    for number in range(files):
        put(f"{number % 1000:03}/{number:06}.jsonl", contents(number, words))


def start_up(tmp_path: Path, run: Callable[[str, str], float]) -> float:
    """Seconds of a run on one file, once everything is compiled."""
    run("one", "warm")
    return run("one", "start")


def check(output: dict[str, Any], files: int, seconds: float, start: float, peak: int, what: str, most: float) -> None:
    counts = output["counts"]
    assert counts["documents"] == files * DOCUMENTS
    assert output["unreadable"] == []
    copies = sum(counts["dropped"].values()) / counts["documents"]
    assert 0.06 < copies < 0.08, counts
    each = (seconds - start) / files
    sys.stderr.write(
        f"\n{files:,} files {what}: {seconds:.0f} s, of which {start:.0f} s are those of a run on one file: "
        f"{each * 1e3:.2f} ms a file; the largest process {peak / 1e6:.0f} MB\n"
    )
    assert seconds < MOST_SECONDS
    assert peak < MOST_BYTES
    assert each < most


def test_a_hundred_thousand_files(tmp_path: Path, data: Path) -> None:
    def put(name: str, content: bytes) -> None:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    write(FILES, put)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.jsonl").write_bytes((tmp_path / "in" / "000" / "000000.jsonl").read_bytes())

    def run(source: str, output: str) -> tuple[float, int]:
        arguments = ["--input", tmp_path / source, "--output", tmp_path / output, "--tokenizer", tokenizer_path()]
        cost, _ = measure(runs.command(*arguments), {"BEAM_PIPELINE_DATA_DIR": str(data)}, runs.ROOT)
        return cost.wall, cost.peak_bytes

    start = start_up(tmp_path, lambda source, output: run(source, output)[0])
    seconds, peak = run("in", "out")
    check(runs.manifest(tmp_path / "out"), FILES, seconds, start, peak, "on a disk", MOST_SECONDS_A_SOURCE)
    objects = list((tmp_path / "out" / "tokens").iterdir())
    assert len(objects) <= 6
    assert sum(pq.read_metadata(file).num_rows for file in objects) > 0.9 * FILES * DOCUMENTS

    source = tmp_path / "in" / "077" / "054077.jsonl"
    began = time.perf_counter()
    done = subprocess.run(
        runs.command("trace", "--output", tmp_path / "out", "--source", source, "--row", 7, "--text", "--json"),
        cwd=runs.ROOT, env=runs.environment(BEAM_PIPELINE_DATA_DIR=str(data)),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    sys.stderr.write(f"a trace by source, the command's start included: {time.perf_counter() - began:.1f} s\n")
    assert found["source_uri"] == str(source)
    assert found["text"]["source"] == json.loads(source.read_bytes().splitlines()[7])["text"]


def test_twenty_thousand_objects_on_s3(tmp_path: Path, data: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with store_in(tmp_path / "store") as store:
        store.fill(tmp_path / "nothing")
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            write(FILES_ON_S3, lambda name, content: threads.submit(store.put, "data", f"in/{name}", content))
        store.put("data", "one/a.jsonl", contents(0, vocabulary()))
        environment = store.environment | {
            "AWS_ENDPOINT_URL": store.server.endpoint, "BEAM_PIPELINE_DATA_DIR": str(data)
        }  # fmt: skip

        def run(source: str, output: str) -> tuple[float, int]:
            arguments = ["--input", f"s3://data/{source}/", "--output", f"s3://out/{output}", "--tokenizer", TOKENIZER]
            cost, _ = measure(runs.command(*arguments), environment, runs.ROOT)
            return cost.wall, cost.peak_bytes

        start = start_up(tmp_path, lambda source, output: run(source, output)[0])
        seconds, peak = run("in", "out")
        contents_of = store.manifest("out")
        check(contents_of, FILES_ON_S3, seconds, start, peak, "on S3", MOST_SECONDS / FILES_ON_S3)
        steps = contents_of["steps"]
        assert steps["ReadDocuments"]["get"] <= 1.01 * FILES_ON_S3 + 50
        done = subprocess.run(
            runs.command(
                "trace", "--output", "s3://out/out", "--source", "077/015077.jsonl", "--row", 7, "--json"
            ),
            cwd=runs.ROOT, env=runs.environment(**environment), capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert json.loads(done.stdout)["source_uri"] == "s3://data/in/077/015077.jsonl"


if __name__ == "__main__":
    sys.exit(pytest.main(["-s", __file__]))
