"""``python -m beam_pipeline``."""

import sys

try:
    from runners import garbage, threads

    garbage.collect_rarely()

    if sys.argv[1:2] != ["train-tokenizer"]:  # which is one process that trains on all cores
        threads.limit()

    from beam_pipeline import cli
    from beam_pipeline.supervision import supervised
except KeyboardInterrupt:  # before anything could be said
    sys.exit(130)


def main() -> None:
    """The console script ``beam-pipeline``."""
    sys.exit(supervised(lambda: cli.main(sys.argv[1:])))


if __name__ == "__main__":
    main()
