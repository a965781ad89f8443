"""A user without a name, a home and the right to write the installation can run the pipeline.

Every kernel is compiled anew: minutes.
"""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

import psycopg
import psycopg.conninfo

from tests.postgres import system_server
from tests.test_failures import as_owner, as_root, as_stranger, installed, source, temporary

__all__ = ["installed", "source", "temporary"]


@as_root
def test_a_stranger_can_run_with_a_database(installed: Path, temporary: Path, source: Path) -> None:
    readable = temporary / "in.parquet"
    shutil.copy(source / "part-0.parquet", readable)
    readable.chmod(0o644)
    name = f"own_{uuid.uuid4().hex[:12]}"
    with system_server() as server:
        as_owner(server.dsn, f"CREATE DATABASE {name}")
        done = as_stranger(
            installed, "--input", readable, "--output", temporary / "out", "--tokenizer",
            installed / "beam_pipeline/sample/tokenizer.json", "--lineage_dsn",
            psycopg.conninfo.make_conninfo(server.dsn, dbname=name), "--direct_num_workers", 1, TMPDIR=str(temporary),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
