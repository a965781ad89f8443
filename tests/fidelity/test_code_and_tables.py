"""Texts whose white space is meaning, each read by what reads such texts, before and after."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.fidelity import kinds
from transforms.kernels.text.normalization import EVERYTHING, normalize, normalize_reference

PYTHON = (
    "    first = 1  # a piece of a file: its first line is indented\n    if first:\n"
    '        text = """two blanks:  \n\n\n\n\tblank lines, a tab, a form feed \f, DEL \x7f, e\u0301 and \u00e9\n'
    f'{40 * " "}forty blanks of indentation, {60 * " "}many within\n"""\n'
)
DEEP_PYTHON = "\n".join(" " * 4 * level + "if a:" for level in range(19)) + "\n" + " " * 76 + "pass\n"
YAML = "\n".join("  " * level + f"level{level}:" for level in range(14)) + "\n" + " " * 28 + "- |\n"
YAML += " " * 30 + "kept  \n\n\n" + " " * 34 + "deeper\n" + "folded: >+\n    a\n\n    b\n\n\n\n"
MAKEFILE = (
    "all: a \\\n     b\n\t@printf '%s\\n' 'x    y'\na b:\n\t@echo $@\\\n\t\t  z\n"
    "SPACE = a  \nshow:\n\t@echo '[$(SPACE)]'\n"
)
DIFF = "--- a/x.py\n+++ b/x.py\n@@ -1,5 +1,5 @@\n \n def f():\n-\treturn 1  \n+\treturn 2\n \n \f\n"
MIXED_DIFF = "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n same\r\n-ends in CR LF\r\n+ends in LF\n"
MARKDOWN = (
    "    indented code first\n\nhard break  \nnext line\n\n- a\n\n      code in a list\n\n"
    "```text\n a\n\n\n\n  b  \n```\n"
    "\n| column" + " " * 60 + "| b |\n|---|---|\n| 1" + " " * 66 + "| 2 |\n"
)
TSV = "\t\tname\t\t\n1\t\t\t \t\n\t\t\t\t\n" + "a" + "\t" * 40 + "b\n\n\n"
EXCEL = 'a\tb\r\n"line 1\nline 2"\tc\r\n'
ART = "\n                       /\\_/\\\n" + " " * 22 + "( o.o )" + " " * 30 + "<- a cat\n\n\n\n" + " " * 23 + "> ^ <\n"
POEM = "l(a\n\nle\naf\nfa\n\n\nll\n\n\n\ns)\n        one\n                                        l\n\niness\n"
LATEX = "\\begin{verbatim}\n" + " " * 24 + "x" + " " * 24 + "y  \n\n\n\n\tz\n\\end{verbatim}\n%\n\n\\par\n"
TABLE = "\n".join(f"{name:<30}{value:>30.2f}" for name, value in [("", 0), ("a", 1), ("a longer name", 12345.678)])


TEXTS = {
    "Python": PYTHON,
    "deep Python": DEEP_PYTHON,
    "YAML": YAML,
    "Makefile": MAKEFILE,
    "diff": DIFF,
    "diff of line ends": MIXED_DIFF,
    "Markdown": MARKDOWN,
    "TSV": TSV,
    "Excel's TSV": EXCEL,
    "ASCII art": ART,
    "poem": POEM,
    "LaTeX": LATEX,
    "aligned table": TABLE,
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_not_a_byte_changes(text: str) -> None:
    array = pa.array([text, None, "x " + text])
    assert normalize(array).equals(array)
    assert normalize_reference(text) == text


def on_windows(text: str) -> str:
    return text.replace("\n", "\r\n")


def test_what_was_written_on_windows_means_the_same() -> None:
    for kind, text in (("Python", PYTHON[4:]), ("Python", DEEP_PYTHON), ("YAML", YAML), ("Markdown", MARKDOWN)):
        meaning = kinds.KINDS[kind][0]
        (result,) = normalize(pa.array(["\ufeff" + on_windows(text)])).to_pylist()
        assert result == text
        assert meaning(result) == meaning(on_windows(text))
    (result,) = normalize(pa.array([on_windows(TSV)])).to_pylist()
    assert kinds.tsv(result) == kinds.tsv(on_windows(TSV))


def test_yaml_of_fourteen_levels_is_what_it_was() -> None:
    (result,) = normalize(pa.array([YAML])).to_pylist()
    value = yaml.safe_load(result)
    assert value["folded"] == "a\nb\n\n\n\n"
    for level in range(14):
        value = value[f"level{level}"]
    assert value == ["kept  \n\n\n    deeper\n"]


def test_make_does_the_same(tmp_path: Path) -> None:
    said = []
    for name, text in (("before", MAKEFILE), ("after", *normalize(pa.array([MAKEFILE])).to_pylist())):
        Path(tmp_path, name).write_text(text)
        command = ["make", "--silent", "-f", name, "all", "show"]
        said.append(subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout)
    assert said[0] == said[1] == "a z\nb z\nx    y\n[a  ]\n"


@pytest.mark.parametrize("text", [DIFF, MIXED_DIFF, on_windows(DIFF)], ids=["plain", "of line ends", "on Windows"])
def test_patch_makes_the_same_of_a_diff(text: str) -> None:
    (result,) = normalize(pa.array([text])).to_pylist()
    assert kinds.patched(result) == kinds.patched(text) == ["".join(line + "\n" for line in kinds.diff(text)[0][1])]


@given(st.randoms(use_true_random=False))
def test_generated_code_means_the_same_under_the_defaults(chance: random.Random) -> None:
    lines = ["def f(a):"]
    for _ in range(chance.randrange(1, 12)):
        depth = min(chance.randrange(1, 30), (len(lines[-1]) - len(lines[-1].lstrip())) // 4 + 1)
        literal = "".join(chance.choice([" ", "  ", "\t", "\n", "\n\n\n", "x", " " * 20]) for _ in range(6))
        lines.append(" " * 4 * depth + "if a:")
        lines.append(" " * 4 * (depth + 1) + f'b = """{literal}"""' + " " * chance.randrange(3))
        lines += [""] * chance.randrange(5)
    text = "\n".join(lines) + "\n" * chance.randrange(3)
    for written in (text, on_windows(text), "\ufeff" + text):
        (result,) = normalize(pa.array([written])).to_pylist()
        assert kinds.python(result) == kinds.python(text)


@pytest.mark.parametrize("text", [DEEP_PYTHON, MARKDOWN, YAML, MAKEFILE, ART, POEM])
def test_even_with_every_rule_indentation_stays(text: str) -> None:
    def indentations(text: str) -> list[str]:
        return [line[: len(line) - len(line.lstrip())] for line in text.split("\n") if line.strip()]

    (result,) = normalize(pa.array([text]), EVERYTHING).to_pylist()
    assert indentations(result) == indentations(text)
