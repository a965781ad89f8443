"""What docs/lineage.md shows is true: its queries run and answer, its roles may what they should."""

from __future__ import annotations

import dataclasses
import re
import uuid
from pathlib import Path

import psycopg
import psycopg.conninfo
import pytest

from beam_pipeline.lineage import runs
from schemas.segments import Segment, SourceState
from tests.lineage_examples import OUTCOMES, RUN, lineage_rows, segment, sources
from transforms.io.lineage import Lineage, LineageSchemaError, LineageUnavailable

pytest_plugins = ["tests.postgres"]

TEXT = (Path(__file__).parent.parent / "docs" / "lineage.md").read_text()
QUERIES = re.findall(r"^(\d+)\. (.*?)\n\n```sql\n(.*?)```", TEXT, re.MULTILINE | re.DOTALL)
OTHER = "0b5e3f4c-9d3e-4f4e-8a51-3f0d4b6c7d90"
DONE = [segment(1, 0), segment(2, 0, first_row=50), segment(3, 1)]
# Of the queries that may well find nothing here.
EMPTY = {"20"}


@pytest.fixture
def filled(lineage: Lineage) -> Lineage:
    """Two runs over the same three sources, the last of which can't be read."""
    for run, shift in ((RUN, 0), (OTHER, 5)):
        lineage.start_run(run, {"min_similarity": 0.8 - shift / 100}, "hash", "1.0", OUTCOMES)
        lineage.record_sources(run, sources(3))
        lineage.set_source_states(
            run, [SourceState(0, "ok", 100, 2), SourceState(1, "ok", 50, 1), SourceState(2, "unreadable: cut short")]
        )
        segments = [segment(i + 1 + shift, *place, run=run) for i, place in enumerate([(0, 0), (0, 50), (1, 0)])]
        lineage.upsert_segments([*segments, Segment(run, "0000002-00000", 2, 0, 0, "unreadable", error="cut short")])
    return lineage


def test_there_are_twenty() -> None:
    assert [int(number) for number, *_ in QUERIES] == list(range(1, 21))


def test_every_query_answers(filled: Lineage) -> None:
    expected = lineage_rows(DONE)
    witness = next(row for row in expected if row[6])
    kept = next(row for row in expected if row[3] == "kept")
    for number, question, query in QUERIES:
        asked = {"run": RUN, "a": RUN, "b": OTHER, "uri": expected[0][0], "row": 7, "object": kept[9]}
        if number == "4":
            asked |= {"uri": witness[6], "row": witness[7]}
        if number == "1":
            asked |= {"row": kept[10]}
        runs = {name: uuid.UUID(str(asked[name])) for name in ("run", "a", "b")}
        found = filled.read(
            lambda connection, query=query, values=asked | runs: connection.execute(query.encode(), values).fetchall()
        )
        assert found or number in EMPTY, f"{number}. {question}"
        if number == "1":
            assert found == [(kept[0], kept[1], kept[5])]
        if number == "2":
            assert found == [(*expected[7][3:5], *expected[7][6:])]
        if number == "4":
            assert found == [(*row[:2], row[4], row[8]) for row in expected if row[6:8] == witness[6:8]]
        if number == "15":
            assert found == [row[9:] for row in expected if row[0] == expected[0][0] and row[3] == "kept"]
    filled.upsert_segments([dataclasses.replace(segment(9, 1))])
    shards = filled.read(lambda connection: connection.execute(QUERIES[-1][2].encode(), {"run": RUN}).fetchall())
    assert [row[0] for row in shards] == ["0000001-00000"]


def test_the_roles_may_what_they_need_and_no_more(lineage: Lineage, database: str) -> None:
    [text] = re.findall(r"```sql roles\n(.*?)```", TEXT, re.DOTALL)
    suffix = uuid.uuid4().hex
    workers, readers = f"workers_{suffix}", f"readers_{suffix}"
    text = text.replace("lineage_workers", workers).replace("lineage_readers", readers)
    logins = {name: psycopg.conninfo.make_conninfo(database, user=f"login_{name}") for name in (workers, readers)}
    with psycopg.connect(database, autocommit=True) as owner:
        [(schema,)] = owner.execute("SELECT current_schema()").fetchall()
        owner.execute(text.encode())
        for name in logins:
            owner.execute(f"GRANT USAGE ON SCHEMA {schema} TO {name}".encode())
            owner.execute(f"CREATE ROLE login_{name} LOGIN IN ROLE {name}".encode())
        try:
            with Lineage(logins[workers], 5) as worker:
                worker.check_schema()
                worker.check_rights()
                worker.start_run(RUN, {}, "hash", "1.0", OUTCOMES)
                worker.record_sources(RUN, sources(3))
                worker.set_source_states(RUN, [SourceState(0, "ok", 100, 2)])
                worker.upsert_segments(DONE)
                worker.upsert_segments([segment(4, 1)])
                worker.finish_run(RUN, "done", {})
                worker.start_run(RUN, {}, "hash", "1.0", OUTCOMES)
                assert runs.totals(worker, RUN).documents == 150
                with pytest.raises(LineageUnavailable, match="permission denied"):
                    worker.drop_run(RUN)
                for table in ("runs", "segments", "sources"):
                    with pytest.raises(LineageUnavailable, match="permission denied"):
                        worker.read(lambda connection, table=table: connection.execute(f"DELETE FROM {table}".encode()))
            with Lineage(logins[readers], 5) as reader:
                reader.check_schema()
                with pytest.raises(LineageSchemaError, match="GRANT INSERT ON runs TO"):
                    reader.check_rights()
                assert runs.progress(reader, RUN).done == 150
                count = "SELECT count(*) FROM lineage"
                assert reader.read(lambda connection: connection.execute(count).fetchall()) == [(150,)]
                with pytest.raises(LineageUnavailable, match="permission denied"):
                    reader.upsert_segments(DONE)
                with pytest.raises(LineageUnavailable, match="permission denied"):
                    reader.start_run(OTHER, {}, "hash", "1.0", OUTCOMES)
        finally:
            for name in (*logins, *(f"login_{name}" for name in logins)):
                owner.execute(f"DROP OWNED BY {name}".encode())
                owner.execute(f"DROP ROLE {name}".encode())
