"""The corpus: its folder, its ledger, and the runs that are to be done."""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from beam_pipeline import embedded_postgres
from beam_pipeline.corpus.opened import Claim, CorpusError, OpenedCorpus
from schemas.corpus_layout import CorpusLayout
from transforms.io import storage
from transforms.io.corpus_ledger import CorpusLedger
from transforms.io.ledger_runs import Pinned
from transforms.io.lineage import Lineage, public_dsn

if TYPE_CHECKING:  # Beam takes a second to be imported
    from apache_beam.options.pipeline_options import PipelineOptions
    from rich.console import Console


class Corpus(OpenedCorpus):
    """A corpus, opened with ``Corpus.open``; a context manager."""

    @classmethod
    def open(cls, uri: str, dsn: str = "", *, create: bool = True) -> Corpus:
        """The corpus in a folder or prefix.

        Args:
          uri: of the corpus.
          dsn: PostgreSQL with its ledger; empty: as the corpus was begun, or the embedded one.
          create: begin it, if there is none, and make sure that runs of it may be made.

        Raises:
          CorpusError: there is none and it isn't to be begun, or its ledger is in another database.
          LineageSchemaError: the user of the database may not write what runs have to.
          StorageError, LineageUnavailable: store or database refuse.
        """
        uri = storage.absolute(uri)
        layout = CorpusLayout(uri)
        if create and storage.stat(layout.identity) is None:
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            begun = {"corpus": str(uuid.uuid4()), "created": now, "lineage_dsn": dsn and public_dsn(dsn)}
            storage.create(layout.identity, json.dumps(begun).encode())
        identity, begun_with = _identity(layout)
        dsn = dsn or begun_with
        there = dsn or embedded_postgres.start()
        lineage = Lineage(there)
        corpus = cls(layout, identity, there, dsn, lineage, CorpusLedger(lineage, identity))
        try:
            corpus._register(to_write=create)
        except BaseException:
            corpus.close()
            raise
        return corpus

    def _register(self, *, to_write: bool) -> None:
        self.lineage.migrate()
        if to_write:
            self.lineage.check_rights(corpora=True)
        if self.ledger.registered():
            return
        if _has_objects(self.layout.runs):
            raise CorpusError(
                f"corpus: the ledger of {self.layout.uri} isn't in the database at {self.lineage.public_dsn}; give "
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
        self.lineage.close()

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

    def work(
        self,
        values: Mapping[str, Any],
        options: PipelineOptions,
        console: Console,
    ) -> int:
        """Carries out every pending run, in order (``beam_pipeline.corpus.growing.work``)."""
        from beam_pipeline.corpus import growing  # brings Beam

        return growing.work(self, values, options, console)

    def release(self, number: int, reason: str) -> None:
        """Gives up a run that isn't done; its sources are new again.

        Raises:
          LedgerError: it is done, or isn't there, or a command works on the corpus.
        """
        self.ledger.release(number, reason)


def _identity(layout: CorpusLayout) -> tuple[str, str]:
    """The id of the corpus and the DSN of its ledger, empty if that is the embedded one, from ``corpus.json``."""
    try:
        stored = json.loads(storage.read_bytes(layout.identity))
        return str(uuid.UUID(stored["corpus"])), str(stored.get("lineage_dsn") or "")
    except storage.NotFound:
        raise CorpusError(f"corpus: {layout.uri} has no corpus.json: it isn't a corpus") from None
    except (ValueError, KeyError, TypeError):
        raise CorpusError(f"corpus: {layout.identity} is damaged; it should have the corpus's id") from None


def _has_objects(uri: str) -> bool:
    try:
        return next(storage.list_objects(uri), None) is not None
    except storage.NotFound:
        return False
