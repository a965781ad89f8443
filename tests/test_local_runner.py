"""The local runner: work is shared out while it is done, the largest first."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.worker import data_plane

from beam_pipeline.options import beam_options
from runners import local_runner
from tests import runs
from transforms.spread import Spread

SECONDS = 0.04
"""What a unit of work takes: sleeping, so that a busy machine doesn't blur it."""


@dataclasses.dataclass(frozen=True)
class Piece:
    name: str
    size: int


class Work(beam.DoFn):
    """Sleeps, and leaves a file that says who did it: its name and the process; for the piece "bad", it fails."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def process(self, piece: Piece) -> None:
        place = Path(self._folder, f"{time.monotonic_ns():020}-{os.getpid()}-{piece.name}")
        place.write_text(str(piece.size))
        place.with_suffix(".threads").write_text(os.environ.get("OMP_NUM_THREADS", ""))
        Metrics.counter("test", "pieces").inc()
        time.sleep(piece.size * SECONDS)
        if piece.name == "bad":
            raise ValueError("a bad piece")


def carry_out(folder: Path, pieces: list[Piece], workers: int = 2) -> tuple[dict[str, list[int]], int]:
    """Sizes by process in the order in which they were done, and how many pieces were counted."""
    folder.mkdir()
    root = beam.Pipeline(options=beam_options(["--direct_num_workers", str(workers)]))
    _ = root | beam.Create(pieces) | "Spread" >> Spread() | "Work" >> beam.ParDo(Work(str(folder)))
    try:
        result = root.run()
        result.wait_until_finish()
        counted = result.metrics().query(MetricsFilter().with_name("pieces"))["counters"]
    finally:
        done: dict[str, list[int]] = {}
        for file in sorted(folder.glob("*[!s]")):
            done.setdefault(file.name.split("-")[1], []).append(int(file.read_text()))
    return done, sum(count.result for count in counted)


def test_no_thread_flushes_what_goes_to_a_worker() -> None:
    # Beam's flushes a buffer by `send(buffer.get()); buffer.clear()`: what the runner has written between is lost.
    assert local_runner.NAME  # importing it, which options for this runner do, sets the limit
    servicer = data_plane.BeamFnDataServicer(worker_handlers.DATA_BUFFER_TIME_LIMIT_MS)
    stream = servicer.get_conn_by_worker_id("worker").output_stream("bundle", "transform")
    assert not isinstance(stream, data_plane.TimeBasedBufferingClosableOutputStream)


def pieces_of(sizes: list[int]) -> list[Piece]:
    return [Piece(f"piece-{number}", size) for number, size in enumerate(sizes)]


@pytest.mark.parametrize(
    "sizes",
    [[14, 30, 60, 100], [100, 60, 30, 14], [10] * 16, [1] * 40 + [60, 2, 3, 25], list(range(12))],
    ids=["four uneven", "the other way round", "sixteen", "one long", "rising"],
)
def test_no_worker_waits_long(tmp_path: Path, sizes: list[int]) -> None:
    done, counted = carry_out(tmp_path / "done", pieces_of(sizes))
    assert sorted(size for of_worker in done.values() for size in of_worker) == sorted(sizes)
    assert counted == len(sizes)
    assert len(done) == 2
    assert max(sum(of_worker) for of_worker in done.values()) <= sum(sizes) / 1.8


def test_the_largest_come_first(tmp_path: Path) -> None:
    sizes = [3, 1, 4, 0, 5, 9, 2, 6]
    done, _ = carry_out(tmp_path / "done", pieces_of(sizes))
    for of_worker in done.values():
        assert of_worker == sorted(of_worker, reverse=True)


def test_a_worker_has_one_thread_for_each_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    carry_out(tmp_path / "done", pieces_of([0, 0]))
    assert {file.read_text() for file in (tmp_path / "done").glob("*.threads")} == {"1"}


def test_many_more_pieces_than_bundles(tmp_path: Path) -> None:
    done, counted = carry_out(tmp_path / "done", pieces_of([0] * 500), workers=3)
    assert counted == sum(map(len, done.values())) == 500


def test_nothing_to_do(tmp_path: Path) -> None:
    done, counted = carry_out(tmp_path / "done", [])
    assert not done
    assert not counted


def test_a_failure_ends_it_and_nothing_more_is_begun(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="a bad piece"):
        carry_out(tmp_path / "done", [Piece("bad", 50), *pieces_of([40] * 30)])
    # The other worker is at its second piece when the first one's fails.
    assert len(list((tmp_path / "done").glob("*.threads"))) <= 4


def test_a_single_worker(tmp_path: Path) -> None:
    done, counted = carry_out(tmp_path / "done", pieces_of([1, 2, 3]), workers=1)
    assert list(done) == [str(os.getpid())]
    assert counted == 3


THREADS = """
import os, sys
sys.argv[1:] = {arguments}
{first}
import numpy
threads = len(os.listdir("/proc/self/task"))
import pyarrow
print(threads, pyarrow.cpu_count(), os.environ.get("RAYON_NUM_THREADS"))
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core has one thread anyway")
def test_the_command_limits_blas_and_arrow_before_numpy_is_there() -> None:
    def ask(first: str, arguments: list[str]) -> list[str]:
        plain = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
        script = THREADS.format(first=first, arguments=arguments)
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=runs.ROOT, env=plain, capture_output=True, text=True, check=True
        )
        return done.stdout.split()

    [threads, arrow, rayon] = ask("", [])
    assert int(threads) > 1, "numpy starts a thread a core by itself; if it doesn't any more, runners.threads can go"
    assert int(arrow) > 1
    assert rayon == "None"
    assert ask("import beam_pipeline.__main__", ["--input", "texts"])[1:] == ["1", "1"]
    assert ask("import runners.threads; runners.threads.limit()", []) == ["1", "1", "1"]
    assert ask("import beam_pipeline.__main__", ["train-tokenizer"])[2] == "None"
