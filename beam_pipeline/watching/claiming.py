"""From what was announced to sources of a corpus: what the store has now, of what belongs to the corpus."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from beam_pipeline.watching.notifications import Announced
from transforms.io import storage
from transforms.io.storage import ObjectInfo, StorageError

_THREADS = 16  # a request each: they wait for the store


class Wanted:
    """Which objects a corpus takes.

    Args:
      prefixes: those below one of these; empty: all.
      corpus: nothing below it, which is what its runs write.
    """

    def __init__(self, prefixes: Sequence[str], corpus: str):
        self._below = tuple(storage.join(prefix, "") for prefix in prefixes)
        self._own = storage.join(corpus, "")
        self._prefixes = prefixes

    def __call__(self, uri: str) -> bool:
        """Whether it is one; as in a listing, a name with a part that begins with ``_`` or ``.`` is not."""
        if uri.startswith(self._own) or uri.endswith("/"):
            return False
        places = [place for place in self._below if uri.startswith(place)] if self._below else ["s3://"]
        return any(not any(part.startswith(("_", ".")) for part in uri[len(place) :].split("/")) for place in places)

    def inputs(self, uris: Iterable[str]) -> list[str]:
        """What a run over objects names as its inputs: the prefixes, or their buckets."""
        return list(self._prefixes) or sorted({"/".join(uri.split("/")[:3]) + "/" for uri in uris})


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the store says of announced objects.

    Attributes:
      objects: those that are there now and wanted, by URI; not those that were deleted again.
      failed: those that couldn't be asked for, with the reason.
    """

    objects: list[ObjectInfo]
    failed: dict[tuple[str, ...], StorageError]


def ask(announced: Collection[Announced], wanted: Wanted) -> Answer:
    """Asks the store for each object."""
    with ThreadPoolExecutor(_THREADS) as pool:
        answers = list(pool.map(lambda each: _stat(each, wanted), announced))
    found = {answer.uri: answer for answer in answers if isinstance(answer, ObjectInfo)}
    failed = {
        each.names: answer for each, answer in zip(announced, answers, strict=True) if isinstance(answer, StorageError)
    }
    return Answer([found[uri] for uri in sorted(found)], failed)


def _stat(announced: Announced, wanted: Wanted) -> ObjectInfo | StorageError | None:
    """The object of that name; where the name may be read in two ways, rather the one with the announced ETag."""
    first = None
    for name in filter(wanted, announced.names):
        try:
            info = storage.stat(name)
        except StorageError as error:
            return error
        if info is not None and info.etag == announced.etag:
            return info
        first = first or info
    return first
