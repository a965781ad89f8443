"""Where the fault matrix runs, and what is seen of a run: a Flink cluster, an S3 server and a PostgreSQL, all real."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import yaml

from benchmarks import inputs
from runners.flink_local import Cluster
from tests import flink_runs, postgres, runs, s3
from tests.fault_filters import Faulty
from tests.flink_runs import PATIENCE_SECONDS
from tests.s3_store import Store, store_in

FLAGS = {"batch": ("--no-streaming",), "streaming": ("--streaming", "--checkpointing_interval=2000")}
"""By mode. Checkpoints come often, so that a run goes on from one, or dies in one."""

SHARDS = 24
ROW_GROUPS_A_SHARD = 4


def write_input(folder: Path, corpus: Path | None, size: int) -> int:
    """Two Parquet files with ``size`` bytes of the corpus' texts (0: all; no corpus: generated); a shard's bytes."""
    if corpus is None:
        inputs.generate(folder / "generated", size)
        corpus = folder / "generated"
    table = inputs.read(corpus)
    table = inputs.evenly_spread(table, size) if size else table
    half = len(table) // 2
    (folder / "in").mkdir(parents=True)
    for number, part in enumerate((table.slice(0, half), table.slice(half))):
        rows = max(1, len(table) // (SHARDS * ROW_GROUPS_A_SHARD))
        pq.write_table(part, folder / "in" / f"part-{number}.parquet", compression="zstd", row_group_size=rows)
    return inputs.text_bytes(table) // SHARDS


@dataclasses.dataclass
class Site:
    """Everything a run needs. All of it can be killed.

    Attributes:
      switches: the folder that tells ``Faulty`` to fail.
      logs: the output of every command, and of a case that failed, the cluster's logs.
      expected: the objects that DirectRunner has written, by name.
      counts: of that run.
    """

    cluster: Cluster
    store: Store
    postgres: postgres.Server
    switches: Path
    logs: Path
    expected: dict[str, bytes] = dataclasses.field(default_factory=dict)
    counts: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def shards(self) -> int:
        """How many the input has."""
        return len(self.expected) // 2

    @property
    def slots(self) -> int:
        """How many shards can be in work at once."""
        return self.cluster.task_managers * self.cluster.slots

    def make_expectation(self) -> None:
        """One run on DirectRunner."""
        self.store.run("expected", "--lineage_dsn", self.postgres.dsn, timeout=PATIENCE_SECONDS)
        self.expected, self.counts = self.store.objects("expected"), self.store.manifest("expected")["counts"]

    def start(self, output: str, mode: str) -> Run:
        """Starts the command on the cluster, which is whole and idle."""
        self._reset()
        self.cluster.up()
        # A TaskManager that was killed counts as one until a few heartbeats are missed.
        until(
            lambda: len(self.cluster.ask("/taskmanagers")["taskmanagers"]) == self.cluster.task_managers,
            "the cluster has forgotten dead TaskManagers",
        )
        return Run(self, output, mode)

    def _reset(self) -> None:
        """No switch is on, no request is known."""
        self.store.proxy.requests.clear()
        self.store.proxy.faults.clear()
        for file in self.switches.iterdir():
            file.unlink()

    def rebuild(self, kept: Path) -> None:
        """After a case that failed: keeps the cluster's logs, and makes a new cluster."""
        shutil.copytree(self.cluster.folder / "logs", kept, dirs_exist_ok=True)
        self.cluster.down()
        self.cluster.up()


@contextlib.contextmanager
def site_in(folder: Path, corpus: Path | None, size: int, logs: Path) -> Iterator[Site]:
    """A site that is there while the block runs."""
    shard_bytes = write_input(folder, corpus, size)
    switches = folder / "switches"
    switches.mkdir()
    faulty = {"use": f"{Faulty.__module__}:{Faulty.__qualname__}", "arguments": {"folder": str(switches)}}
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    with postgres.system_server() as server, store_in(folder) as store:
        store.fill(
            folder / "in", yaml.safe_dump({"shard_bytes": shard_bytes, "filters": [faulty], "check_steps": False})
        )
        os.environ.update(s3.environment(store.proxy.endpoint))  # TaskManagers' workers have it from here
        with flink_runs.cluster_up() as cluster:
            site = Site(cluster, store, server, switches, logs)
            site.make_expectation()
            yield site


def until(condition: Callable[[], bool], what: str) -> None:
    """Waits until it is so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"after {PATIENCE_SECONDS} s: not {what}"
        time.sleep(0.05)


class Run:
    """One command at work, its output in a file; what is seen of it are its requests to the store."""

    def __init__(self, site: Site, output: str, mode: str):
        self.site, self.output = site, output
        self.log = site.logs / f"{output}.log"
        self.started = time.time()
        self.seconds = 0.0
        self.commands = 0
        self._flags = (*flink_runs.on(site.cluster), *FLAGS[mode], "--lineage_dsn", site.postgres.dsn)
        self.repeat()

    def repeat(self) -> None:
        """Gives the command once more."""
        self.commands += 1
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.site.store.command(self.output, *self._flags), cwd=runs.ROOT, env=self.site.store.environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def wait(self) -> int:
        """The exit status."""
        try:
            return self._process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the run hangs: not done after {PATIENCE_SECONDS} s:\n{self.said()}") from None
        finally:
            self.seconds = time.time() - self.started

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def said(self) -> str:
        """What all commands of this output have printed."""
        return self.log.read_text()

    def commits(self) -> list[tuple[float, str]]:
        """When each stage object was written, and its name; one that was written twice is there twice."""
        return [(at, name) for method, at, status, name in self._requests() if method == "PUT" and status == 200]

    def begun(self) -> collections.Counter[str]:
        """How often work on each stage object was begun: by asking for it and not finding it."""
        return collections.Counter(
            name for method, _, status, name in self._requests() if method == "GET" and status == 404
        )

    def again(self) -> int:
        """How often work was begun that had been begun before."""
        return sum(self.begun().values()) - len(self.begun())

    def _requests(self) -> Iterator[tuple[str, float, int, str]]:
        for request in list(self.site.store.proxy.requests):
            path = urllib.parse.urlsplit(request.path).path.removeprefix(f"/out/{self.output}/")
            if path.startswith(("fingerprints/", "tokens/")):
                yield request.method, request.at, request.status, path

    def restarts(self) -> int:
        """The failures that Flink knows of this run's jobs; those of a dead JobManager are forgotten."""
        run = json.loads(self.site.store.get("out", f"{self.output}/plan.json"))["run"]
        jobs = [job["jid"] for job in self.site.cluster.ask("/jobs/overview")["jobs"] if job["name"].endswith(run)]
        return sum(len(self.site.cluster.ask(f"/jobs/{job}/exceptions")["exceptionHistory"]["entries"]) for job in jobs)

    def assert_whole(self) -> None:
        """Byte-identical, the same counts, and every document in the lineage once."""
        found = self.site.store.objects(self.output)
        assert found.keys() == self.site.expected.keys()
        assert [name for name in found if found[name] != self.site.expected[name]] == []
        manifest = self.site.store.manifest(self.output)
        assert manifest["counts"] == self.site.counts
        with psycopg.connect(self.site.postgres.dsn) as connection:
            [(rows, places)] = connection.execute(
                "SELECT count(*), count(DISTINCT (source_uri, source_row)) FROM lineage WHERE run = %s",
                [manifest["run"]],
            ).fetchall()
            states = connection.execute(
                "SELECT state, count(*) FROM segments WHERE run = %s GROUP BY state", [manifest["run"]]
            ).fetchall()
        assert rows == places == self.site.counts["documents"]
        assert states == [("done", self.site.shards)]
