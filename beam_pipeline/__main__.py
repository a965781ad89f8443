"""``python -m beam_pipeline``."""

import os
import sys

try:
    from runners import garbage, light_beam, threads

    garbage.collect_rarely()
    light_beam.prefer()

    if sys.argv[1:2] != ["train-tokenizer"]:  # which is one process that trains on all cores
        threads.limit()

    from beam_pipeline import cli
    from beam_pipeline.supervision import supervised
except KeyboardInterrupt:  # before anything could be said; at once, as it may come twice
    os._exit(130)


def main() -> None:
    """The console script ``beam-pipeline``."""
    try:
        status = supervised(lambda: cli.main(sys.argv[1:]))
    except KeyboardInterrupt:
        os._exit(130)
    sys.exit(status)


if __name__ == "__main__":
    main()
