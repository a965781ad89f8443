"""``decide``: apply another recipe, or other settings of the deduplication, to what a finished run has stored.

Rules are decided from stored attributes and duplicates from stored fingerprints. Read are only the texts of documents
that come back in, and token rows are taken from the run that is decided again. What comes out is a run of its own, with
tokens, totals and lineage, which names its parent. Settings that aren't given are those of that run. Killed or failed?
Run the same command again. Beam's own flags go beside these.
"""

from __future__ import annotations

import argparse

from rich.console import Console

from beam_pipeline import decide, failures, running
from beam_pipeline.options import beam_options
from beam_pipeline.settings import Settings, metavar_of
from runners import local_flink
from transforms.io import storage

BEAM_FLAGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``decide``."""
    parser.add_argument("--run", metavar="URI", required=True, help="output of the finished run to decide again")
    parser.add_argument("--output", metavar="URI", required=True, help="folder or prefix of the new run")
    for name in decide.CHANGEABLE:
        description = f"{Settings.model_fields[name].description} (default: as in the run)"
        parser.add_argument(f"--{name}", metavar=metavar_of(name) or None, default=argparse.SUPPRESS, help=description)


def run(args: argparse.Namespace) -> int:
    """Decides and writes the new run; returns the exit status, as for a run."""
    changed = {name: value for name, value in vars(args).items() if name in decide.CHANGEABLE}
    with failures.before_work():
        options = beam_options(args.beam_flags)
        parent, settings = decide.settings_of(storage.absolute(args.run), storage.absolute(args.output), changed)
        prepared = running.prepare(settings, parent)
    with local_flink.brought_up(options) as brought_up:
        return running.carry_out(prepared, brought_up, Console(stderr=True))
