"""A folder on this machine for the blocks of pass 2, where all workers are on it: on Beam's local runner."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from beam_pipeline.options import DIRECT_RUNNERS
from runners import local_runner
from transforms.io.block_files import BlockFiles, close_all

_PREFIX = "beam-pipeline-blocks-"


@contextlib.contextmanager
def block_files(options: PipelineOptions) -> Iterator[BlockFiles]:
    """Files for the blocks while a pipeline runs; on a runner with workers elsewhere, none.

    The folder is a temporary one (TMPDIR says where) and gone at the end. What a command that was killed has left there
    is removed by the next one.
    """
    runner = options.view_as(StandardOptions).runner or "DirectRunner"
    if runner != local_runner.NAME and runner.rsplit(".", 1)[-1] not in DIRECT_RUNNERS:
        yield BlockFiles()
        return
    _remove_abandoned()
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-", ignore_cleanup_errors=True) as folder:
        try:
            yield BlockFiles(folder)
        finally:
            close_all()


def _remove_abandoned() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        process = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if process.isdigit() and not psutil.pid_exists(int(process)):
            shutil.rmtree(folder, ignore_errors=True)
