"""Sources that were deleted or replaced after their claim."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from beam_pipeline.corpus.opened import Claim, OpenedCorpus
from beam_pipeline.plan import read_plan
from schemas.shards import Source
from transforms.io import storage

LOGGER = logging.getLogger(__name__)

ASKED_ONE_BY_ONE = 10_000
"""So many sources at most cost a request each; of more, the inputs are listed."""
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
    gone = _gone(_not_listed(claim))
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


def renewed(corpus: OpenedCorpus, claim: Claim, error: str) -> bool:
    """Gives up a run that can't be done, since sources of it are gone; the others become the corpus's next run.

    No other process may work on the corpus meanwhile.

    Args:
      error: why the run has failed. It counts only if it names a source that is gone: else trying again may help.

    Raises:
      StorageError: the store can't be asked.
    """
    if not _gone([source for source in claim.sources if source.uri in error]):
        return False
    gone = _gone(claim.sources)
    reason = f"{len(gone)} of its {len(claim.sources)} sources were deleted or replaced while it ran: {gone[0].uri}"
    number = corpus.ledger.renew(claim.number, gone, corpus.layout.runs, reason)
    LOGGER.warning(
        "run %d of the corpus is given up: %s%s",
        claim.number, reason, f"; the others are in run {number}" if number else "",
    )  # fmt: skip
    return True


def _not_listed(claim: Claim) -> Sequence[Source]:
    """Of very many sources those that a listing of the run's inputs doesn't show as they were claimed; else all."""
    if len(claim.sources) <= ASKED_ONE_BY_ONE:
        return claim.sources
    left = {source.uri: source for source in claim.sources}
    try:
        for place in claim.recorded.inputs:
            for info in storage.list_objects(place):
                source = left.get(info.uri)
                if source is not None and (info.etag, info.size) == (source.etag, source.size):
                    del left[info.uri]
    except storage.StorageError as error:
        LOGGER.debug("the inputs can't be listed: %s", error)
    return list(left.values())


def _gone(sources: Sequence[Source]) -> list[Source]:
    with ThreadPoolExecutor(_THREADS) as pool:
        there = list(pool.map(_is_there, sources))
    return [source for source, found in zip(sources, there, strict=True) if not found]


def _is_there(source: Source) -> bool:
    info = storage.stat(source.uri)
    return info is not None and (info.etag, info.size) == (source.etag, source.size)
