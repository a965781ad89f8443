"""A store to run the command against: a real S3 server, a proxy before it, and buckets with a corpus in them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq

from beam_pipeline.sample import tokenizer_path
from tests import runs, s3
from tests.s3_proxy import Proxy, in_front_of
from transforms.kernels.language.identification import default_model_path

CONFIG, TOKENIZER, MODEL = "s3://data/config.yaml", "s3://data/tokenizer.json", "s3://data/lid.ftz"


class Store:
    """Buckets ``data`` (with a corpus under ``in/``) and ``out``, reached directly by ``client`` and by the proxy."""

    def __init__(self, server: s3.Server, proxy: Proxy) -> None:
        self.server, self.proxy = server, proxy
        self.environment = os.environ | s3.environment(proxy.endpoint)
        self.client = boto3.client(
            "s3", endpoint_url=server.endpoint, region_name=s3.REGION,
            aws_access_key_id=s3.ACCESS_KEY, aws_secret_access_key=s3.SECRET_KEY,
        )  # fmt: skip

    def fill(self, corpus: Path, config: str = "shard_bytes: 300KiB\n") -> None:
        for bucket in ("data", "out"):
            self.client.create_bucket(Bucket=bucket)
        for file in sorted(corpus.iterdir()):
            self.put("data", f"in/{file.name}", file.read_bytes())
        self.put("data", "config.yaml", config.encode())
        self.put("data", "tokenizer.json", tokenizer_path().read_bytes())
        self.put("data", "lid.ftz", Path(default_model_path()).read_bytes())

    def put(self, bucket: str, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=bucket, Key=key, Body=data)

    def get(self, bucket: str, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=bucket, Key=key)["Body"].read())

    def keys(self, bucket: str, prefix: str) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]

    def objects(self, output: str) -> dict[str, bytes]:
        """The fingerprint and token objects of a run by their names under its output in ``out``."""
        keys = self.keys("out", f"{output}/fingerprints/") + self.keys("out", f"{output}/tokens/")
        return {key.removeprefix(f"{output}/"): self.get("out", key) for key in keys}

    def manifest(self, output: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.get("out", f"{output}/run.json"))
        return found

    def command(self, output: str, *flags: object) -> list[str]:
        return runs.command(
            "--input", "s3://data/in/", "--output", f"s3://out/{output}", "--config", CONFIG,
            "--tokenizer", TOKENIZER, "--language_model", MODEL, *flags,
        )  # fmt: skip

    def run(
        self, output: str, *flags: object, status: int = 0, timeout: float = 300, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs the pipeline from bucket to bucket and checks the exit status."""
        done = subprocess.run(
            self.command(output, *flags), cwd=runs.ROOT, env=self.environment | environment,
            capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        return done


def table(data: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(data))


@contextlib.contextmanager
def store_in(folder: Path) -> Iterator[Store]:
    """A store that is there while the block runs."""
    server = s3.Server(folder / "buckets")
    server.start()
    try:
        with in_front_of(server.endpoint) as proxy:
            store = Store(server, proxy)
            yield store
            store.client.close()
    finally:
        server.kill()
