"""The ledger of a corpus in PostgreSQL: which source is in which run, and how far the runs are.

A source is a URI with its ETag and size. Each is in one run of the corpus: claiming is one transaction under a lock of
the corpus's row, and a primary key holds it. The tables are in ``schemas/sql/0006_corpus.sql``.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

from schemas.errors import ToldError
from schemas.shards import MAX_SOURCES, Source
from transforms.io.corpus_lock import nobody_works
from transforms.io.ledger_runs import PENDING, RUN_COLUMNS, LedgerRun, Pinned, key_of
from transforms.io.lineage import Lineage, check_text, stage
from transforms.io.postgres import Connection

_STAGED = {"key": "bytea", "uri": "text", "etag": "text", "bytes": "int8"}


class LedgerError(ToldError):
    """The ledger doesn't allow what is asked of it."""


class CorpusLedger:
    """The ledger of one corpus.

    Args:
      lineage: the database.
      corpus: the corpus's id (UUID).

    Every method raises what ``Lineage``'s raise.
    """

    def __init__(self, lineage: Lineage, corpus: str):
        self._lineage = lineage
        self._corpus = uuid.UUID(corpus)

    def register(self, uri: str) -> None:
        """Records the corpus; one that is known stays as it is."""
        check_text(uri, "URI of the corpus")
        self._lineage.read(
            lambda connection: connection.execute(
                "INSERT INTO corpora (corpus, uri) VALUES (%s, %s) ON CONFLICT DO NOTHING", (self._corpus, uri)
            )
        )

    def registered(self) -> bool:
        """Whether this database has the corpus."""
        return self._lineage.read(
            lambda connection: bool(
                connection.execute("SELECT FROM corpora WHERE corpus = %s", (self._corpus,)).fetchall()
            )
        )

    def new(self, sources: Iterable[Pinned]) -> list[Pinned]:
        """Those that no run of the corpus has, sorted by URI; of several with one URI the last."""
        by_uri = {source.uri: source for source in sources}

        def ask(connection: Connection) -> set[bytes]:
            self._stage(connection, by_uri.values())
            found = connection.execute(
                "SELECT key FROM staged_corpus_sources JOIN corpus_sources USING (key) WHERE corpus = %s",
                (self._corpus,),
            )
            return {bytes(key) for (key,) in found}

        known = self._lineage.read(ask) if by_uri else set()
        return [by_uri[uri] for uri in sorted(by_uri) if key_of(by_uri[uri]) not in known]

    def claim(self, sources: Iterable[Pinned], folder: str, inputs: Sequence[str]) -> LedgerRun | None:
        """Takes those of the sources that no run has as the corpus's next run; None if there are none.

        One transaction, for which other claims of this corpus wait. When it returns, every one of the sources is in a
        run.

        Args:
          folder: where the outputs of the corpus's runs are.
          inputs: where the sources were looked for.

        Raises:
          LedgerError: the corpus would have more sources than can be numbered.
        """
        by_uri = {source.uri: source for source in sources}
        for uri, source in by_uri.items():
            check_text(uri, "URI of a source")
            check_text(source.etag, f"ETag of {uri}")

        def claim(connection: Connection) -> int | None:
            connection.execute("SELECT FROM corpora WHERE corpus = %s FOR UPDATE", (self._corpus,))
            number, first_source = self._next(connection)
            self._stage(connection, by_uri.values())
            taken = connection.execute(
                "INSERT INTO corpus_sources (corpus, key, number, position, uri, etag, bytes)"
                ' SELECT %s, key, %s, row_number() OVER (ORDER BY uri COLLATE "C") - 1, uri, etag, bytes'
                " FROM staged_corpus_sources AS staged WHERE NOT EXISTS ("
                "SELECT FROM corpus_sources AS known WHERE known.corpus = %s AND known.key = staged.key)",
                (self._corpus, number, self._corpus),
            ).rowcount
            if not taken:
                return None
            self._add_run(connection, number, first_source, taken, folder, inputs)
            return number

        number = self._lineage.read(claim) if by_uri else None
        return None if number is None else self.run(number)

    def runs(self) -> list[LedgerRun]:
        """All runs, in the order of their numbers."""
        found = self._lineage.read(
            lambda connection: connection.execute(
                f"SELECT {RUN_COLUMNS} FROM corpus_runs WHERE corpus = %s ORDER BY number".encode(), (self._corpus,)
            ).fetchall()
        )
        return [LedgerRun.of(row) for row in found]

    def run(self, number: int) -> LedgerRun:
        """One run.

        Raises:
          LedgerError: there is none of this number.
        """
        for run in self.runs():
            if run.number == number:
                return run
        raise LedgerError(f"the corpus has no run {number}; status --corpus lists its runs")

    def sources(self, number: int) -> list[Source]:
        """The sources of a run, in the order of their numbers."""
        found = self._lineage.read(
            lambda connection: connection.execute(
                "SELECT position, uri, etag, bytes FROM corpus_sources WHERE corpus = %s AND number = %s"
                " ORDER BY position",
                (self._corpus, number),
            ).fetchall()
        )
        return [Source(*row) for row in found]

    def run_of_source(self, uri: str) -> list[int]:
        """Numbers of the runs that have a source of this URI: several if it has changed, the latest last."""
        found = self._lineage.read(
            lambda connection: connection.execute(
                "SELECT number FROM corpus_sources WHERE corpus = %s AND uri = %s ORDER BY number", (self._corpus, uri)
            ).fetchall()
        )
        return [number for (number,) in found]

    def set_state(self, number: int, state: str, error: str = "", run: str | None = None) -> None:
        """Records how far a run is; its id, once it has one. A run that is released stays so."""
        self._lineage.read(
            lambda connection: connection.execute(
                "UPDATE corpus_runs SET state = %s, error = %s, run = coalesce(%s, run),"
                " finished = CASE WHEN %s IN ('done', 'failed') THEN now() END"
                " WHERE corpus = %s AND number = %s AND state <> 'released'",
                (state, error, run and uuid.UUID(run), state, self._corpus, number),
            )
        )

    def release(self, number: int, reason: str) -> None:
        """Gives up a run that isn't done: its sources are new again, its number isn't given again.

        Raises:
          LedgerError: it is done, or isn't there, or a command works on the corpus.
        """

        def release(connection: Connection) -> int:
            connection.execute("SELECT FROM corpora WHERE corpus = %s FOR UPDATE", (self._corpus,))
            if not nobody_works(connection, str(self._corpus)):
                raise LedgerError(f"a command works on the corpus; stop it, and then release run {number}")
            changed = connection.execute(
                "UPDATE corpus_runs SET state = 'released', error = %s, finished = now()"
                " WHERE corpus = %s AND number = %s AND state = ANY(%s)",
                (reason, self._corpus, number, list(PENDING)),
            ).rowcount
            if changed:
                connection.execute(
                    "DELETE FROM corpus_sources WHERE corpus = %s AND number = %s", (self._corpus, number)
                )
            return changed

        if not self._lineage.read(release):
            raise LedgerError(f"run {number} of the corpus is {self.run(number).state}: it can't be released")

    def forget(self, number: int, gone: Sequence[Pinned]) -> None:
        """Takes sources out of a run that isn't planned yet: they are new again. Without sources, it is released."""

        def forget(connection: Connection) -> None:
            connection.execute("SELECT FROM corpora WHERE corpus = %s FOR UPDATE", (self._corpus,))
            self._take_out(connection, number, gone)
            connection.execute(
                "UPDATE corpus_runs SET sources = left_over.sources, bytes = left_over.bytes,"
                " state = CASE WHEN left_over.sources = 0 THEN 'released' ELSE state END FROM ("
                "SELECT count(*) AS sources, coalesce(sum(bytes), 0) AS bytes FROM corpus_sources"
                " WHERE corpus = %s AND number = %s) AS left_over WHERE corpus = %s AND number = %s",
                (self._corpus, number, self._corpus, number),
            )

        self._lineage.read(forget)

    def renew(self, number: int, gone: Sequence[Pinned], folder: str, reason: str) -> int | None:
        """Releases a run that isn't done, and puts its sources, without those that are gone, into the next run.

        Args:
          folder: as of ``claim``.
          reason: why.

        Returns:
          the number of the next run; None if no sources are left.
        """

        def renew(connection: Connection) -> int | None:
            connection.execute("SELECT FROM corpora WHERE corpus = %s FOR UPDATE", (self._corpus,))
            self._take_out(connection, number, gone)
            connection.execute(
                "UPDATE corpus_runs SET state = 'released', error = %s, finished = now()"
                " WHERE corpus = %s AND number = %s",
                (reason, self._corpus, number),
            )
            new, first_source = self._next(connection)
            moved = connection.execute(
                "UPDATE corpus_sources SET number = %s WHERE corpus = %s AND number = %s",
                (new, self._corpus, number),
            ).rowcount
            if not moved:
                return None
            [(inputs,)] = connection.execute(
                "SELECT inputs FROM corpus_runs WHERE corpus = %s AND number = %s", (self._corpus, number)
            ).fetchall()
            self._add_run(connection, new, first_source, moved, folder, inputs)
            return new

        return self._lineage.read(renew)

    def _next(self, connection: Connection) -> tuple[int, int]:
        """Number of the next run, and what its sources are numbered from."""
        [(number, first_source)] = connection.execute(
            "SELECT coalesce(max(number), 0) + 1, coalesce(max(first_source + sources), 0) FROM corpus_runs"
            " WHERE corpus = %s",
            (self._corpus,),
        ).fetchall()
        return int(number), int(first_source)

    def _add_run(
        self, connection: Connection, number: int, first_source: int, sources: int, folder: str, inputs: Sequence[str]
    ) -> None:
        """Records a run whose sources are in the ledger already."""
        if first_source + sources > MAX_SOURCES:
            raise LedgerError(
                f"the corpus has {first_source:,} sources, and {sources:,} are new: more than {MAX_SOURCES:,} can't "
                "be numbered. Begin another corpus, or put small sources together"
            )
        connection.execute(
            "INSERT INTO corpus_runs (corpus, number, output, inputs, first_source, sources, bytes)"
            " SELECT %s, %s, %s, %s, %s, %s, sum(bytes) FROM corpus_sources WHERE corpus = %s AND number = %s",
            (
                self._corpus, number, f"{folder}/{number:06}", list(inputs), first_source, sources,
                self._corpus, number,
            ),
        )  # fmt: skip

    def _take_out(self, connection: Connection, number: int, gone: Sequence[Pinned]) -> None:
        connection.execute(
            "DELETE FROM corpus_sources WHERE corpus = %s AND number = %s AND key = ANY(%s)",
            (self._corpus, number, [key_of(source) for source in gone]),
        )
        connection.execute(
            "UPDATE corpus_sources AS old SET position = new.position FROM ("
            "SELECT key, row_number() OVER (ORDER BY position) - 1 AS position FROM corpus_sources"
            " WHERE corpus = %s AND number = %s) AS new WHERE old.corpus = %s AND old.key = new.key",
            (self._corpus, number, self._corpus),
        )

    def _stage(self, connection: Connection, sources: Iterable[Pinned]) -> None:
        rows = ((key_of(source), source.uri, source.etag, source.size) for source in sources)
        stage(connection, "corpus_sources", _STAGED, rows)
