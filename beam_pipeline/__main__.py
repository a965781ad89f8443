"""``python -m beam_pipeline``."""

import sys

from runners import threads

if sys.argv[1:2] != ["train-tokenizer"]:  # which is one process that trains on all cores
    threads.limit()

from beam_pipeline.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
