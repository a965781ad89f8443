"""A newcomer's first hour, as the README tells it: its commands in order, in a fresh folder, on data of five shapes.

``make test-first-hour`` plays it with a wheel in empty environments; FIRST_HOUR_PYTHON names their interpreter.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from tests import runs

PYTHON = os.environ.get("FIRST_HOUR_PYTHON", "")
"""Of an environment in which the wheel is installed; empty: this one, and the checkout."""

README = (runs.ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


class Desk:
    """A newcomer's folder, and a shell in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        program = folder / "bin" / "python"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {PYTHON or sys.executable} "$@"\n')
        program.chmod(0o755)
        self._environment = os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}"}
        self._environment.pop("PYTHONPATH", None)
        if not PYTHON:
            self._environment["PYTHONPATH"] = str(runs.ROOT)

    def shell(self, script: str, status: int = 0) -> str:
        """What a script prints; its exit status is checked."""
        done = subprocess.run(
            ["bash", "-ec", script], cwd=self.folder, env=self._environment, capture_output=True, text=True,
            timeout=600, check=False,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert done.returncode == status, f"{script}\nexit status {done.returncode}\n{said}"
        assert "Traceback" not in said, said
        return said


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A fresh folder with ``texts/``: Parquet, JSON Lines in three forms, CSV, and files that only describe data."""
    desk = Desk(tmp_path_factory.mktemp("desk"))
    texts = desk.folder / "texts"
    texts.mkdir()
    sample = runs.sample_texts()
    parts = [sample[place::5] for place in range(5)]
    ids = [[f"{part}-{row}" for row in range(len(rows))] for part, rows in enumerate(parts)]
    pq.write_table(pa.table({"id": ids[0], "text": parts[0]}), texts / "part-0.parquet")
    lines = [
        "".join(
            json.dumps({"id": name, "text": text}) + "\n" for name, text in zip(ids[part], parts[part], strict=True)
        )
        for part in range(5)
    ]
    (texts / "part-1.jsonl").write_text(lines[1])
    (texts / "part-2.jsonl.gz").write_bytes(gzip.compress(lines[2].encode()))
    with pa.output_stream(str(texts / "part-3.jsonl.zst"), compression="zstd") as stream:
        stream.write(lines[3].encode())
    pyarrow.csv.write_csv(pa.table({"id": ids[4], "text": parts[4]}), texts / "part-4.csv")
    (texts / "README.md").write_text("# What this is\n")
    (texts / "dataset_info.json").write_text("{}")
    (texts / "_SUCCESS").write_text("")
    return desk


def test_the_readme_s_commands_work_in_their_order(desk: Desk) -> None:
    assert len(BLOCKS) == 2
    for block in BLOCKS:
        commands = [block] if "<<" in block else block.splitlines()
        for command in commands:
            said = desk.shell(command)
            if "--input texts/" in command:
                assert "passed over" in said and "dataset_info.json" in said
    books = json.loads((desk.folder / "out" / "run.json").read_text())["counts"]
    assert books["documents"] == len(runs.sample_texts())
    assert books["invalid"] == {}
    tokens = pa.concat_tables([pq.read_table(file) for file in (desk.folder / "out" / "tokens").iterdir()])
    assert {Path(uri).name for uri in tokens["source"].to_pylist()} == {
        "part-0.parquet", "part-1.jsonl", "part-2.jsonl.gz", "part-3.jsonl.zst", "part-4.csv",
    }  # fmt: skip
    texts = pa.concat_tables([pq.read_table(file) for file in (desk.folder / "filtered" / "text").iterdir()])
    assert 0 < len(texts) < books["kept"]


def test_a_step_with_a_wrong_signature_is_one_sentence_with_its_line(desk: Desk) -> None:
    (desk.folder / "wrong.py").write_text("def keep(text: str, url: str) -> bool:\n    return True\n")
    said = desk.shell(
        "python -m beam_pipeline --input texts/ --output wrong/ --no-tokens --filters wrong:keep", status=2
    )
    assert "recipe: wrong:keep fails on the first documents" in said
    assert "wrong.py, line 1: def keep(text: str, url: str) -> bool:" in said
    assert not (desk.folder / "wrong").exists()


def test_a_changed_step_is_noticed(desk: Desk) -> None:
    steps = desk.folder / "my_steps.py"
    steps.write_text(steps.read_text().replace("/ 40", "/ 50"))
    command = "python -m beam_pipeline --input texts/ --output filtered/ --config recipe.yaml --no-tokens"
    said = desk.shell(command, status=2)
    assert "module my_steps was changed since the run began" in said
    assert "--ignore_code_changes goes on" in said
    desk.shell(f"{command} --ignore_code_changes")


@pytest.mark.skipif(not PYTHON, reason="needs the package datasets; make test-first-hour installs it")
def test_load_dataset_reads_the_training_data(desk: Desk) -> None:
    script = (
        "from datasets import load_dataset\n"
        "for folder, column in (('out', 'input_ids'), ('filtered', 'text')):\n"
        "    found = load_dataset(folder, split='train')\n"
        "    assert len(found) > 5 and found[0][column], found\n"
    )
    desk.shell(f'HF_HOME=hf HF_HUB_OFFLINE=1 python -c "{script}"')


def test_the_picture_has_the_boxes_of_the_pipeline() -> None:
    source = (runs.ROOT / "beam_pipeline" / "pipeline.py").read_text()
    boxes = set(re.findall(r">([A-Z][A-Za-z]+)</text>", (runs.ROOT / "docs" / "dag.svg").read_text()))
    passes = (runs.ROOT / "beam_pipeline" / "passes.py").read_text()
    labels = {*re.findall(r'"([A-Z][A-Za-z]+)" >>', source), *re.findall(r"\b([A-Z][A-Za-z]+)\(", passes), "Recipe"}
    assert boxes - {"WriteLineage"} <= labels and len(boxes) == 20
    assert {"ReadDocuments", "Recipe", "Fingerprint", "ResolveDuplicates", "Tokenize", "WriteTokens"} <= boxes
