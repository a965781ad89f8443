"""Sixteen writers, a tenth of them killed in mid-transaction, two restarts: one row a segment, right contents."""

from __future__ import annotations

from tests.lineage_examples import OUTCOMES, RUN, lineage_rows, sources
from tests.lineage_writers import all_segments, write_under_faults
from tests.postgres import Server
from tests.test_lineage import rows, view
from transforms.io.lineage import Lineage

pytest_plugins = ["tests.postgres"]


def test_every_segment_is_there_once(lineage: Lineage, database: str, postgres: Server) -> None:
    lineage.start_run(RUN, {}, "hash", "1.0", OUTCOMES)
    lineage.record_sources(RUN, sources(3))
    write_under_faults(lineage, postgres, database, writers=16, killed=2, segments=1600, rows=200, restarts=2)
    assert rows(lineage, "SELECT count(*), count(DISTINCT shard), max(attempts) FROM segments") == [(1600, 1600, 1)]
    assert view(lineage) == lineage_rows(all_segments(1600, 200))
