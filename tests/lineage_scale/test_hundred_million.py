"""100 million documents in 1,000 segments, by two writers: how fast they are loaded and asked, and what they take.

The promises are of a quiet machine with two cores; the figures are printed (pytest -s).
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest

from beam_pipeline.lineage import runs
from schemas.outcomes import Outcomes
from schemas.segments import Segment, SourceState
from schemas.shards import Source
from tests.postgres import Server
from transforms.io.lineage import Lineage

pytest_plugins = ["tests.postgres"]

SEGMENTS, ROWS, LANGUAGES, KINDS = 1_000, 100_000, 40, 20
RUN = "0b5e3f4c-9d3e-4f4e-8a51-3f0d4b6c7d8f"


def kind(number: int) -> Segment:
    """One of a few different segments: making all of them different would take longer than loading them."""
    random = np.random.default_rng(number)
    codes = random.choice(np.frombuffer(b'kxnze!"', np.uint8), ROWS, p=[0.6, 0.2, 0.05, 0.01, 0.01, 0.08, 0.05])
    shares = 1 / np.arange(1, LANGUAGES + 1) ** 2
    languages = random.choice(LANGUAGES, ROWS, p=shares / shares.sum()).astype(np.int16)
    duplicates = np.flatnonzero(np.isin(codes, list(b"xn")))
    names = tuple(f"lang{i:03d}_Latn" for i in range(LANGUAGES))
    near = np.round(random.uniform(0.8, 1, len(duplicates)) * 256) / 256
    cells = [
        [chr(code), name, int(((codes == code) & (languages == i)).sum()), 1000, 200]
        for code in np.unique(codes)
        for i, name in enumerate(names)
    ]
    return Segment(
        run=RUN,
        shard="",
        source=0,
        first_row=0,
        rows=ROWS,
        state="done",
        token_object="-",
        outcomes=codes.tobytes(),
        languages=languages,
        language_names=names,
        duplicate_rows=duplicates.astype(np.uint32),
        witness_sources=np.zeros(len(duplicates), np.uint32),
        witness_rows=np.zeros(len(duplicates), np.uint32),
        similarities=np.where(codes[duplicates] == ord("x"), 1, near).astype(np.float32),
        counts={"funnel": cells},
        costs={"ReadDocuments": {"wall": 1.5, "cpu": 1.25}},
    )


def segment(number: int, kinds: list[Segment]) -> Segment:
    """Its witnesses are all over the run, some of them of many documents: the number of duplicates has a long tail."""
    like = kinds[number % KINDS]
    random = np.random.default_rng([1, number])
    duplicates = len(like.duplicate_rows)
    return dataclasses.replace(
        like,
        shard=f"{number:07d}-00000",
        source=number,
        token_object=token_object(number),
        witness_sources=random.integers(0, SEGMENTS, duplicates).astype(np.uint32),
        witness_rows=(random.zipf(1.3, duplicates) % ROWS).astype(np.uint32),
    )


def source_uri(number: int) -> str:
    return f"s3://bucket/in/{number:04d}.parquet"


def token_object(number: int) -> str:
    return f"s3://bucket/out/tokens/{number:07d}-00000.parquet"


@pytest.fixture(scope="module")
def loaded(postgres: Server) -> Iterator[tuple[Lineage, float, list[Segment]]]:
    """The lineage, documents a second while it was loaded, the kinds."""
    with Lineage(postgres.dsn) as lineage:
        lineage.migrate()
        lineage.start_run(RUN, {}, "hash", "1.0", Outcomes.with_filters(["short", "language"]))
        lineage.record_sources(RUN, [Source(i, source_uri(i), "etag", 1) for i in range(SEGMENTS)])
        lineage.set_source_states(RUN, [SourceState(i, "ok", ROWS, 1) for i in range(SEGMENTS)])
        kinds = [kind(number) for number in range(KINDS)]

        def write(first: int) -> None:
            with Lineage(postgres.dsn) as own:
                for start in range(first, SEGMENTS, 20):
                    own.upsert_segments([segment(i, kinds) for i in range(start, min(SEGMENTS, start + 20), 2)])

        started = time.perf_counter()
        writers = [threading.Thread(target=write, args=(first,)) for first in range(2)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        rate = SEGMENTS * ROWS / (time.perf_counter() - started)
        lineage.read(lambda connection: connection.execute("ANALYZE segments"))
        yield lineage, rate, kinds
    with psycopg.connect(postgres.dsn, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")


def report(figure: str) -> None:
    sys.stdout.write(f"\n{figure}\n")


def median_seconds(lineage: Lineage, query: str, questions: list[tuple[Any, ...]]) -> tuple[float, int]:
    """The median time of a query over several questions, and how many rows they had together."""
    seconds, found = [], 0
    for question in questions:
        started = time.perf_counter()
        found += len(lineage.read(lambda connection, q=question: connection.execute(query.encode(), q).fetchall()))
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds), found


def test_two_writers_load_two_million_documents_a_second(loaded: tuple[Lineage, float, list[Segment]]) -> None:
    report(f"loaded {loaded[1] / 1e6:.2f} M documents/s")
    assert loaded[1] >= 2e6


def test_a_document_takes_five_bytes_or_less(loaded: tuple[Lineage, float, list[Segment]]) -> None:
    size = "SELECT sum(pg_total_relation_size(relid))::bigint FROM pg_partition_tree('segments')"
    [(total,)] = loaded[0].read(lambda connection: connection.execute(size).fetchall())
    report(f"{total / SEGMENTS / ROWS:.2f} bytes a document")
    assert total <= 5 * SEGMENTS * ROWS


def test_a_trace_takes_fifty_milliseconds_or_less(loaded: tuple[Lineage, float, list[Segment]]) -> None:
    places = np.random.default_rng(5).integers(0, [SEGMENTS, ROWS // 2], (50, 2)).tolist()
    for name, questions in {
        "trace_source(%s, %s, %s)": [(uuid.UUID(RUN), source_uri(i), row) for i, row in places],
        "trace_output(%s, %s)": [(token_object(i), row) for i, row in places],
    }.items():
        seconds, found = median_seconds(loaded[0], f"SELECT * FROM {name}", questions)
        report(f"{name}: {seconds * 1000:.1f} ms")
        assert found == len(places)
        assert seconds < 0.05


def test_a_funnel_takes_a_second_or_less(loaded: tuple[Lineage, float, list[Segment]]) -> None:
    lineage, _, kinds = loaded
    seconds, found = median_seconds(lineage, "SELECT * FROM funnel(%s)", [(RUN,)] * 5)
    report(f"funnel: {seconds:.2f} s")
    assert found == 5 * len(kinds[0].counts["funnel"])
    assert seconds < 1
    assert runs.totals(lineage, RUN).documents == SEGMENTS * ROWS


def test_duplicates_are_found_in_a_second_or_less(loaded: tuple[Lineage, float, list[Segment]]) -> None:
    lineage, _, kinds = loaded
    some = segment(3, kinds)
    chosen = [(int(some.witness_sources[i]), int(some.witness_rows[i])) for i in range(15)]
    query = "SELECT document, witness_row, similarity FROM duplicates_of(%s, %s, %s)"
    seconds, found = median_seconds(lineage, query, [(RUN, source_uri(source), row) for source, row in chosen])
    worst, most = median_seconds(lineage, query, [(RUN, source_uri(7), 1)])
    report(f"duplicates_of: {seconds:.2f} s; {worst:.2f} s for the {most:,} of one document in every segment")
    assert found >= len(chosen)
    assert seconds < 1
