"""The lock of a corpus in PostgreSQL: one process at a time carries out its runs.

It belongs to a session of PostgreSQL, so it goes with the process that holds it, however that dies.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator

import psycopg

from transforms.io.lineage import RETRY_SECONDS, LineageUnavailable, connect
from transforms.io.postgres import Connection, retrying

LOGGER = logging.getLogger(__name__)

_ASK_AGAIN_SECONDS = 2.0


@contextlib.contextmanager
def alone(dsn: str, corpus: str) -> Iterator[None]:
    """Waits until no other process works on the corpus, and keeps others out until the block ends.

    Args:
      dsn: PostgreSQL with the ledger.
      corpus: the corpus's id, or the name of what else only one process at a time may work on.

    Raises:
      LineageUnavailable: the database can't be reached, or not any more while this waits.
    """
    with retrying(lambda: connect(dsn), dsn, RETRY_SECONDS) as connection:
        try:
            _wait(connection, corpus)
        except psycopg.Error as error:
            said = " ".join(str(error).split())
            raise LineageUnavailable(
                f"lineage_dsn: the connection was lost while waiting for the corpus: {said}; run the same command again"
            ) from error
        try:
            yield
        finally:
            with contextlib.suppress(psycopg.Error):  # the lock has gone with the connection
                connection.execute("SELECT pg_advisory_unlock_all()")


def nobody_works(connection: Connection, corpus: str) -> bool:
    """Whether no process works on the corpus; if so, none begins to until the transaction ends."""
    return connection.execute(
        "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", (_key(corpus),)
    ).fetchone() == (True,)


def _wait(connection: Connection, corpus: str) -> None:
    said = False
    while connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (_key(corpus),)).fetchone() != (
        True,
    ):
        if not said:
            LOGGER.info("another process works on this corpus; waiting for it")
            said = True
        time.sleep(_ASK_AGAIN_SECONDS)


def _key(corpus: str) -> str:
    return f"corpus {corpus}"
