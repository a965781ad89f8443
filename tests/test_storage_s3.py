"""What storage promises of S3, on a real server, with faults put in by a small proxy before it."""

from __future__ import annotations

import concurrent.futures
import os
import re
from collections.abc import Iterator
from pathlib import Path

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.shards import Source
from tests import s3
from tests.s3_proxy import Proxy, in_front_of
from transforms.io import storage
from transforms.io.readers import ReadOptions, read, split
from transforms.io.storage import s3_client


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with s3.serve(tmp_path_factory.mktemp("s3") / "buckets") as endpoint:
        yield endpoint


@pytest.fixture
def proxy(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with in_front_of(endpoint) as server:
        for name, value in s3.environment(server.endpoint).items():
            monkeypatch.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE"):
            monkeypatch.delenv(name, raising=False)
        s3_client.close()
        yield server
        s3_client.close()


@pytest.fixture
def bucket(proxy: Proxy, request: pytest.FixtureRequest) -> Iterator[str]:
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[-60:].strip("-")
    client = boto3.client("s3")
    client.create_bucket(Bucket=name)
    client.close()
    proxy.requests.clear()
    yield f"s3://{name}"


def listed(uri: str) -> list[str]:
    return sorted(info.uri for info in storage.list_objects(uri))


def methods(proxy: Proxy) -> list[str]:
    return [request.method for request in proxy.requests]


def test_write_stat_read_delete(bucket: str) -> None:
    uri = storage.join(bucket, "a b", "grün+%41.bin")
    storage.write(uri, b"first")
    storage.write(uri, memoryview(b"second"))
    info = storage.stat(uri)
    assert info is not None
    assert (info.uri, info.size) == (uri, 6)
    assert '"' not in info.etag
    assert storage.read_bytes(uri) == b"second"
    assert list(storage.list_objects(bucket)) == [info]
    storage.delete(uri)
    storage.delete(uri)
    assert storage.stat(uri) is None
    storage.write(uri, b"")
    assert storage.read_bytes(uri) == b""


def test_listing_of_keys_prefixes_and_globs(bucket: str) -> None:
    names = "in/a.parquet in/b.jsonl in/sub/c.parquet in/_SUCCESS in/.x.crc in/_tmp/d.parquet inside/e.parquet"
    for name in names.split():
        storage.write(f"{bucket}/{name}", b"x")
    data = [f"{bucket}/in/{name}" for name in ("a.parquet", "b.jsonl", "sub/c.parquet")]
    assert listed(f"{bucket}/in") == listed(f"{bucket}/in/") == data
    assert listed(bucket) == [*data, f"{bucket}/inside/e.parquet"]
    assert listed(f"{bucket}/in/_SUCCESS") == [f"{bucket}/in/_SUCCESS"]
    assert listed(f"{bucket}/in/*.parquet") == data[:1]
    assert listed(f"{bucket}/in/**/*.parquet") == [data[0], data[2]]
    assert listed(f"{bucket}/in*/?.parquet") == [data[0], f"{bucket}/inside/e.parquet"]
    for nothing in ("nothing", "ins", "in/*.nothing"):
        with pytest.raises(storage.NotFound, match=re.escape(f"{bucket}/{nothing}")):
            listed(f"{bucket}/{nothing}")


def test_a_long_listing_comes_in_pages(bucket: str, proxy: Proxy) -> None:
    client = boto3.client("s3")
    for i in range(1005):
        client.put_object(Bucket=bucket.removeprefix("s3://"), Key=f"in/{i}", Body=b"")
    client.close()
    proxy.requests.clear()
    listing = storage.list_objects(f"{bucket}/in/")
    next(listing)
    assert len(proxy.requests) == 1
    assert 1 + sum(1 for _ in listing) == 1005
    assert len(proxy.requests) == 2


def test_a_pinned_object_that_changes_is_refused(bucket: str) -> None:
    uri = f"{bucket}/x"
    storage.write(uri, os.urandom(200_000))
    pinned = storage.stat(uri)
    assert pinned is not None
    with storage.open_input(uri, pinned.etag) as file:
        file.read(10)
        storage.write(uri, os.urandom(200_000))
        file.seek(150_000)
        with pytest.raises(storage.SourceChanged, match=re.escape(uri)):
            file.read(10)
    with pytest.raises(storage.SourceChanged, match=re.escape(uri)):
        storage.open_input(uri, pinned.etag)
    with storage.open_input(uri) as file:
        storage.delete(uri)
        with pytest.raises(storage.NotFound, match=re.escape(uri)):
            file.read()


def test_reads_of_any_pattern_give_the_right_bytes_in_few_requests(bucket: str, proxy: Proxy) -> None:
    data = os.urandom(30 << 20)
    uri = f"{bucket}/x"
    storage.write(uri, data)
    proxy.requests.clear()
    with storage.open_input(uri) as file:
        assert b"".join(iter(lambda: file.read(1 << 20), b"")) == data
        assert len(proxy.requests) <= 6
        for start, size in ((0, 4), (3, 100_000), (len(data) - 4, 10), (100, 1), (5_000_000, 9 << 20), (7, 0)):
            file.seek(start)
            assert file.read(size) == data[start : start + size]
            assert file.tell() == start + len(data[start : start + size])
        buffer = bytearray(1000)
        file.seek(-500, os.SEEK_END)
        assert file.readinto(buffer) == 500  # type: ignore[attr-defined]
        assert bytes(buffer[:500]) == data[-500:]


def test_parquet_takes_few_large_requests_and_little_more_than_its_columns(bucket: str, proxy: Proxy) -> None:
    rows, groups = 2000, 4
    table = pa.table({"id": range(rows), "text": [os.urandom(2000).hex() for _ in range(rows)], "other": ["x"] * rows})
    with storage.open_output(f"{bucket}/x.parquet") as file:
        pq.write_table(table, file, row_group_size=rows // groups, compression="none", use_dictionary=False)
    info = storage.stat(f"{bucket}/x.parquet")
    assert info is not None
    source = Source(0, info.uri, info.etag, info.size)
    (shard,) = split(source, ReadOptions())
    proxy.requests.clear()
    batches = list(read(shard, ReadOptions()))
    assert pa.Table.from_batches(batches)["text"].to_pylist() == table["text"].to_pylist()
    fetched = sum(request.sent for request in proxy.requests)
    assert len(proxy.requests) <= 3 * groups
    assert fetched <= 1.05 * info.size


def test_a_large_object_is_one_multipart_upload(bucket: str, proxy: Proxy) -> None:
    data = os.urandom(90 << 20)
    uri = f"{bucket}/x"
    with storage.open_output(uri) as file:
        for start in range(0, len(data), 3 << 20):
            file.write(data[start : start + (3 << 20)])
        assert storage.stat(uri) is None
        assert file.tell() == len(data)
    assert storage.read_bytes(uri) == data
    assert methods(proxy).count("PUT") == 6
    proxy.requests.clear()
    storage.write(uri, data[: 40 << 20])
    assert methods(proxy) == ["PUT"]


@pytest.mark.parametrize("size", [10, 70 << 20])
def test_an_exception_leaves_nothing_behind(bucket: str, proxy: Proxy, size: int) -> None:
    uri = f"{bucket}/x"
    with pytest.raises(RuntimeError), storage.open_output(uri) as file:
        file.write(bytes(size))
        raise RuntimeError
    assert storage.stat(uri) is None
    client = boto3.client("s3")
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket.removeprefix("s3://"))
    client.close()
    with pytest.raises(storage.NotFound):
        listed(bucket)


@pytest.mark.parametrize("fault", ["500", "503", "reset", "cut"])
def test_passing_faults_are_ridden_out(bucket: str, proxy: Proxy, fault: str) -> None:
    uri = f"{bucket}/x"
    data = os.urandom(100_000)
    if fault != "cut":
        proxy.faults = [fault]
    storage.write(uri, data)
    with storage.open_input(uri) as file:
        proxy.faults = [fault, fault]
        proxy.requests.clear()
        assert file.read() == data
        assert methods(proxy) == ["GET"] * 3
    if fault != "cut":
        proxy.faults = [fault]
        assert listed(bucket) == [uri]


def test_refusals_are_not_repeated_and_never_tell_the_secret(
    bucket: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage.write(f"{bucket}/x", b"x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-wrong-secret")
    s3_client.close()
    for attempt in (
        lambda: storage.stat(f"{bucket}/x"),
        lambda: storage.write(f"{bucket}/y", b"y"),
        lambda: listed(f"{bucket}/"),
        lambda: storage.read_bytes(f"{bucket}/x"),
    ):
        proxy.requests.clear()
        with pytest.raises(storage.AccessDenied, match="credentials from env") as caught:
            attempt()
        assert bucket in str(caught.value)
        assert "a-wrong-secret" not in str(caught.value)
        assert len(proxy.requests) == 1


def test_missing_objects_and_buckets_are_named_at_once(bucket: str, proxy: Proxy) -> None:
    with pytest.raises(storage.NotFound, match=re.escape(f"{bucket}/x")):
        storage.read_bytes(f"{bucket}/x")
    assert len(proxy.requests) == 1
    with pytest.raises(storage.NotFound, match="no such bucket"):
        listed("s3://no-such-bucket-here/")
    with pytest.raises(storage.NotFound, match="no such bucket"):
        storage.write("s3://no-such-bucket-here/x", b"x")


@pytest.mark.parametrize("uri", ["s3://", "s3:///key", "s3://bucket", "s3://bucket/folder/"])
def test_uris_that_name_no_object_are_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="s3://bucket/key"):
        storage.stat(uri)


def test_an_unreachable_server_is_a_storage_error(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{s3.free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    s3_client.close()
    with pytest.raises(storage.StorageError, match="s3://bucket/x"):
        storage.stat("s3://bucket/x")


def test_unfinished_uploads_are_listed_and_discarded(bucket: str) -> None:
    client = boto3.client("s3")
    for key in ("out/tokens/x", "other/y"):
        client.create_multipart_upload(Bucket=bucket.removeprefix("s3://"), Key=key)
    client.close()
    (left,) = storage.list_unfinished(f"{bucket}/out/")
    assert left.uri == f"{bucket}/out/tokens/x"
    storage.discard(left)
    storage.discard(left)
    assert not list(storage.list_unfinished(f"{bucket}/out/"))
    assert len(list(storage.list_unfinished(bucket))) == 1


def test_one_of_many_creates_an_object(bucket: str, proxy: Proxy) -> None:
    uri = storage.join(bucket, "plan.json")
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        won = list(pool.map(lambda number: storage.create(uri, b"%d" % number), range(6)))
    assert sum(won) == 1
    assert storage.read_bytes(uri) == b"%d" % won.index(True)
    assert storage.create(uri, storage.read_bytes(uri)), "a repeated request finds its own object"
