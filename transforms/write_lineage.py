"""WriteLineage: what became of every document, and of every source, goes to PostgreSQL."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import apache_beam as beam

from schemas.segments import Segment, SourceState
from transforms.counters import count
from transforms.io.lineage import RETRY_SECONDS, Lineage, has_password

LOGGER = logging.getLogger(__name__)

Element = TypeVar("Element")

_SEGMENTS_AT_ONCE = 16
_DOCUMENTS_AT_ONCE = 1_000_000  # about 13 MB as COPY sends them
_SOURCES_AT_ONCE = 1_000


def _check_dsn(dsn: str) -> None:
    if has_password(dsn):
        raise ValueError(
            "lineage_dsn: leave the password out, as everybody can read a pipeline's options; "
            "set PGPASSWORD or PGPASSFILE for the workers"
        )


class _Write(beam.DoFn, Generic[Element]):
    """Writes elements in few transactions; buffers within a bundle only, so nothing is acknowledged unwritten."""

    def __init__(
        self,
        dsn: str,
        retry_seconds: float,
        write: Callable[[Lineage, Sequence[Element]], None],
        is_full: Callable[[Sequence[Element]], bool],
    ):
        self._dsn = dsn
        self._retry_seconds = retry_seconds
        self._write = write
        self._is_full = is_full
        self._lineage: Lineage | None = None
        self._buffer: list[Element] = []

    def start_bundle(self) -> None:
        """A bundle that failed may have left its elements behind; they come again."""
        self._buffer = []

    def process(self, element: Element) -> None:
        """Flushes by itself, too: with a streaming runner a bundle may be long."""
        self._buffer.append(element)
        if self._is_full(self._buffer):
            self._flush()

    def finish_bundle(self) -> None:
        """Writes what is left, and lets go of the connection: thousands of idle ones would be more than a server has.

        To connect again takes milliseconds, a shard many seconds.
        """
        self._flush()
        self.teardown()

    def teardown(self) -> None:
        """Closes the connection, if a bundle that failed has left one."""
        if self._lineage is not None:
            self._lineage.close()
            self._lineage = None

    def _flush(self) -> None:
        if not self._buffer:
            return
        if self._lineage is None:
            self._lineage = Lineage(self._dsn, self._retry_seconds)
        self._write(self._lineage, self._buffer)
        self._buffer = []


def _write_segments(lineage: Lineage, segments: Sequence[Segment]) -> None:
    for shard, state, attempt in lineage.upsert_segments(segments):
        LOGGER.info("run %s: shard %s is %s, attempt %d", segments[0].run, shard, state, attempt)
        count(retries=int(attempt > 1))


def _enough_segments(segments: Sequence[Segment]) -> bool:
    return len(segments) >= _SEGMENTS_AT_ONCE or sum(segment.rows for segment in segments) >= _DOCUMENTS_AT_ONCE


def _enough_sources(states: Sequence[SourceState]) -> bool:
    return len(states) >= _SOURCES_AT_ONCE


@dataclasses.dataclass(frozen=True)
class _WriteStates:
    run: str

    def __call__(self, lineage: Lineage, states: Sequence[SourceState]) -> None:
        lineage.set_source_states(self.run, states)


@dataclasses.dataclass
class WriteLineage(beam.PTransform):
    """From ``Segment``: all are in the lineage when the bundle is done; nothing comes out.

    A bundle that is retried changes nothing.

    Attributes:
      dsn: libpq connection string without a password: credentials come from the workers' environment.
      retry_seconds: how long a worker waits for a database that is away before the run fails.

    Raises:
      ValueError: the DSN isn't one, or has a password in it.
    """

    dsn: str
    retry_seconds: float = RETRY_SECONDS

    def __post_init__(self) -> None:
        _check_dsn(self.dsn)

    def expand(self, segments: beam.PCollection[Segment]) -> beam.PCollection[Any]:
        """One connection a worker thread, for as long as it has something to write."""
        write: _Write[Segment] = _Write(self.dsn, self.retry_seconds, _write_segments, _enough_segments)
        return segments | beam.ParDo(write)


@dataclasses.dataclass
class WriteSources(beam.PTransform):
    """From ``SourceState``: the state, rows and shards of the run's sources, which were recorded before it started.

    Attributes:
      dsn, retry_seconds: as for ``WriteLineage``.
      run: UUID of the run.

    Raises:
      ValueError: the DSN isn't one, or has a password in it.
    """

    dsn: str
    run: str
    retry_seconds: float = RETRY_SECONDS

    def __post_init__(self) -> None:
        _check_dsn(self.dsn)

    def expand(self, states: beam.PCollection[SourceState]) -> beam.PCollection[Any]:
        """One connection a worker thread, for as long as it has something to write."""
        write: _Write[SourceState] = _Write(self.dsn, self.retry_seconds, _WriteStates(self.run), _enough_sources)
        return states | beam.ParDo(write)
