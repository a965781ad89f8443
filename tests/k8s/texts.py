"""Generated text for the cluster's S3 server: ``python -m tests.k8s.texts BYTES SHORT BUCKET``, inside the namespaces.

It makes the bucket; the text is under ``input/`` in it, SHORT documents of 25 words under ``short/``, the sample's
tokenizer beside them. S3 comes from AWS_*.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import boto3
import pyarrow.parquet as pq

from beam_pipeline.sample import tokenizer_path
from benchmarks import inputs
from tests.scale.short_documents import write_documents

ROW_GROUP_ROWS = 50
"""A shard is one row group at least: they are to be small."""


def main(size: int, short: int, bucket: str) -> None:
    client = boto3.client("s3")
    client.create_bucket(Bucket=bucket)
    client.upload_file(str(tokenizer_path()), bucket, "tokenizer.json")
    with tempfile.TemporaryDirectory() as folder:
        inputs.generate(Path(folder), size, files=4)
        for file in Path(folder).iterdir():
            pq.write_table(pq.read_table(file), file, compression="zstd", row_group_size=ROW_GROUP_ROWS)
            client.upload_file(str(file), bucket, f"input/{file.name}")
    with tempfile.TemporaryDirectory() as folder:
        write_documents(Path(folder), short)
        for file in Path(folder).iterdir():
            client.upload_file(str(file), bucket, f"short/{file.name}")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
