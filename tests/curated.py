"""A run as a lab would make it: kept columns, functions of a researcher, an editor, rules, and more reasons than 68."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests import runs

RECIPE = """
keep_columns: [url, meta.score as score, meta.tags]
token_columns: [url, vowels]
recipe:
  - "{module}:no_questions"
  - "{module}:vowels"
  - "{module}:without_commas"
  - "{module}:ManyReasons"
  - rule: {{reason: low_score, keep: "vowels > 0.2 and coalesce(score, 9) >= 2"}}
"""
SMALL_SHARDS = ("--shard_bytes", "20KiB")


def write_sources(folder: Path) -> Path:
    """Two Parquet files of several shards each; the second has no scores."""
    folder.mkdir(parents=True)
    texts = [text for text in runs.sample_texts() if len(text) > 150][:160]
    rows = [
        {"text": text, "id": f"d{i}", "url": f"http://h{i}.org/", "meta": {"score": i % 20, "tags": [f"t{i}"]}}
        for i, text in enumerate(texts)
    ]
    pq.write_table(pa.Table.from_pylist(rows[:80]), folder / "a.parquet", row_group_size=10)
    pq.write_table(
        pa.Table.from_pylist([{**row, "meta": {"tags": row["meta"]["tags"]}} for row in rows[80:]]),
        folder / "b.parquet",
        row_group_size=10,
    )
    return folder


def write_config(folder: Path, module: str) -> Path:
    """The settings, with steps from a module."""
    path = folder / "config.yaml"
    path.write_text(RECIPE.format(module=module))
    return path
