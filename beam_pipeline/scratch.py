"""A folder on this machine for the blocks of pass 2, where all workers are on it: on Beam's local runner."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from beam_pipeline.options import DIRECT_RUNNERS
from runners import local_runner
from runners.own_folder import own_folder
from transforms.io.block_files import BlockFiles, close_all


@contextlib.contextmanager
def block_files(options: PipelineOptions) -> Iterator[BlockFiles]:
    """Files for the blocks while a pipeline runs; on a runner with workers elsewhere, none.

    They lie in this process's folder (``runners.own_folder``), and are gone at the end.
    """
    runner = options.view_as(StandardOptions).runner or "DirectRunner"
    if runner != local_runner.NAME and runner.rsplit(".", 1)[-1] not in DIRECT_RUNNERS:
        yield BlockFiles()
        return
    with tempfile.TemporaryDirectory(prefix="blocks-", dir=own_folder(), ignore_cleanup_errors=True) as folder:
        try:
            yield BlockFiles(folder)
        finally:
            close_all()
