"""The runs of a corpus, and what their sources are known by, as the ledger has them (``corpus_ledger``)."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
from typing import Any, Protocol

PENDING = ("claimed", "running", "failed")
"""States of runs that have sources and aren't done."""


class Pinned(Protocol):
    """A source before it has a number: a ``storage.ObjectInfo``, or a ``Source``."""

    @property
    def uri(self) -> str:
        """Where it is."""

    @property
    def etag(self) -> str:
        """Its ETag."""

    @property
    def size(self) -> int:
        """Bytes as stored."""


@dataclasses.dataclass(frozen=True)
class LedgerRun:
    """A run of a corpus, as the ledger has it.

    Attributes:
      number: from 1, in the order of claims.
      run: its id; None until it is planned.
      output: folder or prefix of what it writes.
      inputs: where its sources were looked for.
      first_source: what its sources are numbered from in the corpus.
      sources, bytes: how many it has, and their size as stored.
      state: ``claimed``, ``running``, ``done``, ``failed`` or ``released``.
      error: why it failed or was released.
    """

    number: int
    run: str | None
    output: str
    inputs: tuple[str, ...]
    first_source: int
    sources: int
    bytes: int
    state: str
    error: str
    claimed: datetime.datetime
    finished: datetime.datetime | None

    @classmethod
    def of(cls, row: tuple[Any, ...]) -> LedgerRun:
        """From a row with ``RUN_COLUMNS``."""
        values = dict(zip((field.name for field in dataclasses.fields(cls)), row, strict=True))
        run = values["run"]
        return cls(**values | {"run": run and str(run), "inputs": tuple(values["inputs"])})


RUN_COLUMNS = ", ".join(field.name for field in dataclasses.fields(LedgerRun))


def key_of(source: Pinned) -> bytes:
    """What tells a source from all others of a corpus: SHA-256 of URI, ETag and size."""
    return hashlib.sha256(f"{source.uri}\0{source.etag}\0{source.size}".encode()).digest()
