"""What a file of some kind means, to be compared: by the parser or the program that reads such files."""

from __future__ import annotations

import ast
import csv
import io
import re
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from markdown_it import MarkdownIt

csv.field_size_limit(2**31 - 1)
_MARKDOWN = MarkdownIt("commonmark").enable("table")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


def python(text: str) -> str:
    """The syntax tree; for what isn't of this Python's syntax, the error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.dump(ast.parse(text))
        except (SyntaxError, ValueError) as error:
            return repr(error)


def yaml_documents(text: str) -> str:
    """The values of all documents; with tags that ``safe_load`` doesn't know, the parser's events."""
    try:
        return repr(list(yaml.load_all(text, _LOADER)))
    except (yaml.YAMLError, ValueError) as error:
        return repr(_events(text) if isinstance(error, yaml.constructor.ConstructorError) else str(error))


def _events(text: str) -> list[tuple[Any, ...]]:
    names = ("anchor", "tag", "value", "implicit", "style", "flow_style")
    return [(type(event), *(getattr(event, name, None) for name in names)) for event in yaml.parse(text, _LOADER)]


def markdown(text: str) -> str:
    """The HTML that CommonMark (with tables) makes of it."""
    return _MARKDOWN.render(text)


def tsv(text: str) -> list[list[list[str]]]:
    """The cells: split at tabs, and as ``csv`` reads them with and without quotes."""
    rows = [[line.split("\t") for line in re.split("\r\n|\n|\r", text)]]
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
        try:
            rows.append(list(csv.reader(io.StringIO(text, newline=""), "excel-tab", quoting=quoting)))
        except csv.Error as error:
            rows.append([[str(error)]])
    return rows


def makefile(text: str) -> list[str]:
    """The lines as make reads them: it drops CR before LF."""
    return re.split("\r?\n", text)


def diff(text: str) -> list[tuple[list[str], list[str]]]:
    """Of each file that a unified diff is about, the lines that its hunks name before and after."""
    return [_images(hunks) for hunks in _sections(text)]


def _sections(text: str) -> Iterator[list[tuple[int, list[str]]]]:
    """The hunks of each file: first line in the old file, and the lines of the hunk with their signs."""
    lines = text.split("\n")
    if any(line.startswith("--- ") and line.endswith("\r") for line in lines):
        lines = [line.removesuffix("\r") for line in lines]  # as patch does
    hunks: list[tuple[int, list[str]]] = []
    i = 0
    while i < len(lines):
        found = _HUNK.match(lines[i])
        if lines[i].startswith("--- ") and hunks:
            yield hunks
            hunks = []
        i += 1
        if not found:
            continue
        old, new = (1 if count is None else int(count) for count in (found[2], found[4]))
        body = []
        while (old or new) and i < len(lines):
            sign = lines[i][:1]
            old -= sign != "+"
            new -= sign != "-"
            body.append(lines[i])
            i += 1
            if i < len(lines) and lines[i].startswith("\\"):
                i += 1
        hunks.append((int(found[1]), body))
    if hunks:
        yield hunks


def _images(hunks: list[tuple[int, list[str]]]) -> tuple[list[str], list[str]]:
    before: list[str] = []
    after: list[str] = []
    for _, body in hunks:
        before += [line[1:] for line in body if line[:1] != "+"]
        after += [line[1:] for line in body if line[:1] != "-"]
    return before, after


def patched(text: str) -> list[str]:
    """What GNU ``patch`` makes of the lines that a diff's hunks name, file by file, gaps closed.

    Raises:
      subprocess.CalledProcessError: it doesn't apply.
    """
    results = []
    with tempfile.TemporaryDirectory() as folder:
        old, new, section = (Path(folder, name) for name in ("old", "new", "section"))
        for hunks in _sections(text):
            before, _ = _images(hunks)
            old.write_bytes("".join(line + "\n" for line in before).encode("utf-8", "surrogateescape"))
            section.write_bytes(_closed(hunks).encode("utf-8", "surrogateescape"))
            command = ["patch", "--binary", "--silent", "--force", "--fuzz=0", "-o", new, old, section]
            subprocess.run(command, check=True, capture_output=True)
            results.append(new.read_bytes().decode("utf-8", "surrogateescape"))
    return results


def _closed(hunks: list[tuple[int, list[str]]]) -> str:
    """A diff of one file with these hunks, one right after the other."""
    pieces = ["--- old\n+++ new\n"]
    old = new = 1
    for _, body in hunks:
        counts = sum(line[:1] != "+" for line in body), sum(line[:1] != "-" for line in body)
        starts = [start if count else start - 1 for start, count in zip((old, new), counts, strict=True)]
        pieces.append(f"@@ -{starts[0]},{counts[0]} +{starts[1]},{counts[1]} @@\n")
        pieces += [line + "\n" for line in body]
        old, new = old + counts[0], new + counts[1]
    return "".join(pieces)


Meaning = Callable[[str], Any]
KINDS: dict[str, tuple[Meaning, tuple[str, ...]]] = {
    "Python": (python, ("*.py",)),
    "Makefile": (makefile, ("Makefile*", "makefile", "GNUmakefile", "*.mk", "*.mak")),
    "YAML": (yaml_documents, ("*.yaml", "*.yml")),
    "Markdown": (markdown, ("*.md", "*.markdown")),
    "diff": (diff, ("*.diff", "*.patch", "*/debian/patches/*")),
    "TSV": (tsv, ("*.tsv", "*.tab", "*.bed", "*.sam", "*.vcf")),
}
"""By name of a kind: what its files mean, and what they are called."""
