"""What the commands have in common that take ``--corpus``."""

from __future__ import annotations

import argparse

from beam_pipeline.corpus import Corpus
from beam_pipeline.failures import Refused


def opened_corpus(uri: str, dsn: str = "") -> Corpus:
    """A corpus that is there; a context manager.

    Raises:
      CorpusError: there is none, or its ledger isn't in the database.
    """
    return Corpus.open(uri, dsn, create=False)


def refuse_beside_corpus(args: argparse.Namespace, *names: str) -> None:
    """Refuses arguments that make no sense beside ``--corpus``.

    Raises:
      Refused: one was given.
    """
    for name in names:
        if getattr(args, name, None):
            raise Refused(f"--{name}: with --corpus, the corpus says which runs are meant; leave --{name} out")
