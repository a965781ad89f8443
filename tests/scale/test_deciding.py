"""``decide`` over real text gives the token objects of a run that reads it all: `make test-decide CORPUS=...`.

CORPUS is a folder of Parquet files with the column text; with ROWS only the first rows of each file. One run is decided
again four times, each beside a fresh one.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests import runs

CORPUS = Path(os.environ["CORPUS"])
ROWS = int(os.environ.get("ROWS", "0"))
FLAGS = ("--shard_bytes", "8MiB", "--direct_num_workers", 2)
RECIPES = {
    "base": [("few_words", "words >= 80"), ("long_words", "characters <= 8 * words")],
    "stricter": [("few_words", "words >= 150"), ("long_words", "characters <= 7 * words"), ("short", "lines >= 2")],
    "looser": [("few_words", "words >= 30")],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the corpus, the recipes, and the run that is decided again."""
    folder = tmp_path_factory.mktemp("decide")
    (folder / "corpus").mkdir()
    files = sorted(CORPUS.glob("*.parquet"))
    assert files, f"there are no Parquet files in {CORPUS}"
    for file in files:
        if ROWS:
            table = next(pq.ParquetFile(file).iter_batches(ROWS, columns=["text"]))
            with pq.ParquetWriter(folder / "corpus" / file.name, table.schema) as writer:
                for start in range(0, len(table), 2000):
                    writer.write_batch(table.slice(start, 2000))
        else:
            (folder / "corpus" / file.name).symlink_to(file.resolve())
    for name, rules in RECIPES.items():
        steps = [{"rule": {"reason": reason, "keep": keep}} for reason, keep in rules]
        (folder / f"{name}.yaml").write_text(json.dumps(["text_statistics", *steps]))
    runs.run(folder / "corpus", folder / "base", *FLAGS, "--recipe", folder / "base.yaml", timeout=3600)
    return folder


def tokens(output: Path) -> dict[str, str]:
    """SHA-256 of every token object."""
    return {name: digest for name, digest in runs.digests(output).items() if name.startswith("tokens/")}


@pytest.mark.parametrize("similarity", [(), ("--min_similarity", "0.9")], ids=["same similarity", "another"])
@pytest.mark.parametrize("recipe", ["stricter", "looser"])
def test_token_objects_are_those_of_a_fresh_run(folder: Path, recipe: str, similarity: tuple[str, ...]) -> None:
    flags = ("--recipe", folder / f"{recipe}.yaml", *similarity)
    name = "-".join([recipe, *similarity])
    fresh, decided = folder / f"fresh{name}", folder / f"decided{name}"
    runs.run(folder / "corpus", fresh, *FLAGS, *flags, timeout=3600)
    command = runs.command("decide", "--run", folder / "base", "--output", decided, *flags, "--direct_num_workers", 2)
    subprocess.run(command, cwd=runs.ROOT, check=True, capture_output=True)
    assert tokens(fresh)
    assert tokens(decided) == tokens(fresh)
    counts = [runs.manifest(output)["counts"] for output in (decided, fresh)]
    assert counts[0] == counts[1]
    assert counts[0]["kept"] != runs.manifest(folder / "base")["counts"]["kept"]
