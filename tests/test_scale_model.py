"""The model of scale does what can be worked out by hand, and names what is busiest."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.scale_model import GB, MB, TB, Cluster, Job, Rates, simulate

RATES = Rates(first_pass=1 / (40 * MB), last_pass=1 / (40 * MB), pass2=1e-6, start_up=10.0, block=0.0)
JOB = Job(text_bytes=64 * GB, stored_bytes=24 * GB, documents=20e6, shards=480)
IDEAL = Cluster(workers=16, stream=1e15, requests=0, network=1e15, disk=1e15, straggling=0.0)
FREE_DATABASE = dataclasses.replace(RATES, database=0)


def test_an_even_run_takes_its_work_by_its_workers() -> None:
    outcome = simulate(JOB, FREE_DATABASE, IDEAL)
    work = 2 * JOB.text_bytes / (40 * MB) + 20
    assert outcome.seconds == pytest.approx(10 + work / 16)
    assert outcome.efficiency == pytest.approx(work / (work + 160))
    assert outcome.cpu_hours == pytest.approx((work + 160) / 3600)
    assert outcome.bottleneck == "workers"


def test_the_last_shard_decides_when_they_do_not_divide() -> None:
    one_more = dataclasses.replace(JOB, shards=481, text_bytes=JOB.text_bytes * 481 / 480)
    shard = JOB.text_bytes / 480 / (40 * MB)
    longer = (
        simulate(one_more, FREE_DATABASE, IDEAL).passes["pass 1"] - simulate(JOB, FREE_DATABASE, IDEAL).passes["pass 1"]
    )
    assert longer == pytest.approx(shard)


@pytest.mark.parametrize(("workers", "cores"), [(1, 1), (2, 2), (4, 2)])
def test_every_worker_fills_its_own_caches(workers: int, cores: int) -> None:
    small = dataclasses.replace(JOB, text_bytes=4 * GB, shards=16)
    place = dataclasses.replace(IDEAL, workers=workers, cores=cores)
    cold = dataclasses.replace(FREE_DATABASE, first_warm_up=3.0)
    passes = [simulate(small, rates, place).passes["pass 1"] for rates in (cold, FREE_DATABASE)]
    assert passes[0] - passes[1] == pytest.approx(3 * workers / cores, abs=0.3)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_more_workers_than_cores_are_no_faster(workers: int) -> None:
    small = dataclasses.replace(JOB, text_bytes=4 * GB, shards=16)
    one = simulate(small, FREE_DATABASE, dataclasses.replace(IDEAL, workers=1)).passes["pass 1"]
    place = dataclasses.replace(IDEAL, workers=workers, cores=min(workers, 2))
    assert simulate(small, FREE_DATABASE, place).passes["pass 1"] == pytest.approx(one / min(workers, 2), rel=0.02)


@pytest.mark.parametrize(
    ("name", "rates", "cluster"),
    [
        ("PostgreSQL", dataclasses.replace(RATES, database=10_000), IDEAL),
        ("store's bandwidth", FREE_DATABASE, dataclasses.replace(IDEAL, store=100 * MB)),
        ("store's requests", FREE_DATABASE, dataclasses.replace(IDEAL, requests=50.0)),
    ],
)
def test_what_is_too_slow_is_busiest_and_sets_the_pace(name: str, rates: Rates, cluster: Cluster) -> None:
    outcome = simulate(JOB, rates, cluster)
    assert outcome.bottleneck == name
    assert outcome.busy[name] > 0.9
    assert outcome.seconds > 1.2 * simulate(JOB, FREE_DATABASE, IDEAL).seconds


def test_losses_and_stragglers_cost_time_and_the_seed_decides_them() -> None:
    rough = dataclasses.replace(IDEAL, straggling=0.3, losses=20.0, replacement=30.0)
    outcome = simulate(JOB, FREE_DATABASE, rough)
    assert outcome.reworked > 0
    assert outcome.seconds > simulate(JOB, FREE_DATABASE, IDEAL).seconds
    assert outcome == simulate(JOB, FREE_DATABASE, rough)
    assert outcome != simulate(JOB, FREE_DATABASE, rough, seed=2)


def test_the_reference_job_is_played_in_seconds() -> None:
    job = Job(text_bytes=18 * TB, stored_bytes=7 * TB, documents=6e9, shards=134_000)
    outcome = simulate(job, FREE_DATABASE, dataclasses.replace(IDEAL, workers=5000))
    assert outcome.passes["pass 1"] == pytest.approx(27 * 18 * TB / 134_000 / (40 * MB), rel=0.05)


def test_pass_2_takes_what_its_documents_blocks_and_bytes_take() -> None:
    job = Job(text_bytes=18 * TB, stored_bytes=7 * TB, documents=6e9, shards=134_000)
    assert job.blocks == 134_000 * 2 * 30_000
    assert JOB.blocks == 480 * 2 * 100
    rates = dataclasses.replace(FREE_DATABASE, block=1e-5, shuffle_bytes=300.0)
    place = dataclasses.replace(IDEAL, workers=1000, network=100 * MB, disk=50 * MB)
    share = 300 * job.documents / 1000
    expected = (1e-6 * job.documents + 1e-5 * job.blocks) / 1000 + 2 * share / (100 * MB) + 2 * share / (50 * MB)
    assert simulate(job, rates, place).passes["pass 2"] == pytest.approx(expected)
