"""The corpus: its folder, its ledger, and the runs that are to be done."""

from __future__ import annotations

import dataclasses
import datetime
import json
import uuid
from collections.abc import Iterable, Sequence
from types import TracebackType

from beam_pipeline import embedded_postgres
from schemas.corpus_layout import CorpusLayout
from schemas.errors import WRONG_USAGE, ToldError
from schemas.shards import Source
from transforms.io import storage
from transforms.io.corpus_ledger import PENDING, CorpusLedger, LedgerRun, Pinned
from transforms.io.lineage import Lineage


class CorpusError(ToldError):
    """The corpus can't be used like this; nothing was done."""

    exit_status = WRONG_USAGE


@dataclasses.dataclass(frozen=True)
class Claim:
    """A run of a corpus that has its sources and isn't done.

    Attributes:
      recorded: the run, as the ledger has it.
      sources: numbered in the order of their URIs.
    """

    recorded: LedgerRun
    sources: list[Source]

    @property
    def number(self) -> int:
        """Of the run in the corpus, from 1."""
        return self.recorded.number

    @property
    def output(self) -> str:
        """Folder or prefix of what it writes."""
        return self.recorded.output


class Corpus:
    """A corpus, opened with ``Corpus.open``; a context manager."""

    def __init__(self, uri: str, corpus: str, dsn: str):
        self.layout = CorpusLayout(uri)
        self.id = corpus
        self.dsn = dsn
        self._lineage = Lineage(dsn)
        self.ledger = CorpusLedger(self._lineage, corpus)

    @classmethod
    def open(cls, uri: str, dsn: str = "", *, create: bool = True) -> Corpus:
        """The corpus in a folder or prefix.

        Args:
          uri: of the corpus.
          dsn: PostgreSQL with its ledger; empty: the embedded one.
          create: begin it, if there is none.

        Raises:
          CorpusError: there is none and it isn't to be begun, or its ledger is in another database.
          StorageError, LineageUnavailable: store or database refuse.
        """
        uri = storage.absolute(uri)
        layout = CorpusLayout(uri)
        if create and storage.stat(layout.identity) is None:
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            storage.create(layout.identity, json.dumps({"corpus": str(uuid.uuid4()), "created": now}).encode())
        corpus = cls(uri, _identity(layout), dsn or embedded_postgres.start())
        try:
            corpus._register()
        except BaseException:
            corpus.close()
            raise
        return corpus

    def _register(self) -> None:
        self._lineage.migrate()
        if self.ledger.registered():
            return
        if _has_objects(self.layout.runs):
            raise CorpusError(
                f"corpus: the ledger of {self.layout.uri} isn't in the database at {self._lineage.public_dsn}; give "
                "the one with which it was begun (--lineage_dsn)"
            )
        self.ledger.register(self.layout.uri)

    def __enter__(self) -> Corpus:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection with the ledger."""
        self._lineage.close()

    def new(self, sources: Iterable[Pinned]) -> list[Pinned]:
        """Those of the sources that no run of the corpus has, sorted by URI. Nothing is claimed."""
        return self.ledger.new(sources)

    def claim(self, sources: Iterable[Pinned], inputs: Sequence[str]) -> Claim | None:
        """Takes the new ones of the sources as the next run, in one transaction; None if none is new.

        When it returns, the ledger has all of them, and no other process can claim them.

        Args:
          sources: as a listing or ``storage.stat`` has them; one that has changed is new.
          inputs: where they were looked for.
        """
        taken = self.ledger.claim(sources, self.layout.runs, inputs)
        return Claim(taken, self.ledger.sources(taken.number)) if taken else None

    def pending(self) -> list[Claim]:
        """The runs that have sources and aren't done, in the order in which they are to be done."""
        return [Claim(run, self.ledger.sources(run.number)) for run in self.ledger.runs() if run.state in PENDING]

    def release(self, number: int, reason: str) -> None:
        """Gives up a run that isn't done; its sources are new again.

        Raises:
          LedgerError: it is done, or isn't there.
        """
        self.ledger.release(number, reason)


def _identity(layout: CorpusLayout) -> str:
    """The id of the corpus, from ``corpus.json``."""
    try:
        return str(uuid.UUID(json.loads(storage.read_bytes(layout.identity))["corpus"]))
    except storage.NotFound:
        raise CorpusError(f"corpus: {layout.uri} has no corpus.json: it isn't a corpus") from None
    except (ValueError, KeyError, TypeError):
        raise CorpusError(f"corpus: {layout.identity} is damaged; it should have the corpus's id") from None


def _has_objects(uri: str) -> bool:
    try:
        return next(storage.list_objects(uri), None) is not None
    except storage.NotFound:
        return False
