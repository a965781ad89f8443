"""A run from bucket to bucket: the local run's rows, pinned sources, clear refusals, no credentials said."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pyarrow.parquet as pq
import pytest

from beam_pipeline import embedded_postgres
from tests import runs, s3
from tests.s3_proxy import Request
from tests.s3_store import Store, store_in, table


@pytest.fixture(scope="module")
def store(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with store_in(tmp_path_factory.mktemp("store")) as store:
        store.fill(corpus)
        yield store


@pytest.fixture(scope="module")
def done(store: Store) -> tuple[subprocess.CompletedProcess[str], list[Request]]:
    """A run with input, output, configuration, tokenizer and language model in buckets, and its requests."""
    store.proxy.requests.clear()
    completed = store.run("run")
    return completed, list(store.proxy.requests)


def test_the_rows_are_those_of_the_local_run(done: object, store: Store, finished: Path) -> None:
    objects = store.objects("run")
    local = runs.digests(finished)
    assert set(objects) == set(local)
    for name, data in objects.items():
        mine, other = table(data), pq.read_table(finished / name)
        if name.startswith("tokens/"):
            places = [uri.rpartition("/")[2] for uri in mine["source"].to_pylist()]
            assert places == [uri.rpartition("/")[2] for uri in other["source"].to_pylist()]
            mine, other = mine.drop_columns("source"), other.drop_columns("source")
        assert mine.equals(other), name
    assert store.manifest("run")["counts"] == runs.manifest(finished)["counts"]


def test_requests_are_few_and_counted(done: tuple[object, list[Request]], store: Store) -> None:
    _, requests = done
    manifest = store.manifest("run")
    steps = manifest["steps"]

    def passed(method: str, path: str) -> list[Request]:
        return [request for request in requests if request.method == method and request.path.startswith(path)]

    sources = passed("GET", "/data/in/part-")
    reading = [steps[name] for name in ("SplitShards", "ReadDocuments", "ReadKept", "AuditDuplicates")]
    # Before the work, planning has looked at the first rows; it has asked for other things, too.
    for kind, counted in (("get", len(sources)), ("bytes_read", sum(request.sent for request in sources))):
        of_steps = sum(step[kind] for step in reading)
        assert of_steps <= counted <= of_steps + steps["Plan"][kind]
    row_groups = 3 * 6
    assert steps["ReadDocuments"]["get"] <= 3 * row_groups
    assert steps["ReadKept"]["get"] <= 3 * row_groups
    shards = len(store.keys("out", "run/tokens/"))
    for name in ("fingerprints", "tokens"):
        step = steps[{"fingerprints": "WriteFingerprints", "tokens": "WriteTokens"}[name]]
        written = passed("PUT", f"/out/run/{name}/")
        assert len(written) == step["put"] == shards
        assert sum(request.received for request in written) == step["bytes_written"]
    storage = manifest["storage"]
    assert storage["requests"]["get"] == sum(step.get("get", 0) for step in steps.values())
    assert 0.8 * len(requests) <= sum(storage["requests"].values()) <= len(requests)
    assert storage["stored_bytes"] == sum(len(data) for data in store.objects("run").values())
    assert storage["cost"]["requests"] > 0


def test_nothing_says_the_credentials(done: tuple[subprocess.CompletedProcess[str], object], store: Store) -> None:
    completed, _ = done
    said = (completed.stdout + completed.stderr).encode()
    for key in store.keys("out", "run"):
        said += store.get("out", key)
    with psycopg.connect(embedded_postgres.start()) as connection:
        for name in ("runs", "sources", "segments"):
            for row in connection.execute(f"SELECT {name}::text FROM {name}").fetchall():
                said += str(row).encode()
    assert b"s3://data/in/part-0.parquet" in said
    assert s3.SECRET_KEY.encode() not in said
    assert s3.ACCESS_KEY.encode() not in said


def test_a_source_replaced_between_the_passes_is_never_mixed_in(store: Store) -> None:
    old = store.get("data", "in/part-1.parquet")
    new = store.get("data", "in/part-2.parquet")
    written: list[str] = []

    def replace(method: str, path: str) -> None:
        if method == "PUT" and path.startswith("/out/replaced/fingerprints/"):
            written.append(path)
            if len(written) == 7:
                store.put("data", "in/part-1.parquet", new)

    store.proxy.done = replace
    try:
        failed = store.run("replaced", status=1)
        store.proxy.done = lambda method, path: None
        assert "s3://data/in/part-1.parquet: the object was changed during the run" in failed.stderr
        assert not store.keys("out", "replaced/tokens/0000001-")
        refused = store.run("replaced", status=2)
        assert "s3://data/in/part-1.parquet: changed since the run was planned" in refused.stderr
    finally:
        store.proxy.done = lambda method, path: None
        store.put("data", "in/part-1.parquet", old)
    store.run("replaced")
    assert store.objects("replaced") == store.objects("run")


def refused(completed: subprocess.CompletedProcess[str], *wanted: str) -> None:
    """One line of complaint that says these things and no secret."""
    lines = [line for line in completed.stderr.splitlines() if " INFO " not in line]
    assert len(lines) == 1, completed.stderr
    assert lines[0].startswith("beam_pipeline: ")
    for text in wanted:
        assert text in completed.stderr
    assert s3.SECRET_KEY not in completed.stderr
    assert s3.ACCESS_KEY not in completed.stderr


def test_wrong_credentials_are_named_at_once(store: Store) -> None:
    store.proxy.requests.clear()
    done = store.run("refused", status=2, AWS_SECRET_ACCESS_KEY="a-wrong-secret")
    refused(done, "s3://data/config.yaml", "denied", "credentials from env")
    assert "a-wrong-secret" not in done.stderr
    assert len(store.proxy.requests) == 1


def test_a_missing_bucket_is_named_before_any_work(store: Store) -> None:
    done = store.run("x", "--output", "s3://no-such-bucket/x", status=2)
    refused(done, "s3://no-such-bucket/x/", "no such bucket", "credentials from env")


def test_a_read_only_bucket_is_named_before_any_work(store: Store) -> None:
    with s3.serve(store.server.folder, "--readonly") as endpoint:
        done = store.run("read-only", status=2, AWS_ENDPOINT_URL=endpoint)
    refused(done, "s3://out/read-only/plan.json", "PutObject denied", "credentials from env")
    assert not store.keys("out", "read-only/")


def test_uris_of_other_stores_are_refused(store: Store) -> None:
    refused(store.run("x", "--output", "ftp://out/x", status=2), "ftp://out/x", "ftp:// isn't supported")
