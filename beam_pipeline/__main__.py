"""``python -m beam_pipeline``."""

import sys

try:
    from runners import threads

    if sys.argv[1:2] != ["train-tokenizer"]:  # which is one process that trains on all cores
        threads.limit()

    from beam_pipeline.cli import main
    from beam_pipeline.supervision import supervised
except KeyboardInterrupt:  # before anything could be said
    sys.exit(130)

if __name__ == "__main__":
    sys.exit(supervised(lambda: main(sys.argv[1:])))
