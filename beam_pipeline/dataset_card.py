"""The card ``README.md`` under the output of a run, by which ``datasets.load_dataset(output)`` finds the training data.

Without it the library would take every Parquet object below the output for one data set, fingerprints among them.
"""

from __future__ import annotations

import logging
from typing import Any

import yaml

from beam_pipeline.plan import Plan
from transforms.io import storage

LOGGER = logging.getLogger(__name__)

MARK = "<!-- Written by beam_pipeline: a run over this output replaces this file. -->"
LANGUAGES = 20
"""How many languages are listed, those with most documents first."""


def write(plan: Plan, contents: dict[str, Any]) -> None:
    """Writes the card of a run that is done; a README.md of somebody else's stays.

    Args:
      contents: of the run's manifest.
    """
    uri = plan.layout.card
    if storage.stat(uri) is not None and MARK.encode() not in storage.read_bytes(uri):
        LOGGER.warning("%s isn't this project's, so it stays, and load_dataset may not find the training data", uri)
        return
    storage.write(uri, card(contents, plan.tokens.uri.rpartition("/")[2], plan.token_schema.names).encode())


def card(contents: dict[str, Any], folder: str, columns: list[str]) -> str:
    """The card's text: metadata that ``datasets`` reads, and counts for people."""
    metadata = {"configs": [{"config_name": "default", "data_files": f"{folder}/*.parquet"}]}
    counted = contents["languages"].items()
    languages = "\n".join(
        f"| {label or 'unknown'} | {amount['documents']:,} | {amount['tokens']:,} |"
        for label, amount in list(counted)[:LANGUAGES]
    )
    more = f"\n{len(counted) - LANGUAGES} more languages are in `run.json`.\n" if len(counted) > LANGUAGES else ""
    return f"""---
{yaml.safe_dump(metadata, sort_keys=False)}---
{MARK}

# {contents["counts"]["kept"]:,} documents, {contents["tokens"]:,} tokens

```python
from datasets import load_dataset

documents = load_dataset("path/of/this/folder", split="train")
```

The columns are {", ".join(f"`{name}`" for name in columns)}. `id` is unique within this run; `source` and `source_row`
name the place that a document comes from. `run.json` says how the data was made.

| language | documents | tokens |
|---|---:|---:|
{languages}
{more}"""
