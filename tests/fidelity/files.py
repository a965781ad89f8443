"""Files of code and tables as the machine has them, and what normalization makes of them."""

from __future__ import annotations

import dataclasses
import io
import sysconfig
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa

from tests.fidelity.kinds import KINDS
from transforms.kernels.text.normalization import DEFAULT, Normalization, normalize

STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))
SITE_PACKAGES = Path(sysconfig.get_path("purelib"))
LARGEST = 2_000_000
"""Bytes: parsing larger files takes minutes and says no more."""
AT_ONCE = 200


@dataclasses.dataclass
class Tally:
    """What became of the files of a kind.

    Attributes:
      files: how many there are.
      changed: whose text changed.
      different: those that mean something else now.
    """

    files: int = 0
    changed: int = 0
    different: list[Path] = dataclasses.field(default_factory=list)

    def __str__(self) -> str:
        """For tables."""
        return f"{self.files} files, {self.changed} changed, {len(self.different)} mean something else"


def find(kind: str, folders: Iterable[Path]) -> list[Path]:
    """The files of a kind, each once, sorted."""
    patterns = KINDS[kind][1]
    found = {path for folder in folders for pattern in patterns for path in folder.rglob(pattern)}
    return sorted(path for path in found if path.is_file() and not path.is_symlink() and path.name != "series")


def read(path: Path) -> str | None:
    """A file's text without byte order mark: UTF-8, or what Python's coding line says; None if it is neither."""
    data = path.read_bytes()
    if len(data) > LARGEST:
        return None
    try:
        encoding = tokenize.detect_encoding(io.BytesIO(data).readline)[0] if path.suffix == ".py" else "utf-8"
        return data.decode(encoding).removeprefix("\ufeff")
    except (SyntaxError, UnicodeError, LookupError):
        return None


def read_all(paths: Iterable[Path]) -> Iterator[tuple[list[Path], list[str]]]:
    """Some files at a time with their texts; those without are passed over."""
    at_once: tuple[list[Path], list[str]] = ([], [])
    for path in paths:
        text = read(path)
        if text is None:
            continue
        at_once[0].append(path)
        at_once[1].append(text)
        if len(at_once[0]) == AT_ONCE:
            yield at_once
            at_once = ([], [])
    yield at_once


def normalized(texts: list[str], options: Normalization = DEFAULT) -> list[str]:
    """The texts after normalization."""
    return normalize(pa.array(texts, pa.large_string()), options).to_pylist()


def compare(kind: str, paths: Iterable[Path], options: Normalization = DEFAULT) -> Tally:
    """Normalizes files and compares what they mean before and after. Equal texts mean the same."""
    meaning, tally = KINDS[kind][0], Tally()
    for some, texts in read_all(paths):
        for path, before, after in zip(some, texts, normalized(texts, options), strict=True):
            tally.files += 1
            if before != after:
                tally.changed += 1
                if meaning(before) != meaning(after):
                    tally.different.append(path)
    return tally
