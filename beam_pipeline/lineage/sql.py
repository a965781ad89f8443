"""A user's own question in SQL, answered by the lineage's database without the right to change anything."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import psycopg

from schemas.errors import WRONG_USAGE, ToldError
from transforms.io.postgres import connect

RUN = ":'run'"
"""Stands for the id of the run in a query, quoted: psql's notation for a variable."""

_AT_ONCE = 1000


class QueryRefused(ToldError):
    """PostgreSQL refuses the query; the message is PostgreSQL's."""

    exit_status = WRONG_USAGE


class Answer(NamedTuple):
    """The names of the columns, and the rows as they come from the server."""

    names: Sequence[str]
    rows: Iterator[tuple[Any, ...]]


@contextlib.contextmanager
def answer(dsn: str, query: str, run: str = "") -> Iterator[Answer]:
    """Asks the database, for the block. Memory is bounded: a thousand rows are held at once.

    Args:
      dsn: of the lineage's database.
      query: one SELECT; ``:'run'`` in it stands for the run.
      run: the id of the run, if there is one.

    Raises:
      QueryRefused: the query isn't one that PostgreSQL answers, or would change something.
      psycopg.OperationalError: the server can't be reached.
    """
    if RUN in query and not run:
        raise QueryRefused(f"sql: {RUN} stands for a run, but there is none; name one by --output or --run")
    text = query.strip().rstrip(";").replace(RUN, f"'{uuid.UUID(run)}'::uuid" if run else RUN)
    with connect(dsn) as connection:
        try:
            connection.read_only = True
            with connection.transaction(), connection.cursor(name="question") as cursor:
                cursor.itersize = _AT_ONCE
                cursor.execute(text.encode())
                yield Answer([column.name for column in cursor.description or ()], iter(cursor))
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            raise QueryRefused(f"sql: {str(error).strip()}") from error
