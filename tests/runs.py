"""Running the command as a user does, and reading what it has written."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer

from beam_pipeline.sample import documents_path, tokenizer_path

ROOT = Path(__file__).parents[1]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "beam_pipeline", *map(str, arguments)]


def run(
    source: Path | str | list[Path], output: Path | str, *flags: object, status: int = 0, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Runs the pipeline to its end and checks the exit status."""
    sources = source if isinstance(source, list) else [source]
    done = subprocess.run(
        command("--input", *sources, "--output", output, "--tokenizer", tokenizer_path(), *flags),
        cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done


def ask(*arguments: object, status: int = 0) -> Any:
    """Runs a sub-command with --json and returns what it says."""
    done = subprocess.run(
        command(*arguments, "--json"), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout)


def manifest(output: Path) -> dict[str, Any]:
    return json.loads((output / "run.json").read_text())


def tokens(output: Path) -> pa.Table:
    """All token rows of a run, in the order of the documents."""
    files = sorted((output / "tokens").glob("*.parquet"))
    return pa.concat_tables([pq.read_table(file) for file in files]).sort_by("id")


def digests(output: Path) -> dict[str, str]:
    """SHA-256 of every object of the two passes; not of what a killed worker has left without a name."""
    files = [*(output / "tokens").glob("*.parquet"), *(output / "fingerprints").glob("*.parquet")]
    return {str(file.relative_to(output)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def reference_tokenizer() -> Tokenizer:
    """The sample tokenizer as the definition has it: text never becomes a control token."""
    tokenizer = Tokenizer.from_file(str(tokenizer_path()))
    tokenizer.encode_special_tokens = True
    return tokenizer


def sample_texts() -> list[str]:
    """The usable texts of the sample."""
    texts = []
    for line in documents_path().read_bytes().splitlines():
        try:
            text = json.loads(line)["text"]
            text.encode()  # a lone surrogate isn't text
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        if isinstance(text, str) and text.strip():
            texts.append(text)
    return texts


def write_corpus(folder: Path, files: int = 3, documents: int = 600, seed: int = 1) -> list[Path]:
    """Parquet files of several row groups: documents put together from sentences of the sample.

    A tenth are copies of an earlier document, a tenth near-copies, and a few rows can't be used.
    """
    generator = random.Random(seed)
    sentences = [part for text in sample_texts() for part in text.replace("\n", " ").split(". ") if len(part) > 20]
    texts: list[str | None] = []
    for _ in range(files * documents):
        kind = generator.random()
        usable = [text for text in texts[-400:] if text]
        if kind < 0.1 and usable:
            texts.append(generator.choice(usable))
        elif kind < 0.2 and usable:
            texts.append(generator.choice(usable) + " And one more.")
        elif kind < 0.22:
            texts.append(generator.choice([None, "", " \n ", "\u200b"]))
        else:
            texts.append(". ".join(generator.choices(sentences, k=generator.randint(3, 20))))
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(files):
        part = texts[number * documents : (number + 1) * documents]
        table = pa.table(
            {"id": [f"{number}/{row}" for row in range(len(part))], "text": part, "other": [0] * len(part)}
        )
        paths.append(folder / f"part-{number}.parquet")
        pq.write_table(table, paths[-1], row_group_size=100)
    return paths


def environment(**extra: str) -> dict[str, str]:
    return os.environ | extra
