"""Trials of inputs and steps that are out of the ordinary."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from beam_pipeline import Trial, cli
from beam_pipeline.commands import trial_tables
from beam_pipeline.planned_sources import PlanError
from beam_pipeline.settings import Settings
from beam_pipeline.trial import children, counting, trying
from schemas.errors import ToldError
from tests import runs
from tests.trial.steps import folder
from transforms.recipe.spec import StepSpec
from transforms.recipe.user_code import files_unimported

__all__ = ["folder"]


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Parquet file of 40 documents."""
    path = tmp_path_factory.mktemp("few") / "a.parquet"
    texts = [text for text in runs.sample_texts() if 100 < len(text) < 1000][:40]
    pq.write_table(pa.table({"text": texts}), path)
    return path


def drawn(place: Path, size: int) -> trying.Trying:
    values = {"input": [str(place)], "output": "/nowhere", "tokens": False, "recipe": ["text_statistics"]}
    return trying.Trying(Settings.model_validate(values), size)


def test_of_more_sources_than_are_looked_at_the_whole_is_estimated(tmp_path: Path) -> None:
    for number in range(100):
        lines = [json.dumps({"text": f"Document {row} of file {number:02}, with a few words."}) for row in range(5)]
        (tmp_path / f"{number:02}.jsonl").write_text("\n".join(lines) + "\n")
    sample = drawn(tmp_path, 2000).sample
    assert sample is not None
    assert len(sample.documents) < 500
    assert sample.of_documents == pytest.approx(500, rel=0.1)
    assert sample.of_bytes == pytest.approx(500 * 41, rel=0.1)


def test_of_a_place_that_is_not_read_to_its_end_the_whole_is_estimated(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    lines = "".join(json.dumps({"text": rng.bytes(10_000).hex()}) + "\n" for _ in range(1300))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode(), 1))
    sample = drawn(tmp_path, 2000).sample
    assert sample is not None
    assert len(sample.documents) < 1000
    assert sample.of_documents == pytest.approx(1300, rel=0.15)


@pytest.mark.parametrize("by", ["", "language"])
def test_a_file_without_rows_is_refused(tmp_path: Path, by: str) -> None:
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "a.parquet")
    with pytest.raises(PlanError, match="no document can be read"):
        Trial("text_statistics", input=str(tmp_path), sample=10, by=by, check=False)


def test_callables_are_checked_beside_importable_steps_and_each_has_its_own_faults(few: Path, folder: Path) -> None:
    held = "said"

    def no_number(text: str) -> float:
        return float("nan")

    def chatting(text: str) -> bool:
        print(held)  # noqa: T201
        return True

    trial = Trial("good_steps:vowels", no_number, chatting, input=str(few), sample=15)
    found = {(problem.step, problem.check) for problem in trial.problems}
    assert found == {("no_number", "nan"), ("chatting", "prints")}
    again = trial.again(chatting, no_number)
    assert {(problem.step, problem.check) for problem in again.problems} == found


class OneByOne:
    """Ends its process if it is given several documents."""

    reasons = ("one_by_one",)

    def __call__(self, documents: pa.RecordBatch) -> list[bool]:
        if len(documents) > 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return [True] * len(documents)


def test_a_step_that_several_documents_end_is_named_and_one_that_always_fails_is_left_out(few: Path) -> None:
    def always(text: str) -> bool:
        raise ValueError(text[:1])

    trial = Trial(OneByOne(), always, input=str(few), sample=40)
    found = {(problem.step, problem.check): problem.sentence for problem in trial.problems}
    assert "SIGKILL, with several documents at once" in found["OneByOne", "crashes"]
    assert "its counts are too low" in found["always", "raises"]
    assert len(found) == 2


def test_a_module_that_ends_its_process_is_one_sentence(few: Path, folder: Path) -> None:
    (folder / "dying.py").write_text("import os\nos._exit(7)\n")
    with pytest.raises(ToldError, match=r"recipe: the import of its steps.* with status 7"):
        Trial("dying:keep", input=str(few), sample=10)


def test_files_of_a_module_that_cannot_be_imported_are_found(folder: Path) -> None:
    (folder / "helper.py").write_text("def (:\n")
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").write_text("")
    (folder / "package" / "wrong.py").write_text("import helper\n")
    found = files_unimported([StepSpec(use="package.wrong:keep"), StepSpec(use="no_such_module:keep")])
    assert found >= {folder / "helper.py", folder / "package" / "wrong.py"}


def test_what_waits_for_a_child_is_at_no_call_afterwards(tmp_path: Path) -> None:
    outer = children.Beat()
    assert children.apart(lambda: 7, children.Beat(), tmp_path / "output", outer) == 7
    assert outer.began is None
    assert [path.name for path in tmp_path.iterdir()] == ["output"]


def test_how_many_documents_are_compared_is_said(few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "ROWS", 10)
    trial = Trial("text_statistics", input=str(few), sample=40, check=False)
    console = Console(file=io.StringIO(), width=200)
    trial_tables.show_against(console, trial._trying, trial.result, trial.result, 1)
    assert "Of the first 10 of 40 documents:" in console.file.getvalue()  # type: ignore[attr-defined]
    assert trial_tables.against_as_json(trial.result, trial.result, 1)["documents_compared"] == 10


def test_the_tokenizer_counts_in_the_tables_too(few: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("recipe: [text_statistics]\n")
    call = ["try", str(tmp_path / "recipe.yaml"), "--input", str(few), "--no-checks"]
    call += ["--tokenizer", str(runs.tokenizer_path())]
    assert cli.main([*call, "--json"]) == 0
    funnel = json.loads(capsys.readouterr().out)["funnel"]
    tokens = sum(row["tokens"] for row in funnel if row["step"] == "kept")
    assert abs(tokens - sum(row["bytes"] for row in funnel if row["step"] == "kept") / 4) > 10
    assert cli.main(call) == 0
    assert f"{tokens:,}" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_one_long_document_of_the_sample_says_little_of_the_whole(tmp_path: Path, kind: str) -> None:
    texts = [f"Document {row} of many. " * 40 for row in range(3000)]
    texts[1700] = "A long one. " * 300_000
    if kind == "jsonl":
        (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    else:
        pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet", row_group_size=500)
    whole = sum(map(len, texts))
    for size in (100, 300, 1000):
        sample = drawn(tmp_path, size).sample
        assert sample is not None and len(sample.documents) == size
        assert sample.of_bytes == pytest.approx(whole, rel=0.03)
