"""What the commands have in common that take ``--corpus``."""

from __future__ import annotations

import dataclasses
from typing import Any

from rich.table import Table
from rich.text import Text

from beam_pipeline.commands.lineage_arguments import print_json
from beam_pipeline.commands.terminal import stdout
from beam_pipeline.corpus import Corpus, CorpusError
from beam_pipeline.corpus.opened import OpenedCorpus
from transforms.io import storage
from transforms.io.ledger_runs import LedgerRun


def opened_corpus(uri: str, dsn: str = "") -> Corpus:
    """A corpus that is there; a context manager.

    Raises:
      CorpusError: there is none, or its ledger isn't in the database.
    """
    return Corpus.open(uri, dsn, create=False)


def finished_runs_of(corpus: OpenedCorpus) -> list[LedgerRun]:
    """The runs that are done.

    Raises:
      CorpusError: none is.
    """
    done = [run for run in corpus.ledger.runs() if run.state == "done"]
    if not done:
        raise CorpusError(f"corpus: no run of {corpus.layout.uri} is done")
    return done


def run_with(corpus: OpenedCorpus, source: str | None, token_object: str | None) -> str:
    """The id of the run that has read a source, of several the latest, or that has written a token object.

    Raises:
      CorpusError: there is none.
    """
    runs = {run.number: run for run in finished_runs_of(corpus)}
    if token_object:
        place = storage.absolute(token_object)
        found = [number for number, run in runs.items() if place.startswith(storage.join(run.output, ""))]
    else:
        uris = [source or "", storage.absolute(source or "")]
        found = sorted(number for uri in uris for number in corpus.ledger.run_of_source(uri) if number in runs)
    if not found:
        raise CorpusError(
            f"{token_object or source}: no run of the corpus has it; with --corpus, give the whole URI of a source or "
            "of a token object"
        )
    return str(runs[found[-1]].run)


def show(corpus: OpenedCorpus, as_json: bool) -> None:
    """Prints the runs and versions of a corpus."""
    from beam_pipeline.corpus import versions  # brings Beam

    runs = corpus.ledger.runs()
    names = versions.names(corpus)
    if as_json:
        told: list[dict[str, Any]] = [dataclasses.asdict(run) for run in runs]
        print_json({"corpus": corpus.id, "uri": corpus.layout.uri, "runs": told, "versions": names})
        return
    table = Table(title=f"Corpus {corpus.layout.uri}", title_justify="left")
    for name in ("run", "state", "sources", "GB", "claimed", "id"):
        table.add_column(name, justify="right" if name in ("run", "sources", "GB") else "left", overflow="fold")
    for run in runs:
        claimed = run.claimed.strftime("%Y-%m-%d %H:%M")
        numbers = [f"{run.sources:,}", f"{run.bytes / 1e9:,.3f}"]
        table.add_row(str(run.number), run.state, *numbers, claimed, run.run or "")
    console = stdout(highlight=False)
    console.print(table)
    for run in runs:
        if run.error:
            console.print(Text(f"run {run.number} {run.state}: {run.error}"), soft_wrap=True)
    if names:
        console.print(Text(f"versions: {', '.join(names)}"), soft_wrap=True)
