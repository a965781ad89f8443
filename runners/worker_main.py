"""A Python worker of any runner: Beam's own, reached without a proxy, with one thread each for BLAS and the like, and
silent on stderr if it is told to.

What a worker logs goes to its runner, which shows what is ours. Beam's worker says all of it on stderr as well.

    python -m runners.worker_main [--quiet]
"""

from __future__ import annotations

import logging
import signal
import sys

from runners import garbage, threads
from runners.proxies import never_for_localhost


def main() -> None:
    """Works until the runner has no more work."""
    never_for_localhost()
    threads.limit()
    garbage.collect_rarely()
    if "--quiet" in sys.argv:
        logging.getLogger().addHandler(logging.NullHandler())  # without any handler, the first record makes one
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C is for the command, which ends its workers
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(sys.argv)


if __name__ == "__main__":
    main()
