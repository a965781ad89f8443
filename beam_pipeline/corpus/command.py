"""``run --corpus``: the new sources of some inputs become the corpus's next run."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from rich.console import Console

from beam_pipeline import failures, options, workers
from beam_pipeline.corpus.corpus import Corpus
from beam_pipeline.options import UsageError
from beam_pipeline.planned_sources import list_sources
from runners import local_flink

LOGGER = logging.getLogger(__name__)

OF_THE_CORPUS = ("input", "output", "lineage_dsn")
"""Settings that a run of a corpus has from the corpus."""


def grow(uri: str, parser: argparse.ArgumentParser, arguments: Sequence[str], console: Console) -> int:
    """Claims what is new in the inputs, and carries out every run of the corpus that isn't done.

    Args:
      uri: of the corpus.
      parser: with the flags of all settings.
      arguments: the command line without ``--corpus``.

    Returns:
      the exit status.
    """
    with failures.before_work():
        if any(argument.partition("=")[0] == "--output" for argument in arguments):
            raise UsageError("output: a run of a corpus writes into the corpus; give --corpus or --output, not both")
        settings, beam = options.resolve(parser, [*arguments, "--output", uri])
        workers.fork_early(beam)
        corpus = Corpus.open(uri, settings.lineage_dsn)
    with corpus:
        with failures.before_work():
            found = list_sources(settings)
            claim = corpus.claim(found, settings.input)
            pending = corpus.pending()
        if not pending:
            LOGGER.info("nothing is new: all %d sources are in the corpus %s", len(found), settings.output)
            return 0
        if claim:
            LOGGER.info("%d of %d sources are new", len(claim.sources), len(found))
        beam = options.fitted(beam, arguments, max(run.recorded.bytes for run in pending))
        values = {name: value for name, value in settings.model_dump(mode="json").items() if name not in OF_THE_CORPUS}
        with local_flink.brought_up(beam) as brought_up:
            return corpus.work(values, brought_up, console)
