"""The fault matrix on a real Flink cluster: whatever dies, nothing is lost or there twice, and little is done again.

Runs go from bucket to bucket of a real S3 server, with their lineage in a real PostgreSQL. Set by the environment:

  FAULT_RUNS       runs for each fault and mode (5)
  FAULT_FREE_RUNS  runs in a row without a fault, for each mode (10)
  FAULT_INPUT      a folder of Parquet; without it, text is generated
  FAULT_MB         how much of it (40); 0: all
  FAULT_SEED       of the random moments; printed, to have the same again
  FAULT_LOGS       where the output of every run is, and what a failed one has left (out/faults)
"""

from __future__ import annotations

import contextlib
import os
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from tests import runs
from tests.faults import flink_site
from tests.faults.flink_report import Case, recorded
from tests.faults.flink_site import FLAGS, Run, Site
from tests.faults.flink_strikes import FAULTS, Fault, draw

RUNS, FREE_RUNS = int(os.environ.get("FAULT_RUNS") or 5), int(os.environ.get("FAULT_FREE_RUNS") or 10)
SEED = os.environ.get("FAULT_SEED") or str(random.randrange(10**6))

each_mode = pytest.mark.parametrize("mode", FLAGS)


@pytest.fixture(scope="module")
def site(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    corpus = Path(os.environ["FAULT_INPUT"]).resolve() if os.environ.get("FAULT_INPUT") else None
    size = int(float(os.environ.get("FAULT_MB") or 40) * 1e6)
    logs = Path(os.environ.get("FAULT_LOGS") or runs.ROOT / "out" / "faults")
    with flink_site.site_in(tmp_path_factory.mktemp("site"), corpus, size, logs) as site:
        Console().print(
            f"\nFAULT_SEED={SEED}: {site.shards} shards, {site.counts['documents']:,} documents of "
            f"{corpus or 'generated text'}, {site.slots} at once; logs in {logs}",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
        yield site


@pytest.fixture(scope="module")
def undisturbed(site: Site) -> Callable[[str], list[float]]:
    """When each object was written in the first run of a mode without a fault."""
    known: dict[str, list[float]] = {}

    def of(mode: str) -> list[float]:
        if mode not in known:
            with case(site, "none", mode, 0) as (run, _):
                assert run.wait() == 0, run.said()
            known[mode] = [at for at, _ in run.commits()]
        return known[mode]

    return of


@contextlib.contextmanager
def case(site: Site, fault: str, mode: str, number: int) -> Iterator[tuple[Run, Case]]:
    """A run on the site; when the block is through with it, its output must be whole and little done twice."""
    name = re.sub(r"\W+", "-", f"{mode} {fault} {number}")
    with recorded(Case(fault, mode)) as record:
        run = site.start(name, mode)
        try:
            yield run, record
            record.seconds, record.again, record.restarts = run.seconds, run.again(), run.restarts()
            run.assert_whole()
            in_flight = site.slots * (record.restarts + run.commands - 1)
            assert record.again <= in_flight, f"done again, where {in_flight} were in flight: {run.begun()}"
        except BaseException:
            run.kill()
            site.rebuild(site.logs / name)
            raise


@pytest.mark.parametrize("number", range(FREE_RUNS))
@each_mode
def test_a_run_without_fault_loses_nothing(
    site: Site, undisturbed: Callable[[str], list[float]], mode: str, number: int
) -> None:
    if number == 0:
        undisturbed(mode)
        return
    with case(site, "none", mode, number) as (run, _):
        assert run.wait() == 0, run.said()


@pytest.mark.parametrize("number", range(RUNS))
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@each_mode
def test_a_fault_costs_what_was_in_flight(
    site: Site, undisturbed: Callable[[str], list[float]], mode: str, fault: Fault, number: int
) -> None:
    chance = random.Random(f"{SEED} {mode} {fault.name} {number}")
    moment = draw(chance, undisturbed(mode))
    with case(site, fault.name, mode, number) as (run, record):
        moment.wait(run)
        finished = {name for _, name in run.commits()}
        record.moment = f"{len(finished)} of {2 * site.shards} objects were written"
        fault.strike(site, run, chance)
        status = run.wait()
        if fault.ends_command:
            assert status == 1, run.said()
            assert re.search(r"failed: FlinkJobNotFoundException: .*\n.*run the same command to go on", run.said())
            run.repeat()
            status = run.wait()
        assert status == 0, run.said()
        written = [name for _, name in run.commits()]
        assert [name for name in written if name in finished and written.count(name) > 1] == []


@pytest.mark.parametrize("number", range(RUNS))
@each_mode
def test_a_shard_that_always_fails_is_named_and_all_else_is_kept(
    site: Site, undisturbed: Callable[[str], list[float]], mode: str, number: int
) -> None:
    chance = random.Random(f"{SEED} {mode} always {number}")
    moment = draw(chance, undisturbed(mode), passes=(1,))
    with case(site, "a shard always raises", mode, number) as (run, record):
        moment.wait(run)
        (site.switches / "raise-always").touch()
        record.moment = f"{len(run.commits())} of {2 * site.shards} objects were written"
        assert run.wait() == 1, run.said()
        named = re.findall(r"Faulty failed at shard (\S+) \(.*this shard always fails", run.said())
        assert len(set(named)) == 1, run.said()
        finished = {name for _, name in run.commits()}
        assert f"fingerprints/{named[0]}.parquet" not in finished
        (site.switches / "raise-always").unlink()
        run.repeat()
        assert run.wait() == 0, run.said()
        written = [name for _, name in run.commits()]
        assert [name for name in written if name in finished and written.count(name) > 1] == []
