"""Sources that were deleted or replaced between their claim and the plan of their run."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

from beam_pipeline.corpus.opened import Claim, OpenedCorpus
from beam_pipeline.plan import read_plan
from schemas.shards import Source
from transforms.io import storage

LOGGER = logging.getLogger(__name__)

_THREADS = 16  # a request each: they wait for the store


def forget_vanished(corpus: OpenedCorpus, claim: Claim) -> Claim:
    """Takes sources out of a run that isn't planned yet, if the store has them no more, or another version.

    They are new again: one that was replaced announces itself, or is found in a listing. A run without sources is
    released. No other process may work on the corpus meanwhile (``corpus_ledger.alone``).

    Returns:
      the claim with the sources that are left.

    Raises:
      StorageError: the store can't be asked.
    """
    if read_plan(claim.output) is not None:
        return claim
    with ThreadPoolExecutor(_THREADS) as pool:
        there = list(pool.map(_is_there, claim.sources))
    gone = [source for source, found in zip(claim.sources, there, strict=True) if not found]
    if not gone:
        return claim
    LOGGER.warning(
        "run %d of the corpus: %d of its %d sources were deleted or replaced before it began, the first is %s",
        claim.number,
        len(gone),
        len(claim.sources),
        gone[0].uri,
    )
    corpus.ledger.forget(claim.number, gone)
    return Claim(corpus.ledger.run(claim.number), corpus.ledger.sources(claim.number))


def _is_there(source: Source) -> bool:
    info = storage.stat(source.uri)
    return info is not None and (info.etag, info.size) == (source.etag, source.size)
