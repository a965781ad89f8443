"""Sample data that comes with the package: a small corpus with planted cases, and a tokenizer trained on it.

``documents.jsonl`` has one JSON object a line, ``{"id": str, "text": str, "lang": str}`` with `lang` in ISO 639-1. The
texts were written for this project (Apache-2.0): 193 short base documents in 22 languages, round robin, and among them,
each after its base document, cases that say by the prefix of their id what they are:

    de-03                 a base document
    copy-de-03            an exact duplicate of it; a second one is copy-de-03-2
    near-de-03            a near-duplicate: word 5-gram Jaccard above 0.85
    form-KIND-de-03       the same words in another form: upper case, full width, NFD, zero-width spaces, CRLF ...
    short-..              too short for a shingle
    special-endoftext     ``<|endoftext|>`` as ordinary text
    bad-..                unusable: null, empty, only blanks, no string, missing, a lone surrogate

Four lines are no JSON object at all: one is cut off, one is an array, one isn't UTF-8, one is blank.
"""

from __future__ import annotations

import importlib.resources
from pathlib import Path


def documents_path() -> Path:
    """The sample corpus, JSON Lines; the module's docstring describes its rows."""
    return _path("documents.jsonl")


def tokenizer_path() -> Path:
    """The sample tokenizer, a Hugging Face ``tokenizer.json``."""
    return _path("tokenizer.json")


def _path(name: str) -> Path:
    # A real path, as pip installs it: readers, workers and tokenizer libraries open files by name.
    return Path(str(importlib.resources.files(__name__).joinpath(name)))
