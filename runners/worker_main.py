"""A Python worker of any runner: Beam's own, reached without a proxy, with one thread each for BLAS and the like.

What a worker logs goes to its runner, which shows what is ours. Beam's worker says all of it on stderr as well.
Workers are mostly forked (``runners.fork_server``); with an interpreter of its own, a worker is

    python -m runners.worker_main [--quiet]
"""

from __future__ import annotations

import logging
import signal
import sys

from runners import garbage, light_beam, threads
from runners.proxies import never_for_localhost


def set_up() -> None:
    """What every process that works has set, before numpy and gRPC are imported."""
    never_for_localhost()
    threads.limit()
    garbage.collect_rarely()
    light_beam.prefer()


def work(quiet: bool) -> None:
    """Works until the runner has no more work; the environment names the runner.

    Args:
      quiet: says nothing on stderr, and leaves ctrl-C to the command, which ends its workers.
    """
    set_up()
    if quiet:
        logging.getLogger().addHandler(logging.NullHandler())  # without any handler, the first record makes one
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    work("--quiet" in sys.argv)
