"""Workers of DirectRunner that die, or can't be reached: the run ends at once and says why, or goes on."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from beam_pipeline import embedded_postgres
from beam_pipeline.sample import tokenizer_path
from runners import fork_server
from runners.direct import how_it_ended
from tests import runs
from tests.fault_filters import Aborts, AbortsLater, Slow

LARGE_SHARDS, SMALL_SHARDS = ("--shard_bytes", "300KiB"), ("--shard_bytes", "100KiB")
TWO_WORKERS = ("--direct_num_workers", 2)
MOST_SECONDS = 60
NOBODY = "http://127.0.0.1:9"
"""A proxy that isn't there."""


@contextlib.contextmanager
def _started(corpus: Path, output: Path, *flags: object) -> Iterator[subprocess.Popen[str]]:
    """The command, which is at work, and not under nohup if the tests are; nothing of it is left after the block."""
    arguments = runs.command("--input", corpus, "--output", output, "--tokenizer", tokenizer_path(), *flags)
    arguments = ["env", "--default-signal=HUP", *arguments]
    with subprocess.Popen(
        arguments, cwd=runs.ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as command:
        try:
            yield command
        finally:
            command.kill()


def _workers(command: subprocess.Popen[str]) -> list[psutil.Process]:
    """The worker processes of a command, once there is one."""
    while command.poll() is None:
        found = [child for child in psutil.Process(command.pid).children(recursive=True) if _is_worker(child)]
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"the command has ended before it had workers:\n{command.communicate()[0]}")


def _is_worker(process: psutil.Process) -> bool:
    try:
        return process.name() == fork_server.WORKER_NAME.decode()
    except psutil.NoSuchProcess:  # it has ended meanwhile
        return False


def _config(place: Path, used: type, **arguments: object) -> Path:
    """Settings with one filter, which is in ``tests.fault_filters``."""
    file = place / "config.yaml"
    filters = [{"use": f"{used.__module__}:{used.__name__}", "arguments": arguments}]
    file.write_text(yaml.safe_dump({"check_steps": False, "filters": filters}))
    return file


def test_localhost_never_goes_through_a_proxy(
    corpus: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, NOBODY)
    done = runs.run(corpus, tmp_path / "out", *LARGE_SHARDS, *TWO_WORKERS)
    assert runs.digests(tmp_path / "out") == runs.digests(finished)
    # What it says are our lines, each once: nothing of Beam's, in whose workers a lot is said.
    lines = [line for line in done.stderr.splitlines() if "INFO" in line or "WARNING" in line]
    eos, run = [line for line in lines if "PostgreSQL" not in line and "shards" not in line]
    assert "each document ends with" in eos
    assert "3 sources" in run


@pytest.mark.parametrize("when", ["as it starts", "in the middle"])
def test_a_worker_that_is_killed_ends_the_run(corpus: Path, tmp_path: Path, when: str) -> None:
    config = _config(tmp_path, Slow, seconds=2.0)
    output = tmp_path / "out"
    with _started(corpus, output, "--config", config, *SMALL_SHARDS, *TWO_WORKERS) as command:
        workers = _workers(command)
        while when != "as it starts" and not list((output / "fingerprints").glob("*.parquet")):
            assert command.poll() is None, command.communicate()[0]
            time.sleep(0.05)
        workers[0].kill()
        killed = time.monotonic()
        said, _ = command.communicate(timeout=MOST_SECONDS)
    assert time.monotonic() - killed < MOST_SECONDS
    assert command.returncode == 1
    assert f"worker process {workers[0].pid} was killed by signal 9 (SIGKILL): out of memory?" in said
    assert "run the same command to go on" in said
    assert "Traceback" not in said
    assert runs.ask("status", "--output", output)["state"] == "failed"
    assert not any(worker.is_running() for worker in workers)


def _deadly(folder: Path, corpus: Path, times: int = 1000) -> tuple[list[Path], tuple[object, ...]]:
    """Sources of which row 250 of the second kills its worker, and the flags of a run over them."""
    table = pq.read_table(corpus / "part-1.parquet")
    texts = table["text"].to_pylist()
    texts[250] = "A document with the word zanzibarium in it, and no other has it."
    (folder / "in").mkdir()
    (folder / "dead").mkdir()
    deadly = folder / "in" / "part-1.parquet"
    pq.write_table(table.set_column(1, "text", pa.array(texts, pa.string())), deadly, row_group_size=100)
    config = _config(folder, Aborts, word="zanzibarium", folder=str(folder / "dead"), times=times)
    return [corpus / "part-0.parquet", deadly, corpus / "part-2.parquet"], ("--config", config, *SMALL_SHARDS)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_shard_that_kills_its_worker_twice_is_set_aside(corpus: Path, tmp_path: Path, workers: int) -> None:
    sources, flags = _deadly(tmp_path, corpus)
    output = tmp_path / "out"
    done = runs.run(sources, output, *flags, "--direct_num_workers", workers, status=3)
    [unreadable] = runs.manifest(output)["unreadable"]
    assert unreadable["uri"] == str(sources[1])
    assert unreadable["reason"].startswith("set aside: 2 workers were killed by SIGABRT at work on it")
    assert "fault_filters.py" in unreadable["reason"]
    assert len(list((tmp_path / "dead").iterdir())) == 2
    said = [line for line in done.stderr.splitlines() if "WARNING" in line]
    for number, line in enumerate(said, 1):
        assert f"{sources[1]}: shard 0000002-00002 has killed its worker by SIGABRT" in line
        assert f"death {number} of max_deaths 2; going on" in line
    assert len(said) == 2
    assert "Traceback" not in done.stderr
    # All the rest is done.
    counts, answer = runs.manifest(output)["counts"], runs.ask("status", "--output", output)
    assert answer["state"] == "done"
    assert answer["shards"]["unreadable"] == 1
    assert answer["shards"]["done"] == len(list((output / "tokens").glob("*.parquet"))) > 8

    # What was broken is mended and the notes are removed: the same command does the shard, too.
    (tmp_path / "dead" / "mended").touch()
    for note in (output / "deaths").iterdir():
        note.unlink()
    runs.run(sources, output, *flags, "--direct_num_workers", workers)
    assert counts["documents"] < runs.manifest(output)["counts"]["documents"] == 1800


def test_one_death_sets_nothing_aside(corpus: Path, tmp_path: Path) -> None:
    sources, flags = _deadly(tmp_path, corpus, times=1)
    runs.run(sources, tmp_path / "out", *flags, *TWO_WORKERS)
    assert runs.manifest(tmp_path / "out")["unreadable"] == []
    assert runs.manifest(tmp_path / "out")["counts"]["documents"] == 1800
    assert len(list((tmp_path / "out" / "deaths").iterdir())) == 1


def test_a_shard_that_kills_its_worker_in_the_last_pass_is_no_witness(
    corpus: Path, finished: Path, tmp_path: Path
) -> None:
    """What was dropped for a document of it has to come back, also where tokens had been written before."""
    output = tmp_path / "out"
    config = _config(tmp_path, AbortsLater, shard="0000000-00000")
    done = runs.run(corpus, output, "--config", config, *LARGE_SHARDS, *TWO_WORKERS, status=3)
    [unreadable] = runs.manifest(output)["unreadable"]
    assert unreadable["uri"] == str(corpus / "part-0.parquet")
    assert "SIGABRT" in unreadable["reason"]
    assert "duplicates are found again without it" in done.stderr
    with psycopg.connect(embedded_postgres.start()) as connection:
        lineage = connection.execute(
            "SELECT source_uri, source_row, outcome, witness_uri, witness_row FROM lineage WHERE run = %s",
            [runs.manifest(output)["run"]],
        ).fetchall()
    kept = {(uri, row) for uri, row, outcome, *_ in lineage if outcome == "kept"}
    assert {(uri, row) for *_, outcome, uri, row in lineage if outcome == "dropped"} <= kept
    assert kept == _places(runs.tokens(output))
    assert kept - _places(runs.tokens(finished))


def _places(tokens: pa.Table) -> set[tuple[str, int]]:
    return set(zip(tokens["source"].to_pylist(), tokens["source_row"].to_pylist(), strict=True))


def test_workers_that_others_kill_set_nothing_aside(corpus: Path, tmp_path: Path) -> None:
    flags = ("--config", _config(tmp_path, Slow, seconds=1.0), *LARGE_SHARDS, *TWO_WORKERS)
    output = tmp_path / "out"
    for number in (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM):
        with _started(corpus, output, *flags) as command:
            workers = _workers(command)
            _until_at_work(command, output)
            for worker in workers:
                worker.send_signal(number)
            said, _ = command.communicate(timeout=MOST_SECONDS)
        assert f"was killed by signal {int(number)}" in said
        assert command.returncode == 1
    runs.run(corpus, output, *flags)
    assert runs.manifest(output)["unreadable"] == []
    assert not (output / "deaths").exists()


def _until_at_work(command: subprocess.Popen[str], output: Path) -> None:
    """Waits until a shard is being written or was."""
    while not (output / "fingerprints").exists() or not list((output / "fingerprints").iterdir()):
        assert command.poll() is None, command.communicate()[0]
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_status_says_of_a_command_that_was_ended_that_it_isnt_running(
    corpus: Path, tmp_path: Path, number: signal.Signals
) -> None:
    output = tmp_path / "out"
    with _started(corpus, output, "--config", _config(tmp_path, Slow, seconds=5.0), *TWO_WORKERS) as command:
        workers = _workers(command)
        _until_at_work(command, output)
        assert runs.ask("status", "--output", output)["state"] == "running"
        command.send_signal(number)
        said, _ = command.communicate(timeout=MOST_SECONDS)
    if number != signal.SIGKILL:
        assert "was stopped. What is done is kept; run the same command to go on." in said
        assert "Traceback" not in said
        assert command.returncode == 1
        assert not any(worker.is_running() for worker in workers)
        assert runs.ask("status", "--output", output)["state"] == "stopped"
        return
    run = json.loads((output / "plan.json").read_text())["run"]
    with psycopg.connect(embedded_postgres.start()) as connection:  # a minute later
        connection.execute("UPDATE runs SET heartbeat = heartbeat - interval '1 min' WHERE run = %s", [run])
    assert runs.ask("status", "--output", output)["state"] == "unattended"


def test_the_end_of_a_process_in_words() -> None:
    assert how_it_ended(3) == "has ended with exit status 3"
    assert how_it_ended(-signal.SIGSEGV) == "was killed by signal 11 (SIGSEGV)"
