"""The package as a library: its public surface, its names beside a user's folders, and the programs in examples/."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import yaml

import beam_pipeline
from beam_pipeline import own_packages
from beam_pipeline.sample import tokenizer_path
from tests import runs

ROOT = Path(__file__).parent.parent
HEAVY = ("apache_beam", "boto3", "numba", "numpy", "psycopg", "pyarrow", "pydantic")


def python(*arguments: object, cwd: Path, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd, env=runs.environment(PYTHONPATH=str(ROOT)),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def test_the_public_surface_is_what_it_says() -> None:
    assert beam_pipeline.__all__ == sorted(beam_pipeline.__all__)
    assert dir(beam_pipeline) == beam_pipeline.__all__
    assert {*beam_pipeline._PLACES} == {*beam_pipeline.__all__}
    for name in beam_pipeline.__all__:
        assert getattr(beam_pipeline, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        beam_pipeline.nothing  # noqa: B018


def test_type_checkers_see_the_same_names_at_the_same_places() -> None:
    tree = ast.parse(Path(beam_pipeline.__file__).read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    imported = {
        alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert imported == beam_pipeline._PLACES
    assert all((ROOT / package / "py.typed").exists() for package in ("beam_pipeline", *own_packages.NAMES))


def test_importing_the_package_imports_nothing_heavy() -> None:
    loaded = f"[name for name in {HEAVY!r} if name in sys.modules]"
    assert json.loads(python("-c", f"import sys, json, beam_pipeline; print(json.dumps({loaded}))", cwd=ROOT)) == []


@pytest.mark.parametrize("content", [None, "", "raise SystemExit('not ours')"])
@pytest.mark.parametrize("name", own_packages.NAMES)
def test_a_folder_of_the_users_with_a_name_of_ours_does_no_harm(tmp_path: Path, name: str, content: str | None) -> None:
    (tmp_path / name).mkdir()
    if content is not None:
        (tmp_path / name / "__init__.py").write_text(content)
    places = "*(module.__file__ for module in (schemas, transforms, runners))"
    asked = f"import beam_pipeline, schemas, transforms, runners; print({places})"
    found = python("-c", asked, cwd=tmp_path).split()
    assert [Path(place).parent for place in found] == [ROOT / name for name in own_packages.NAMES]


def test_a_run_beside_such_folders_is_a_run(tmp_path: Path) -> None:
    for name in own_packages.NAMES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('not ours')")
    (tmp_path / "mine.py").write_text("def long(text: str) -> bool:\n    return len(text) > 40\n")
    (tmp_path / "texts.jsonl").write_text('{"text": "%s"}\n{"text": "short"}\n' % ("a long text, " * 20))
    python(
        "-m", "beam_pipeline", "--input", "texts.jsonl", "--output", "out", "--tokenizer", tokenizer_path(),
        "--filters", "mine:long", "--direct_num_workers", 2, cwd=tmp_path,
    )  # fmt: skip
    counts = json.loads((tmp_path / "out" / "run.json").read_text())["counts"]
    assert (counts["kept"], counts["dropped"]) == (1, {"long": 1})


def test_a_foreign_package_that_was_imported_before_is_named(tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "__init__.py").write_text("")
    said = python("-c", "import sys; sys.path.insert(0, ''); import schemas, beam_pipeline", cwd=tmp_path, status=1)
    assert str(tmp_path / "schemas" / "__init__.py") in said
    assert "import beam_pipeline first" in said


EXPECTED = {
    "run_pipeline.py": r"'documents': 317.*'kept': [1-9]",
    "estimate_cost.py": r"\d+ documents, about \d+ tokens",
    "own_beam_pipeline.py": r"\bde \d+",
    "notebook_tables.py": r"'values': 'few_words', 'counts': \d+",
    "own_steps.py": r"'values': 'no_questions', 'counts': \d+",
}


@pytest.mark.parametrize("program", EXPECTED)
def test_examples_run(program: str, tmp_path: Path) -> None:
    assert re.search(EXPECTED[program], python(ROOT / "examples" / program, cwd=tmp_path), re.DOTALL)


def blocks(language: str) -> list[str]:
    """The snippets of README.md in a language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_the_readmes_programs_run(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.jsonl").write_text('{"text": "The ferry leaves at seven from the old harbour."}\n' * 3)
    (tmp_path / "tokenizer.json").write_bytes(tokenizer_path().read_bytes())
    assert blocks("python")
    for number, program in enumerate(blocks("python")):
        (tmp_path / f"snippet{number}.py").write_text(program)
        python(f"snippet{number}.py", cwd=tmp_path)


def test_the_readmes_settings_are_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in blocks("yaml"):
        settings = beam_pipeline.Settings(input=["/in"], output="/out", tokenizer="/t.json", **yaml.safe_load(text))
        (tmp_path / "my_steps.py").write_text(
            "class Mentions:\n    reasons = ['no_mention']\n    def __init__(self, word): self.word = word\n"
            "    def __call__(self, documents): return None\n"
            "def keep_prose(text: str) -> bool: return True\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        assert [spec.load() for spec in settings.steps()]


def shouting(text: str) -> str:
    return text.replace("of", "OF")


def test_a_twin_edits_a_plain_table() -> None:
    edited = beam_pipeline.apply_recipe(
        pa.table({"text": ["a text of words", None, "grün of"]}), f"{__name__}:shouting"
    )
    assert edited["text"].to_pylist() == ["a text OF words", None, "grün OF"]
    assert edited["reason"].to_pylist() == [None, "null_text", None]


def test_a_twin_of_a_box_leaves_the_reasons_of_earlier_ones() -> None:
    table = pa.table({"text": ["a text of some words", None, "?"], "mine": [1, 2, 3]})
    table = beam_pipeline.identify_language(beam_pipeline.normalize(table))
    table = beam_pipeline.apply_recipe(table, {"length": {"minimum": 5}})
    table = beam_pipeline.apply_recipe(table, {"use": "length", "minimum": 8})
    assert table["reason"].to_pylist() == [None, "null_text", "too_short"]
    assert table["text"].to_pylist() == ["a text of some words", None, "?"]
    assert table["mine"].to_pylist() == [1, 2, 3]
    assert beam_pipeline.fingerprint(table)["content_hash"].null_count == 2
    tokens = beam_pipeline.tokenize(table, beam_pipeline.Tokenization.from_file(str(tokenizer_path())))
    assert [ids is not None for ids in tokens["input_ids"].to_pylist()] == [True, False, False]
