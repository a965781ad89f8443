"""Beam's temporary files are made in the process's own folder (``runners.own_folder``): what Beam forgets goes with it.

Beam forgets the folder of a pipeline that was built and not run, that of its job server when the process is killed, and
always what it has staged for Flink. Importing this module sees to it, once a process.
"""

from __future__ import annotations

import tempfile
from typing import Any

import apache_beam.pipeline
from apache_beam.runners.portability import job_server, stager

from runners.own_folder import own_folder


class _InOwnFolder:
    """Stands for the module ``tempfile`` in modules of Beam's."""

    def gettempdir(self) -> str:
        return str(own_folder())

    def mkdtemp(self, suffix: str | None = None, prefix: str | None = None, dir: str | None = None) -> str:
        return tempfile.mkdtemp(suffix, prefix, dir or self.gettempdir())

    def __getattr__(self, name: str) -> Any:
        return getattr(tempfile, name)


apache_beam.pipeline.tempfile = job_server.tempfile = stager.tempfile = _InOwnFolder()
