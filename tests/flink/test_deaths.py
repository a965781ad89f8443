"""What dies on Flink: shards that kill their workers are set aside, and what doesn't come back isn't waited for."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from runners.flink_local import Cluster
from tests import flink_runs, runs
from tests.fault_filters import Aborts, Gate
from tests.flink_runs import PATIENCE_SECONDS, SMALL_SHARDS, on

SILENCE_SECONDS = 15
MOST_SECONDS = 60
"""From the death of what doesn't come back to the end of the command."""


@pytest.mark.parametrize("mode", ["--no-streaming", "--streaming"])
def test_a_shard_that_kills_its_worker_twice_is_set_aside(
    cluster: Cluster, corpus: Path, tmp_path: Path, mode: str
) -> None:
    table = pq.read_table(corpus / "part-1.parquet")
    texts = table["text"].to_pylist()
    texts[250] = "A document with the word zanzibarium in it, and no other has it."
    deadly = tmp_path / "deadly.parquet"
    pq.write_table(table.set_column(1, "text", pa.array(texts, pa.string())), deadly, row_group_size=100)
    dead, output = tmp_path / "dead", tmp_path / "out"
    dead.mkdir()
    config = _config(tmp_path, Aborts, word="zanzibarium", folder=str(dead), times=1000)
    sources = [corpus / "part-0.parquet", corpus / "part-2.parquet", deadly]
    flags = (*SMALL_SHARDS, "--config", config, *on(cluster), mode)
    done = runs.run(sources, output, *flags, status=3, timeout=PATIENCE_SECONDS)
    [unreadable] = runs.manifest(output)["unreadable"]
    assert unreadable["uri"] == str(deadly)
    assert re.match(
        r"set aside: \d workers were killed by SIGABRT at work on it \(.*fault_filters", unreadable["reason"]
    )
    assert len(list(dead.iterdir())) <= 3  # the witness may take longer than Flink to begin again
    answer = runs.ask("status", "--output", output)
    assert answer["state"] == "done"
    assert answer["shards"]["unreadable"] == 1
    assert answer["shards"]["done"] == len(list((output / "tokens").glob("*.parquet"))) > 12
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("mode", ["--no-streaming", "--streaming"])
@pytest.mark.parametrize(
    ("victims", "said"),
    [
        (("workers-1", "workers-2"), "workers-1, workers-2 of the Flink cluster in .* died"),
        (("taskmanager-1", "taskmanager-2"), "taskmanager-1, taskmanager-2 of the Flink cluster in .* died"),
        (("jobmanager",), "jobmanager of the Flink cluster in .* died"),
    ],
)
def test_what_is_gone_is_named_and_not_waited_for(
    cluster: Cluster, corpus: Path, tmp_path: Path, mode: str, victims: tuple[str, ...], said: str
) -> None:
    """The same command finishes the run once ``flink-local up`` has brought back what was killed."""
    output, gate = tmp_path / "out", tmp_path / "gate"
    gate.mkdir()
    flags = (*SMALL_SHARDS, "--config", _config(tmp_path, Gate, folder=str(gate), passing=4), *on(cluster), mode)
    command = flink_runs.start(corpus, output, *flags, "--max_silence", SILENCE_SECONDS)
    try:
        flink_runs.until(lambda: len(list(gate.glob("waiting-*"))) == 2, "both workers wait", command)
        for name in victims:
            os.killpg(cluster.pid(name) or 0, signal.SIGKILL)
        killed = time.monotonic()
        output_text, _ = command.communicate(timeout=PATIENCE_SECONDS)
        seconds = time.monotonic() - killed
    finally:
        command.kill()
        command.wait()
        (gate / "open").touch()
        cluster.up()
    assert seconds < MOST_SECONDS, output_text
    assert command.returncode == 1
    assert re.search(said, output_text), output_text
    assert "`python -m beam_pipeline flink-local up` brings" in output_text
    assert "Traceback" not in output_text
    assert runs.ask("status", "--output", output)["state"] == "failed"
    runs.run(corpus, output, *flags, timeout=PATIENCE_SECONDS)
    assert runs.manifest(output)["unreadable"] == []
    assert not (output / "deaths").exists()


def _config(place: Path, used: type, **arguments: object) -> Path:
    file = place / "config.yaml"
    file.write_text(
        yaml.safe_dump(
            {"check_steps": False, "filters": [{"use": f"{used.__module__}:{used.__name__}", "arguments": arguments}]}
        )
    )
    return file
