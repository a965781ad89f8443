"""An export from bucket to bucket: the bytes of the local one, and its questions answered from there."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np

from tests import exports, runs
from tests.s3_store import store_in


def test_the_bytes_are_those_of_the_local_export(tmp_path: Path) -> None:
    generator = np.random.default_rng(7)
    documents = [generator.integers(10, 1000, length).tolist() for length in generator.integers(0, 300, 400)]
    run = exports.make_run(tmp_path / "run", documents)
    settings = {"packing": "best-fit", "sequence_length": 128, "shard_tokens": 20_000, "holdout": 0.1}
    exports.export(tmp_path / "local", run, "mds", **settings)
    with store_in(tmp_path / "store") as store:
        for bucket in ("data", "out"):
            store.client.create_bucket(Bucket=bucket)
        for path in run.rglob("*"):
            if path.is_file():
                store.put("data", f"run/{path.relative_to(run)}", path.read_bytes())

        def command(*arguments: object) -> str:
            done = subprocess.run(
                runs.command(*arguments), cwd=runs.ROOT, env=store.environment, capture_output=True, text=True,
                timeout=120, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        flags = [part for name, value in settings.items() for part in (f"--{name}", value)]
        places = ("--run", "s3://data/run", "--output", "s3://out/export", "--format", "mds")
        command("export", *places, *flags, "--direct_num_workers", 1)
        local = tmp_path / "local"
        folders = ("train", "holdout", "provenance")
        expected = {name for name in exports.digests(local) if name.split("/")[0] in folders}
        keys = {key.removeprefix("export/") for key in store.keys("out", "export/")}
        assert expected == {key for key in keys if key.split("/")[0] in folders}
        for name in expected:
            assert store.get("out", f"export/{name}") == (local / name).read_bytes(), name
        [said] = json.loads(
            command("trace", "--export", "s3://out/export", "--file", "shard.00001.mds", "--sequence", 2, "--json")
        )
        sequence = exports.samples(local / "train")
        first = json.loads((local / "train" / "index.json").read_text())["shards"][0]["samples"]
        document = exports.documents_of(run)[0, said["document"]]
        assert sequence[first + 2]["input_ids"][0] == document[said["document_token"]]
