"""What became of documents by a stored column: an attribute, such as ``domain``, or a kept column of the sources."""

from __future__ import annotations

import difflib
import functools
import uuid
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from beam_pipeline.lineage import runs
from beam_pipeline.lineage.documents import NotFoundInLineage
from beam_pipeline.lineage.totals import Amount
from schemas.errors import WRONG_USAGE, ToldError
from schemas.outcomes import KEPT, PAGE
from schemas.run_layout import RunLayout
from transforms.io.lineage import Lineage
from transforms.io.own_objects import opened
from transforms.io.postgres import Connection

MOST_VALUES = 5_000_000
"""So many outcomes by value are held in memory, about 1 GB."""


class NoSuchColumn(ToldError):
    """The column isn't stored, or has too many values."""

    exit_status = WRONG_USAGE


def funnel_by(lineage: Lineage, run: str, column: str, output: str = "") -> dict[tuple[str, str, str | None], Amount]:
    """Documents, bytes and tokens of a run's finished shards by outcome, reason and the value of a stored column.

    Reads this column of the fingerprints and the lengths of the token rows, shard by shard. A value is written as a
    string; it is None where the column has none, as behind the step that dropped a document.

    Args:
      output: where the run's output is now, if it isn't where the run wrote it.

    Raises:
      NotFoundInLineage: there is no such run.
      NoSuchColumn: the column isn't stored, or there are more than ``MOST_VALUES`` different values.
      DamagedObject, StorageError: an object can't be read.
    """
    written_to = runs.settings(lineage, run).get("output")
    if written_to is None:
        raise NotFoundInLineage(f"there is no run {run} in the lineage at {lineage.public_dsn}")
    layout = RunLayout(output or written_to)
    key = uuid.UUID(run)
    meaning_of = lineage.read(lambda connection: meanings(connection, key))
    found: dict[tuple[str, str, str | None], Amount] = {}
    for shard in lineage.read(lambda connection: _shards(connection, key)):
        codes, tokens_uri = lineage.read(functools.partial(outcomes_of, run=key, shard=shard))
        for code, value, amount in _counted(
            layout.fingerprints_of(shard), runs.moved(tokens_uri, written_to, layout.output) or "", codes, column
        ):
            outcome, reason = meaning_of.get(code, ("undeclared", ""))
            name = (outcome, reason, value)
            found[name] = found.get(name, Amount()) + amount
        if len(found) > MOST_VALUES:
            raise NoSuchColumn(f"--by {column}: there are more than {MOST_VALUES:,} values; ask by another column")
    return found


def meanings(connection: Connection, run: uuid.UUID) -> dict[int, tuple[str, str]]:
    """Outcome and reason of each code that the run has declared."""
    rows = connection.execute("SELECT code::integer, page, outcome, reason FROM outcomes WHERE run = %s", (run,))
    return {PAGE * page + code: (outcome, reason or "") for code, page, outcome, reason in rows}


def _shards(connection: Connection, run: uuid.UUID) -> list[str]:
    wanted = "SELECT shard FROM segments WHERE run = %s AND state = 'done' AND rows > 0 ORDER BY source, first_row"
    return [shard for (shard,) in connection.execute(wanted, (run,))]


def outcomes_of(connection: Connection, run: uuid.UUID, shard: str) -> tuple[np.ndarray, str]:
    """The outcome code of each document of a finished shard, and the URI of its token object."""
    wanted = (
        "SELECT array_to_string(outcomes, ''), token_object,"
        " (SELECT array_agg(page::integer ORDER BY place) FROM unnest(pages) WITH ORDINALITY AS each (page, place))"
        " FROM segments WHERE run = %s AND shard = %s"
    )
    row = connection.execute(wanted, (run, shard)).fetchone()
    codes, uri, pages = row or ("", "", None)
    characters = np.frombuffer(codes.encode("ascii"), np.uint8)
    return characters if pages is None else characters + PAGE * np.array(pages, np.uint16), uri


def _counted(
    fingerprints_uri: str, tokens_uri: str, codes: np.ndarray, column: str
) -> Iterator[tuple[int, str | None, Amount]]:
    """The amounts of one shard by outcome code and value."""
    with opened(fingerprints_uri) as file:
        parquet = pq.ParquetFile(file)
        names = parquet.schema_arrow.names
        if column not in names:
            close = difflib.get_close_matches(column, names, n=1)
            hint = f"; did you mean {close[0]}?" if close else "."
            raise NoSuchColumn(f"--by {column}: {fingerprints_uri} has no such column{hint} It has {', '.join(names)}")
        stored = parquet.read(columns=[column, "text_bytes"])
    tokens = np.zeros(len(codes), np.int64)
    if tokens_uri:
        with opened(tokens_uri) as file:
            lengths = pq.ParquetFile(file).read(columns=["n_tokens"])["n_tokens"].to_numpy()
        tokens[np.flatnonzero(codes == KEPT)] = lengths
    values = stored[column]
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_nested(values.type):
        raise NoSuchColumn(f"--by {column}: it has values of type {values.type}; ask by one of strings or numbers")
    table = pa.table(
        {
            "code": pa.array(codes),
            "value": values.cast(pa.string()),
            "bytes": stored["text_bytes"].cast(pa.int64()).fill_null(0),
            "tokens": pa.array(tokens),
        }
    )
    grouped = table.group_by(["code", "value"]).aggregate([("bytes", "count"), ("bytes", "sum"), ("tokens", "sum")])
    for row in grouped.to_pylist():
        yield row["code"], row["value"], Amount(row["bytes_count"], row["bytes_sum"], row["tokens_sum"])
