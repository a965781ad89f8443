"""What storage promises of sources on web servers and the Hugging Face Hub, which are only read.

Web servers are real: versitygw, which has ETags and ranges, and Python's own, which has neither.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import http.server
import json
import os
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.shards import Source
from tests import hub, s3
from tests.s3_proxy import Proxy, in_front_of
from transforms.io import storage
from transforms.io.readers import ReadOptions, read, split
from transforms.io.storage import hub as hub_store
from transforms.io.storage import web

Put = Callable[[str, bytes], str]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, Put]]:
    """A web server with files that everybody may read, and what puts one there."""
    with s3.serve(tmp_path_factory.mktemp("web") / "buckets") as endpoint, in_front_of(endpoint) as proxy:
        client = boto3.client(
            "s3", endpoint_url=endpoint, region_name=s3.REGION,
            aws_access_key_id=s3.ACCESS_KEY, aws_secret_access_key=s3.SECRET_KEY,
        )  # fmt: skip
        client.create_bucket(Bucket="files")
        read_all = {
            "Effect": "Allow",
            "Principal": "*",
            "Action": ["s3:GetObject"],
            "Resource": ["arn:aws:s3:::files/*"],
        }
        policy = {"Version": "2012-10-17", "Statement": [read_all]}
        client.put_bucket_policy(Bucket="files", Policy=json.dumps(policy))

        def put(name: str, data: bytes, **how: str) -> str:
            client.put_object(Bucket="files", Key=name, Body=data, **how)
            return f"{proxy.endpoint}/files/{name}"

        yield proxy, put
        client.close()


def parquet(folder: Path, texts: list[str]) -> bytes:
    pq.write_table(pa.table({"text": texts}), folder / "x.parquet")
    return (folder / "x.parquet").read_bytes()


def texts_of(uri: str) -> list[str]:
    (info,) = storage.list_objects(uri)
    (shard,) = split(Source(0, info.uri, info.etag, info.size), ReadOptions())
    return pa.Table.from_batches(list(read(shard, ReadOptions())))["text"].to_pylist()


def test_a_file_of_a_web_server_is_pinned_and_read(site: tuple[Proxy, Put], tmp_path: Path) -> None:
    proxy, put = site
    texts = [f"text {i}" for i in range(1000)]
    assert texts_of(put("x.parquet", parquet(tmp_path, texts))) == texts
    data = os.urandom(300_000)
    uri = put("a b+%41.bin", data).replace(" ", "%20").replace("%41", "%2541")
    info = storage.stat(uri)
    assert info is not None
    assert (info.uri, info.size) == (uri, len(data))
    with storage.open_input(uri, info.etag, info.size) as file:
        file.seek(-10, os.SEEK_END)
        assert file.read() == data[-10:]
        file.seek(100_000)
        assert file.read(150_000) == data[100_000:250_000]
    assert storage.read_bytes(put("empty", b"")) == b""
    assert storage.stat(f"{proxy.endpoint}/files/nothing") is None


def test_what_is_stored_is_read_also_where_it_is_said_to_be_compressed(site: tuple[Proxy, Put]) -> None:
    packed = gzip.compress(b'{"text": "a"}\n' * 5000)
    uri = site[1]("x.jsonl", packed)
    assert storage.read_bytes(uri) == packed


def test_a_file_that_changes_is_refused(site: tuple[Proxy, Put]) -> None:
    _, put = site
    uri = put("changes", os.urandom(200_000))
    pinned = storage.stat(uri)
    assert pinned is not None
    with storage.open_input(uri, pinned.etag, pinned.size) as file:
        file.read(10)
        put("changes", os.urandom(200_000))
        file.seek(150_000)
        with pytest.raises(storage.SourceChanged, match=re.escape(uri)):
            file.read(10)
    with pytest.raises(storage.SourceChanged, match=re.escape(uri)):
        storage.open_input(uri, pinned.etag)


@pytest.mark.parametrize("fault", ["500", "503", "reset", "cut"])
def test_passing_faults_are_ridden_out(site: tuple[Proxy, Put], fault: str) -> None:
    proxy, put = site
    data = os.urandom(200_000)
    uri = put("faults", data)
    info = storage.stat(uri)
    assert info is not None
    with storage.open_input(uri, info.etag, info.size) as file:
        proxy.faults = [fault, fault]
        assert file.read() == data


def test_refusals_say_what_to_do(site: tuple[Proxy, Put]) -> None:
    proxy, put = site
    uri = put("private", b"x")
    proxy.faults = ["403"]
    with pytest.raises(storage.AccessDenied, match="NETRC"):
        storage.read_bytes(uri)
    with pytest.raises(storage.NotFound, match="there is no such"):
        storage.read_bytes(f"{proxy.endpoint}/files/nothing")
    for place in (f"{proxy.endpoint}/files/", f"{proxy.endpoint}/files/*.parquet", proxy.endpoint):
        with pytest.raises(storage.StorageError, match="can't be listed"):
            list(storage.list_objects(place))
    for write in (storage.write, storage.create):
        with pytest.raises(storage.WrongUri, match="for reading only"):
            write(uri, b"x")
    with pytest.raises(storage.WrongUri, match="for reading only"):
        storage.open_output(uri)


class _Odd(http.server.BaseHTTPRequestHandler):
    """A server that leads to a URL with a signature where nobody answers, or sends a range beside the one asked for."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        if self.path == "/redirected":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:1/x?X-Amz-Signature=my-secret")
            self.end_headers()
            return
        first, last = (int(part) for part in self.headers["Range"].removeprefix("bytes=").split("-"))
        if self.path != "/a@b":
            first, last = first + 1, last + 1
        self.send_response(206)
        for name, value in {
            "ETag": '"x"',
            "Content-Range": f"bytes {first}-{last}/100",
            "Content-Length": last - first + 1,
        }.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(bytes(range(100))[first : last + 1])


@pytest.fixture(scope="module")
def odd() -> Iterator[str]:
    with serving(_Odd) as endpoint:
        yield endpoint


def test_a_signature_in_a_redirect_is_not_told(
    odd: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(web, "ATTEMPTS", 2)
    web.close()
    with pytest.raises(storage.StorageError, match=r"127\.0\.0\.1.*x\?\.\.\.") as caught:
        storage.stat(f"{odd}/redirected")
    web.close()
    told = "".join(traceback.format_exception(caught.value)) + caplog.text + "".join(capfd.readouterr())
    assert "my-secret" not in told


def test_a_range_that_was_not_asked_for_is_refused(odd: str) -> None:
    with storage.open_input(f"{odd}/x", "x", 100) as file, pytest.raises(storage.StorageError, match="bytes 1-100"):
        file.read()


def test_a_path_may_have_an_at_sign(odd: str) -> None:
    assert storage.read_bytes(f"{odd}/a@b") == bytes(range(100))


@pytest.mark.parametrize(
    "uri", ["https://me:my-secret@host/x", "https://host/x?sig=my-secret", "https://host/x#my-secret"]
)
def test_a_uri_with_a_secret_is_refused_and_not_told(uri: str) -> None:
    with pytest.raises(storage.WrongUri, match="NETRC") as caught:
        storage.stat(uri)
    assert "my-secret" not in str(caught.value)


def plain_server(folder: Path) -> contextlib.AbstractContextManager[str]:
    """Python's own web server."""
    return serving(functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder)))


@contextlib.contextmanager
def serving(handler: Callable[..., http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """A server of this process."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_server_without_ranges_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x" * 100)
    with (
        plain_server(tmp_path) as endpoint,
        pytest.raises(storage.StorageError, match="doesn't serve ranges"),
    ):
        storage.read_bytes(f"{endpoint}/x")


@pytest.fixture
def dataset(monkeypatch: pytest.MonkeyPatch) -> Iterator[hub.Hub]:
    with hub.serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        hub_store.close()
        yield server
        hub_store.close()


HUB = f"hf://datasets/{hub.REPO}"


def test_files_of_a_repository_are_listed_pinned_and_read(dataset: hub.Hub, tmp_path: Path) -> None:
    texts = [f"text {i}" for i in range(1000)]
    dataset.files["main"] = {
        "README.md": b"# A dataset", "data/a.parquet": parquet(tmp_path, texts), "data/sub/b.jsonl": b'{"text": "b"}\n',
        "database": b"x",
    }  # fmt: skip
    dataset.files["refs/pr/1"] = {"data/a.parquet": parquet(tmp_path, texts[:3])}
    dataset.large = {"data/a.parquet"}
    assert [info.uri for info in storage.list_objects(f"{HUB}/data")] == [
        f"{HUB}/data/a.parquet", f"{HUB}/data/sub/b.jsonl",
    ]  # fmt: skip
    assert [info.uri for info in storage.list_objects(f"{HUB}/**/*.jsonl")] == [f"{HUB}/data/sub/b.jsonl"]
    assert texts_of(f"{HUB}/data/a.parquet") == texts
    assert texts_of(f"{HUB}@refs%2Fpr%2F1/data/a.parquet") == texts[:3]
    assert storage.read_bytes(f"{HUB}/data/sub/b.jsonl") == b'{"text": "b"}\n'
    assert all(span for path, span in dataset.seen if path.startswith("/cdn/"))
    for nothing in ("nothing", "data/*.csv"):
        with pytest.raises(storage.NotFound, match=re.escape(nothing)):
            list(storage.list_objects(f"{HUB}/{nothing}"))


@pytest.mark.parametrize("large", [True, False])
def test_a_file_of_a_repository_that_changes_is_refused(dataset: hub.Hub, large: bool) -> None:
    dataset.large = {"x"} if large else set()
    dataset.files["main"]["x"] = os.urandom(200_000)
    pinned = storage.stat(f"{HUB}/x")
    assert pinned is not None
    with storage.open_input(pinned.uri, pinned.etag, pinned.size) as file:
        file.read(10)
        dataset.files["main"]["x"] = os.urandom(200_000)
        file.seek(150_000)
        with pytest.raises(storage.SourceChanged, match=re.escape(pinned.uri)):
            file.read(10)
    with pytest.raises(storage.SourceChanged):
        storage.open_input(pinned.uri, pinned.etag)


def test_passing_faults_of_the_hub_are_ridden_out(dataset: hub.Hub) -> None:
    dataset.files["main"]["x"] = data = os.urandom(200_000)
    for ask in (lambda: storage.stat(f"{HUB}/x") is not None, lambda: storage.read_bytes(f"{HUB}/x") == data):
        dataset.faults = [503, 429]
        assert ask()
        assert not dataset.faults
    dataset.faults = [403]
    with pytest.raises(storage.AccessDenied):
        storage.stat(f"{HUB}/x")


def test_the_hub_refuses_in_sentences(dataset: hub.Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset.files["main"]["x"] = b"x"
    with pytest.raises(storage.NotFound, match="no such repository"):
        storage.stat("hf://datasets/owner/other/x")
    with pytest.raises(storage.NotFound, match="no such revision"):
        storage.stat(f"{HUB}@v9/x")
    dataset.token = "a-token-of-the-tests"
    with pytest.raises(storage.AccessDenied, match="HF_TOKEN"):
        storage.stat(f"{HUB}/x")
    monkeypatch.setenv("HF_TOKEN", dataset.token)
    hub_store.close()
    assert storage.read_bytes(f"{HUB}/x") == b"x"
    for wrong in ("hf://", "hf://datasets/owner", "hf://buckets/owner/name/x"):
        with pytest.raises(storage.WrongUri, match="hf://datasets/owner/name"):
            storage.stat(wrong)
    with pytest.raises(storage.WrongUri, match="for reading only"):
        storage.write(f"{HUB}/y", b"y")


@pytest.mark.parametrize(
    ("uri", "module", "extra"),
    [("gs://bucket/x", "google.cloud.storage", "google"), ("az://container/x", "azure.storage.blob", "azure")],
)
def test_a_package_that_is_missing_is_named(uri: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(storage.WrongUri, match=re.escape(f"pip install --constraint constraints.txt '.[{extra}]'")):
        storage.stat(uri)


def test_a_scheme_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(storage.WrongUri, match="gs://, az://, hf:// or https://"):
        storage.stat("ftp://host/x")
