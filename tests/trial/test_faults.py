"""Every fault of a step is named, with the document and the line; none ends or hangs the trial."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from beam_pipeline.settings import Settings
from beam_pipeline.trial import checks, children
from beam_pipeline.trial.result import ALL, KEPT, Result
from beam_pipeline.trial.trying import Trying
from tests import runs
from tests.trial.steps import forget

DOCUMENTS = 85
WORDS = "many words that are put one behind the other until the expression has tried every way to part them "
MARKED = {
    20: "raise-at-nowhere is a number that isn't one, in a text of some length, so that others don't mind it at all.",
    40: "crash-here: a text at which a library with a bug ends the process, in a way that nobody can catch or see.",
    60: "sleep-here: a text at which a step waits for an answer of a server that never comes, whatever is done.",
    80: "fill-memory: a text at which a step asks for more and more memory until the machine has none left.",
}
EXPECTED = {
    "raising": "raises",
    "crashing": "crashes",
    "sleeping": "hangs",
    "huge": "memory",
    "catastrophic": "hangs",
    "slow": "slow",
    "lucky": "not_deterministic",
    "leaking": "leaks_memory",
    "printing": "prints",
    "nan": "nan",
    "Mutating": "mutates_its_input",
    "WrongType": "wrong_answer",
    "WrongLength": "wrong_answer",
    "undeclared": "undeclared_reason",
    "stateful": "remembers_documents",
    "Batchy": "depends_on_batching",
    "hashed": "not_deterministic",
}
"""What is to be said of each, in an order in which all of them see enough documents."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Documents, and the faulty steps as a module of the user's."""
    folder = tmp_path_factory.mktemp("faults")
    shutil.copy(Path(__file__).with_name("faulty_steps.py"), folder / "faulty.py")
    (folder / "good.py").write_text("def fine(text: str) -> bool:\n    return len(text) % 3 > 0\n")
    texts = [text for text in runs.sample_texts() if 100 < len(text) < 3000]
    documents = [MARKED.get(number) or f"{texts[number % len(texts)]} {number}" for number in range(DOCUMENTS)]
    lines = [json.dumps({"id": f"d{number}", "text": text}) for number, text in enumerate(documents)]
    (folder / "in.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setattr(children, "DOCUMENT_SECONDS", 1.0)
        patch.setattr(children, "HARD_SECONDS", 12.0)
        patch.setattr(children, "MEMORY_BYTES", 400 << 20)
        patch.setattr(checks, "CHECK_SECONDS", 0.05)
        patch.setattr(checks, "LEAK_SECONDS", 0.2)
        patch.setattr(checks, "ODD_SECONDS", 0.05)
        yield folder
    forget(folder)


def turn(folder: Path, *steps: str) -> Result:
    values = {"input": [str(folder / "in.jsonl")], "output": "/nowhere", "tokens": False, "recipe": list(steps)}
    return Trying(Settings.model_validate(values)).turn()


@pytest.fixture(scope="module")
def result(folder: Path) -> Result:
    """All of them in one recipe, and a good step behind them."""
    return turn(folder, *(f"faulty:{name}" for name in EXPECTED), "good:fine")


@pytest.mark.parametrize("step", EXPECTED)
def test_a_fault_is_named(result: Result, step: str) -> None:
    found = {problem.check: problem for problem in result.problems if problem.step == step}
    assert EXPECTED[step] in found, found
    assert found[EXPECTED[step]].sentence.startswith(step)
    assert set(found) <= {EXPECTED[step], *ALSO.get(step, ()), "slow"}, found  # a machine with other work is slow


ALSO = {
    "stateful": {"leaks_memory"},  # it does
    "WrongLength": {"depends_on_batching"},
}
"""What else is said of a step, and is true."""


def test_the_document_and_the_line_of_user_code_are_there(result: Result, folder: Path) -> None:
    raised = next(problem for problem in result.problems if problem.step == "raising")
    assert raised.document == f"{folder / 'in.jsonl'}, row 20"
    assert raised.text.startswith("raise-at-nowhere")
    assert "ValueError: invalid literal for int()" in raised.sentence
    assert "faulty.py, line" in raised.code and "int(number) > 0" in raised.code
    for step, row in (("crashing", 40), ("sleeping", 60)):
        assert next(p for p in result.problems if p.step == step).document.endswith(f"row {row}")


def test_the_steps_go_on(result: Result) -> None:
    by = {}
    for row in result.funnel.to_pylist():
        by[row["step"]] = by.get(row["step"], 0) + row["documents_alone"]
    assert by[ALL] == DOCUMENTS
    assert 0.2 * DOCUMENTS < by["fine"] < 0.5 * DOCUMENTS
    assert not [problem for problem in result.problems if problem.step == "fine"]
    assert by[KEPT] > 0


def test_good_steps_have_no_faults(folder: Path) -> None:
    found = turn(folder, "gopher_quality", "c4_lines", "good:fine")
    assert found.problems == ()
