"""What belongs to a corpus that is open: its folder, its ledger, and the runs that wait."""

from __future__ import annotations

import dataclasses

from schemas.corpus_layout import CorpusLayout
from schemas.errors import WRONG_USAGE, ToldError
from schemas.shards import Source
from transforms.io.corpus_ledger import CorpusLedger
from transforms.io.ledger_runs import PENDING, LedgerRun
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


@dataclasses.dataclass(frozen=True)
class OpenedCorpus:
    """A corpus that is open.

    Attributes:
      layout: where everything of it is.
      id: UUID, by which the ledger knows it.
      dsn: PostgreSQL with its ledger.
      given_dsn: the same as it was given; empty: the embedded one.
      lineage: a connection with it.
      ledger: which source is in which run.
    """

    layout: CorpusLayout
    id: str
    dsn: str
    given_dsn: str
    lineage: Lineage
    ledger: CorpusLedger

    def pending(self) -> list[Claim]:
        """The runs that have sources and aren't done, in the order in which they are to be done."""
        return [Claim(run, self.ledger.sources(run.number)) for run in self.ledger.runs() if run.state in PENDING]
