"""Many writers of the same segments at once: some are killed in mid-transaction, and the server restarts."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg.conninfo

from schemas.segments import Segment
from tests.lineage_examples import segment
from tests.postgres import Server
from transforms.io.lineage import Lineage

REPOSITORY = Path(__file__).parent.parent
_PROGRAM = """
import sys
import transforms.io.lineage as module
from tests.lineage_writers import segments_of
dsn, writer, writers, count, rows, slow = sys.argv[1], *map(int, sys.argv[2:])
if slow:  # holds its transaction open after the upsert, to be killed there
    module._UPSERT_SEGMENTS += "; SELECT pg_sleep(30)"
lineage = module.Lineage(dsn, 60)
for one in segments_of(writer, writers, count, rows):
    lineage.upsert_segments([one])
"""

_SLEEPING = "SELECT FROM pg_stat_activity WHERE application_name = %s AND wait_event = 'PgSleep'"
_TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"


def all_segments(count: int, rows: int) -> list[Segment]:
    """Every segment there should be in the end."""
    return [segment(1, i % 3, rows * (i // 3), rows) for i in range(count)]


def segments_of(writer: int, writers: int, count: int, rows: int) -> list[Segment]:
    """The share of one writer, in an order of its own: each segment is in the shares of two writers."""
    share = [
        one
        for i, one in enumerate(all_segments(count, rows))
        if writer in (i % writers, (i + 1 + i // writers) % writers)
    ]
    random.Random(writer).shuffle(share)
    return share


def write_under_faults(
    lineage: Lineage, server: Server, dsn: str, *, writers: int, killed: int, segments: int, rows: int, restarts: int
) -> None:
    """Runs the writers; kills some in mid-transaction and starts them again; restarts the server meanwhile.

    The lineage is only asked, for the transactions under way. Returns when all writers have ended well.
    """

    def start(writer: int, slow: bool) -> subprocess.Popen[bytes]:
        named = psycopg.conninfo.make_conninfo(dsn, application_name=f"writer-{writer}")
        arguments = [named, *map(str, (writer, writers, segments, rows, int(slow)))]
        return subprocess.Popen([sys.executable, "-c", _PROGRAM, *arguments], cwd=REPOSITORY)

    running = {writer: start(writer, slow=writer < killed) for writer in range(writers)}
    for writer in range(killed):
        own = (f"writer-{writer}",)
        deadline = time.monotonic() + 60
        while not lineage.read(lambda connection, own=own: connection.execute(_SLEEPING, own).fetchall()):
            assert time.monotonic() < deadline, f"writer {writer} has no transaction open"
            time.sleep(0.05)
        os.kill(running[writer].pid, signal.SIGKILL)
        running[writer].wait()
        # The server would notice only when it wants to answer, after the sleep.
        lineage.read(lambda connection, own=own: connection.execute(_TERMINATE, own))
        running[writer] = start(writer, slow=False)
    for _ in range(restarts):
        time.sleep(0.5)
        server.restart()
    for writer, process in running.items():
        assert process.wait(timeout=300) == 0, f"writer {writer}"
