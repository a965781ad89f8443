"""A discrete-event model of a run: N workers over M shards, what they share, stragglers and lost machines.

Workers get their shards dealt out in turn, as Flink's rebalancing and DirectRunner do, and work on one after the other:
fetch from the store, compute, commit to the store, segment to PostgreSQL. A pass ends when its last shard is done. What
is shared is a queue with a rate: the store's bandwidth and requests, the database. Pass 2 is an even share for each
worker of its CPU time, by documents and by blocks, and of what is shuffled, over the network and to the disk and back.

Everything in ``Rates`` is measured (``benchmarks.scale``); what is assumed stands in ``Cluster``, with its reason.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from typing import Any

import simpy

from transforms.kernels.deduplication.options import partitions_for

MB, GB, TB = 10**6, 10**9, 10**12
_SLICE_SECONDS = 0.1  # of a core that several workers share


@dataclasses.dataclass(frozen=True)
class Rates:
    """What one core does, and what a run costs whatever its size.

    Attributes:
      first_pass, last_pass: CPU seconds for a byte of text, all that belongs to a shard included, once caches are warm.
      first_warm_up, last_warm_up: CPU seconds of each worker in a pass until they are (words of the language model and
        of the tokenizer).
      pass2: CPU seconds for a document in pass 2, those of Flink included.
      block: CPU seconds for a block in pass 2. One goes from every shard to every hash range, twice: with very many of
        both, blocks are small and many (``python -m tests.scale.pass2``; docs/scale.md).
      start_up: seconds on the wall before the first shard and after the last.
      database: documents a second that PostgreSQL takes in as segments (`make test-lineage`: 4.4 M on two cores).
      fingerprint_bytes, token_bytes: written for a document and for a byte of text.
      shuffle_bytes: through the shuffles of pass 2, for a document.
    """

    first_pass: float
    last_pass: float
    pass2: float
    start_up: float
    database: float = 4.4e6
    fingerprint_bytes: float = 400.0
    token_bytes: float = 0.4
    shuffle_bytes: float = 280.0
    block: float = 2e-5
    first_warm_up: float = 0.0
    last_warm_up: float = 0.0


@dataclasses.dataclass(frozen=True)
class Job:
    """What is to be done: sizes in bytes, of all sources together."""

    text_bytes: float
    stored_bytes: float
    documents: float
    shards: int

    @property
    def blocks(self) -> float:
        """Of pass 2, from shards to hash ranges: content hashes and bands, a document in each at least."""
        ranges = partitions_for(int(self.documents))
        in_shard = self.documents / self.shards
        return self.shards * (min(ranges, in_shard) + min(ranges, 14 * in_shard))


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Where it is done, and what is assumed of the place.

    Attributes:
      workers: processes with one shard at a time.
      cores: that they share; as many as workers, unless it is said otherwise.
      stream: bytes a second of one connection to the store.
      store: bytes a second of all together; 0: no limit.
      requests: GET and PUT requests a second that the store answers.
      network: bytes a second of a worker's share of its machine's network.
      disk: bytes a second of its share of its machine's disk.
      straggling: spread of a shard's time around the mean (sigma of a log-normal).
      losses: of a worker in an hour (spot machines).
      replacement: seconds until a lost worker is back.
      task_deployment: seconds that Flink's JobManager takes for one task; it deploys one after the other.
      tasks: of each worker: the vertices of the job.
      gets, puts: requests for a shard in a text pass.
    """

    workers: int
    cores: int = 0
    stream: float = 80 * MB
    store: float = 0.0
    requests: float = 5_500.0
    network: float = 100 * MB
    disk: float = 100 * MB
    straggling: float = 0.2
    losses: float = 0.0
    replacement: float = 120.0
    task_deployment: float = 0.0
    tasks: int = 80
    gets: int = 12
    puts: int = 1


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the model says.

    Attributes:
      seconds: on the wall.
      passes: of them, by pass.
      efficiency: CPU seconds of useful work by those of all workers.
      cpu_hours: of all workers, idle or not.
      busy: share of the time that each shared thing was at work, in the longer of the two text passes.
      reworked: shards that were begun again after a loss.
    """

    seconds: float
    passes: dict[str, float]
    efficiency: float
    cpu_hours: float
    busy: dict[str, float]
    reworked: int

    @property
    def bottleneck(self) -> str:
        """What is busiest."""
        return max(self.busy, key=lambda name: self.busy[name])


class _Queue:
    """Something shared that does ``rate`` units a second, one after the other; 0: at once."""

    def __init__(self, environment: simpy.Environment, rate: float) -> None:
        self._environment, self._rate = environment, rate
        self._free = 0.0
        self.busy = 0.0

    def serve(self, units: float, at_least: float = 0.0) -> simpy.Event:
        """Done when the units are, and not before ``at_least`` seconds."""
        took = units / self._rate if self._rate else 0.0
        now = self._environment.now
        self._free = max(self._free, now) + took
        self.busy += took
        return self._environment.timeout(max(self._free - now, at_least))


class _TextPass:
    """One pass over the text."""

    def __init__(self, job: Job, rates: Rates, cluster: Cluster, last: bool, chance: random.Random) -> None:
        self.environment = simpy.Environment()
        self._job, self._cluster, self._chance = job, cluster, chance
        self._text = job.text_bytes / job.shards
        self._compute = (rates.last_pass if last else rates.first_pass) * self._text
        self._warm_up = rates.last_warm_up if last else rates.first_warm_up
        documents = job.documents / job.shards
        self._documents = documents if last else 0  # of a fingerprinted shard, there is one number
        self._written = rates.token_bytes * self._text if last else rates.fingerprint_bytes * documents
        self.store = _Queue(self.environment, cluster.store)
        self.requests = _Queue(self.environment, cluster.requests)
        self.database = _Queue(self.environment, rates.database)
        self._cores = simpy.Resource(self.environment, cluster.cores or cluster.workers)
        self.cpu = 0.0
        self.reworked = 0

    def run(self) -> float:
        """Seconds until the last shard is done."""
        workers = self._cluster.workers
        for worker in range(min(workers, self._job.shards)):
            self.environment.process(self._work(len(range(worker, self._job.shards, workers))))
        self.environment.run()
        return float(self.environment.now)

    def _work(self, shards: int) -> Iterator[Any]:
        cluster, environment = self._cluster, self.environment
        lost_at = self._next_loss()
        yield from self._computing(self._warm_up)
        for _ in range(shards):
            while True:
                stored = self._job.stored_bytes / self._job.shards
                yield self.requests.serve(cluster.gets)
                yield self.store.serve(stored, stored / cluster.stream)
                took = self._compute * self._chance.lognormvariate(-(cluster.straggling**2) / 2, cluster.straggling)
                if environment.now + took <= lost_at:
                    break
                self.reworked += 1
                yield environment.timeout(max(0.0, lost_at - environment.now) + cluster.replacement)
                lost_at = self._next_loss()
            self.cpu += took
            yield from self._computing(took)
            yield self.requests.serve(cluster.puts)
            yield self.store.serve(self._written, self._written / cluster.stream)
            yield self.database.serve(self._documents)

    def _computing(self, seconds: float) -> Iterator[Any]:
        if self._cluster.workers <= self._cores.capacity:
            yield self.environment.timeout(seconds)
            return
        while seconds > 0:  # more workers than cores: they take turns
            with self._cores.request() as core:
                yield core
                yield self.environment.timeout(min(seconds, _SLICE_SECONDS))
            seconds -= _SLICE_SECONDS

    def _next_loss(self) -> float:
        if not self._cluster.losses:
            return float("inf")
        return float(self.environment.now) + self._chance.expovariate(self._cluster.losses / 3600)


def simulate(job: Job, rates: Rates, cluster: Cluster, seed: int = 1) -> Outcome:
    """Plays one run. The same seed gives the same outcome."""
    chance = random.Random(seed)
    first, last = (_TextPass(job, rates, cluster, is_last, chance) for is_last in (False, True))
    cores = min(cluster.workers, cluster.cores or cluster.workers)
    share = rates.shuffle_bytes * job.documents / cluster.workers
    shuffle = share * (2 / cluster.network + 2 / cluster.disk)  # out and in, written and read
    pass2 = rates.pass2 * job.documents + rates.block * job.blocks
    passes = {
        "start-up": rates.start_up + cluster.task_deployment * cluster.tasks * cluster.workers,
        "pass 1": first.run(),
        "pass 2": pass2 / cores + shuffle,
        "pass 3": last.run(),
    }
    seconds = sum(passes.values())
    longer = first if passes["pass 1"] > passes["pass 3"] else last
    length = max(passes["pass 1"], passes["pass 3"])
    useful = first.cpu + last.cpu + pass2
    return Outcome(
        seconds=seconds,
        passes=passes,
        efficiency=useful / (cores * seconds),
        cpu_hours=cores * seconds / 3600,
        busy={
            "workers": longer.cpu / (cores * length),
            "store's bandwidth": longer.store.busy / length,
            "store's requests": longer.requests.busy / length,
            "PostgreSQL": longer.database.busy / length,
        },
        reworked=first.reworked + last.reworked,
    )
