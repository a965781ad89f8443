"""What storage promises of ``gs://`` and ``az://``: the same of both, as of S3 (tests/test_storage_s3.py)."""

from __future__ import annotations

import concurrent.futures
import gc
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests import runs
from tests.s3_proxy import in_front_of
from tests.stores import servers
from transforms.io import storage
from transforms.io.storage import azure, google

SCHEMES = {"gs": servers.google, "az": servers.azure}


@pytest.fixture(scope="module", params=SCHEMES)
def environment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with SCHEMES[request.param](tmp_path_factory.mktemp(request.param) / "store") as found:
        yield found | {"SCHEME": request.param}


@pytest.fixture
def folder(
    environment: dict[str, str], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A prefix that no other test uses."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    google.close()
    azure.close()
    yield f"{environment['SCHEME']}://bucket/{re.sub('[^a-z0-9]+', '-', request.node.name)}"
    google.close()
    azure.close()


def listed(uri: str) -> list[str]:
    return sorted(info.uri for info in storage.list_objects(uri))


def test_write_stat_read_delete(folder: str) -> None:
    uri = storage.join(folder, "a b", "grün+%41.bin")
    storage.write(uri, b"first")
    before = storage.stat(uri)
    storage.write(uri, memoryview(b"second"))
    info = storage.stat(uri)
    assert info is not None
    assert (info.uri, info.size) == (uri, 6)
    assert info != before
    assert storage.read_bytes(uri) == b"second"
    assert list(storage.list_objects(folder)) == [info]
    storage.delete(uri)
    storage.delete(uri)
    assert storage.stat(uri) is None
    storage.write(uri, b"")
    assert storage.read_bytes(uri) == b""
    assert list(storage.list_unfinished(folder)) == []


def test_listing_of_keys_prefixes_and_globs(folder: str) -> None:
    names = "in/a.parquet in/b.jsonl in/sub/c.parquet in/_SUCCESS in/.x.crc in/_tmp/d.parquet inside/e.parquet"
    for name in names.split():
        storage.write(f"{folder}/{name}", b"x")
    data = [f"{folder}/in/{name}" for name in ("a.parquet", "b.jsonl", "sub/c.parquet")]
    assert listed(f"{folder}/in") == listed(f"{folder}/in/") == data
    assert listed(f"{folder}/in/_SUCCESS") == [f"{folder}/in/_SUCCESS"]
    assert listed(f"{folder}/in/**/*.parquet") == [data[0], data[2]]
    assert listed(f"{folder}/in*/?.parquet") == [data[0], f"{folder}/inside/e.parquet"]
    for nothing in ("nothing", "ins", "in/*.nothing"):
        with pytest.raises(storage.NotFound, match=re.escape(f"{folder}/{nothing}")):
            listed(f"{folder}/{nothing}")


def test_a_pinned_object_that_changes_is_refused(folder: str) -> None:
    uri = f"{folder}/x"
    storage.write(uri, os.urandom(200_000))
    pinned = storage.stat(uri)
    assert pinned is not None
    with storage.open_input(uri, pinned.etag, pinned.size) as file:
        file.read(10)
        storage.write(uri, os.urandom(200_000))
        file.seek(150_000)
        with pytest.raises(storage.SourceChanged, match=re.escape(uri)):
            file.read(10)
    with pytest.raises(storage.SourceChanged, match=re.escape(uri)):
        storage.open_input(uri, pinned.etag)
    with storage.open_input(uri) as file:
        storage.delete(uri)
        with pytest.raises(storage.StorageError, match=re.escape(uri)):
            file.read()
    with pytest.raises(storage.NotFound, match=re.escape(uri)):
        storage.read_bytes(uri)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # sockets of answers that were cut
@pytest.mark.parametrize("fault", ["cut", "reset", "503"])
def test_passing_faults_are_ridden_out(
    environment: dict[str, str], folder: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of them than the libraries ride out by themselves."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    data = os.urandom(200_000)
    uri = f"{folder}/x"
    (name,) = environment.keys() - {"SCHEME"}
    endpoint = re.search(r"http://127\.0\.0\.1:\d+", environment[name])
    assert endpoint
    with in_front_of(endpoint[0]) as proxy:
        monkeypatch.setenv(name, environment[name].replace(endpoint[0], proxy.endpoint))
        storage.write(uri, data)
        info = storage.stat(uri)
        assert info is not None
        proxy.faults = [fault] * 6
        with storage.open_input(uri, info.etag, info.size) as file:
            assert file.read() == data
        proxy.faults = [fault] * 6
        assert list(storage.list_objects(f"{folder}/")) == [info]
        proxy.faults = [fault] * 6
        storage.write(uri, data[:1000])
        assert storage.read_bytes(uri) == data[:1000]
        google.close()
        azure.close()
        gc.collect()


def test_credentials_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nothing.json")
    google.close()
    with pytest.raises(storage.AccessDenied, match=r"GOOGLE_APPLICATION_CREDENTIALS .*/nothing\.json"):
        storage.stat("gs://bucket/x")
    google.close()


def test_a_large_object_appears_whole_when_it_is_done(folder: str) -> None:
    data = os.urandom(90 << 20)
    uri = f"{folder}/x"
    with storage.open_output(uri) as file:
        for start in range(0, len(data), 3 << 20):
            file.write(data[start : start + (3 << 20)])
        assert storage.stat(uri) is None
    assert storage.read_bytes(uri) == data
    with storage.open_input(uri) as file:
        for start, size in ((0, 4), (3, 100_000), (len(data) - 4, 10), (5_000_000, 9 << 20)):
            file.seek(start)
            assert file.read(size) == data[start : start + size]


@pytest.mark.parametrize("size", [10, 70 << 20])
def test_an_exception_leaves_what_was_there(folder: str, size: int) -> None:
    uri = f"{folder}/x"
    for there in (None, b"old"):
        if there:
            storage.write(uri, there)
        with pytest.raises(RuntimeError), storage.open_output(uri) as file:
            file.write(bytes(size))
            raise RuntimeError
        assert (storage.read_bytes(uri) if storage.stat(uri) else None) == there


def test_two_writers_of_one_object_both_succeed(folder: str) -> None:
    data = os.urandom(70 << 20)
    uri = f"{folder}/x"
    with storage.open_output(uri) as one, storage.open_output(uri) as other:
        one.write(data)
        other.write(data)
    assert storage.read_bytes(uri) == data


def test_one_of_many_creates_an_object(folder: str) -> None:
    uri = storage.join(folder, "plan.json")
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        won = list(pool.map(lambda number: storage.create(uri, b"%d" % number), range(6)))
    assert sum(won) == 1
    assert storage.read_bytes(uri) == b"%d" % won.index(True)
    assert storage.create(uri, storage.read_bytes(uri)), "a repeated request finds its own object"


def test_missing_buckets_and_wrong_uris_are_named(folder: str) -> None:
    scheme = folder.partition("://")[0]
    with pytest.raises(storage.StorageError, match="no-such-bucket"):
        storage.write(f"{scheme}://no-such-bucket/x", b"x")
    for wrong in (f"{scheme}://", f"{scheme}:///key", f"{scheme}://bucket", f"{scheme}://bucket/folder/"):
        with pytest.raises(storage.WrongUri, match=f"the form is {scheme}://"):
            storage.stat(wrong)


def test_a_run_from_bucket_to_bucket_makes_the_rows_of_a_local_one(folder: str, tmp_path: Path) -> None:
    for file in runs.write_corpus(tmp_path / "in"):
        storage.write(f"{folder}/in/{file.name}", file.read_bytes())
    runs.run(f"{folder}/in/", f"{folder}/out")
    runs.run(tmp_path / "in", tmp_path / "out")
    remote = [info.uri for info in storage.list_objects(f"{folder}/out/tokens/")]
    local = sorted((tmp_path / "out/tokens").rglob("*.parquet"))
    assert len(remote) == len(local) > 0
    for uri, path in zip(sorted(remote), local, strict=True):
        with storage.open_input(uri) as found:
            assert pq.read_table(found).drop("source").equals(pq.read_table(path).drop("source"))
