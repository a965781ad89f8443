"""Everything that the lineage knows of one document."""

from __future__ import annotations

import uuid
from typing import Any

from psycopg.rows import dict_row

from beam_pipeline.lineage import runs
from beam_pipeline.lineage.user_ids import find_by_user_id
from schemas.errors import ToldError
from schemas.shards import MAX_ROWS_PER_SOURCE, MAX_SOURCES, document_id, split_document_id
from transforms.io.lineage import Lineage, check_text
from transforms.io.postgres import Connection


class NotFoundInLineage(ToldError):
    """The lineage is there, but not what was asked for."""


def trace(
    lineage: Lineage,
    run_id: str,
    *,
    source: str | None = None,
    token_object: str | None = None,
    document: int | None = None,
    user_id: str | None = None,
    row: int | None = None,
    output: str = "",
) -> dict[str, Any]:
    """Everything that is known of one document: a row of the view ``lineage`` and where its shard stands.

    Exactly one of ``source``, ``token_object`` (each with ``row``), ``document`` and ``user_id`` is given. Reads one
    segment; with ``user_id``, also the ids in the run's fingerprint objects (``find_by_user_id``), found in ``output``.

    Raises:
      ValueError: ``row`` is missing or superfluous, or an end of a URI fits several.
      NotFoundInLineage: there is no such document, or its shard isn't done; the message says which.
    """
    if (source is None and token_object is None) != (row is None):
        raise ValueError("--row: needed with --source and --object, and not with --id and --user-id")
    if row is not None and not 0 <= row < MAX_ROWS_PER_SOURCE:
        raise ValueError(f"--row: {row} isn't a row, which is from 0 to {MAX_ROWS_PER_SOURCE - 1}")
    if document is not None and not 0 <= document < document_id(MAX_SOURCES, 0):
        raise ValueError(f"--id: {document} isn't an id, which is from 0 to {document_id(MAX_SOURCES, 0) - 1}")
    for argument, text in (("--source", source), ("--object", token_object), ("--user-id", user_id)):
        check_text(text or "", argument)
    key = uuid.UUID(run_id)
    if user_id is not None:
        document = _the_one(find_by_user_id(lineage, run_id, user_id, output), user_id, run_id)

    def query(connection: Connection) -> dict[str, Any]:
        with connection.cursor(row_factory=dict_row) as cursor:
            if token_object is not None:
                uri = _whole_uri(connection, key, "segments", "token_object", "--object", token_object)
                cursor.execute("SELECT * FROM trace_output(%s, %s) WHERE run = %s", (uri, row, key))
                found = cursor.fetchone()
                if found is None:
                    raise NotFoundInLineage(f"token object {uri} has no row {row}")
                identifier: int = found["document"]
            else:
                identifier = document if document is not None else _document_at(connection, key, str(source), row or 0)
                cursor.execute("SELECT * FROM trace_document(%s, %s)", (key, identifier))
                found = cursor.fetchone()
            number, source_row = split_document_id(identifier)
            cursor.execute(
                "SELECT shard, state AS shard_state, attempts AS shard_attempts, written AS shard_written, error"
                " FROM (SELECT * FROM segments WHERE run = %s AND source = %s AND state = 'unreadable'"
                " UNION ALL SELECT * FROM segment_of(%s, %s)) AS segment LIMIT 1",
                (key, number, key, identifier),
            )
            shard = cursor.fetchone()
        if found is None:
            raise NotFoundInLineage(_why_not(connection, key, number, source_row, shard))
        return found | {name: value for name, value in (shard or {}).items() if name != "error"}

    return lineage.read(query)


def _whole_uri(connection: Connection, run: uuid.UUID, table: str, column: str, argument: str, uri: str) -> str:
    """The run's URI that is, or else ends with, the one given."""
    exact = f"SELECT {column} FROM {table} WHERE run = %s AND {column} = %s"
    ending = f"SELECT {column} FROM {table} WHERE run = %s AND right({column}, length(%s)) = %s ORDER BY 1 LIMIT 4"
    found = connection.execute(exact.encode(), (run, uri)).fetchall()
    found = found or connection.execute(ending.encode(), (run, uri, uri)).fetchall()
    if not found:
        raise NotFoundInLineage(f"{argument}: run {run} has no URI that is {uri!r} or ends with it")
    if len(found) > 1:
        several = ", ".join(value for (value,) in found)
        raise ValueError(f"{argument}: several URIs end with {uri!r}: {several}. Give more of the one that you mean")
    return str(found[0][0])


def _document_at(connection: Connection, run: uuid.UUID, source: str, row: int) -> int:
    uri = _whole_uri(connection, run, "sources", "uri", "--source", source)
    found = connection.execute("SELECT document_at(%s, %s, %s)", (run, uri, row)).fetchall()
    return int(found[0][0])


def _why_not(connection: Connection, run: uuid.UUID, number: int, row: int, shard: dict[str, Any] | None) -> str:
    source = connection.execute(
        "SELECT uri, rows, state FROM sources WHERE run = %s AND number = %s", (run, number)
    ).fetchone()
    if source is None:
        return f"run {run} has no source {number}"
    uri, rows, state = source
    if state != "ok":
        return f"{uri} is {state}"
    if rows is not None and row >= rows:
        return f"{uri} has {rows} rows, none with number {row}"
    if shard is not None and shard["shard_state"] == "unreadable":
        return f"{uri} is unreadable: {shard['error']}"
    if shard is not None and shard["shard_state"] == "done":
        return f"{uri} has no row {row} in a shard that is done"
    progress = "is read but not decided on yet" if shard is not None else "isn't read yet"
    return f"row {row} of {uri} {progress}: run {run} isn't done with it"


def _the_one(found: list[int], user_id: str, run: str) -> int:
    if not found:
        raise NotFoundInLineage(f"--user-id: no document that run {run} has read has the id {user_id!r}")
    if len(found) > 1:
        listed = ", ".join(f"--id {document}" for document in found[:10])
        raise ValueError(f"--user-id: {len(found)} documents have the id {user_id!r}; ask for one of them: {listed}")
    return found[0]


def duplicates(lineage: Lineage, run_id: str, source_uri: str, source_row: int) -> list[dict[str, Any]]:
    """The rows of the view ``lineage`` that have this document as witness, in the order of the sources."""

    def query(connection: Connection) -> list[dict[str, Any]]:
        with connection.cursor(row_factory=dict_row) as cursor:
            asked = (run_id, source_uri, source_row)
            return cursor.execute("SELECT * FROM duplicates_of(%s, %s, %s) ORDER BY document", asked).fetchall()

    return lineage.read(query)


def count_duplicates(lineage: Lineage, run_id: str, source_uri: str, source_row: int) -> int:
    """How many ``duplicates`` there are."""
    asked = (run_id, source_uri, source_row)
    [[found]] = lineage.read(
        lambda connection: connection.execute("SELECT count(*) FROM duplicates_of(%s, %s, %s)", asked).fetchall()
    )
    return int(found)


def in_parent(lineage: Lineage, run_id: str, document: int) -> dict[str, Any]:
    """What became of a document in the run that this one decided again, as ``parent``; nothing if it decided none."""
    parent = runs.settings(lineage, run_id).get("parent")
    if not parent:
        return {}
    try:
        found = trace(lineage, parent, document=document)
    except (NotFoundInLineage, ValueError) as error:
        return {"parent": {"run": parent, "unknown": str(error)}}
    names = (
        "outcome", "reason", "witness_run", "witness_uri", "witness_row", "similarity", "token_object", "token_row",
    )  # fmt: skip
    return {"parent": {"run": parent} | {name: found[name] for name in names}}
