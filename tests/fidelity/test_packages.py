"""Thousands of files of packages (``make fidelity``): every one means the same, every diff applies to the same."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.fidelity import files, kinds

FOLDERS = [Path(folder) for folder in os.environ.get("FIDELITY_FILES", "").split()]
LEAST = 500


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_every_file_means_the_same(kind: str) -> None:
    tally = files.compare(kind, files.find(kind, [*FOLDERS, files.STANDARD_LIBRARY, files.SITE_PACKAGES]))
    print(f"{kind}: {tally}")
    assert tally.different == []
    assert tally.files >= LEAST


def test_every_diff_applies_to_the_same() -> None:
    applied = refused = 0
    for paths, texts in files.read_all(files.find("diff", FOLDERS)):
        for path, before, after in zip(paths, texts, files.normalized(texts), strict=True):
            expected = ["".join(line + "\n" for line in lines) for _, lines in kinds.diff(before)]
            try:
                kinds.patched(before)
            except subprocess.CalledProcessError:  # not unified, or for git only
                refused += 1
                continue
            assert kinds.patched(after) == expected, path
            applied += bool(expected)
    print(f"{applied} diffs applied, {refused} that patch refuses as they came")
    assert applied >= LEAST
    assert refused < applied / 50


def test_every_recipe_line_is_the_same() -> None:
    recipes = 0
    for paths, texts in files.read_all(files.find("Makefile", FOLDERS)):
        for path, before, after in zip(paths, texts, files.normalized(texts), strict=True):
            lines = re.findall("^\t[^\r\n]*", before, re.MULTILINE)
            assert re.findall("^\t[^\r\n]*", after, re.MULTILINE) == lines, path
            recipes += len(lines)
    print(f"{recipes} recipe lines")
    assert recipes > LEAST
