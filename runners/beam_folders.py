"""Beam's temporary folders are made in the process's own (``runners.own_folder``): what Beam forgets, goes with that.

Beam forgets the folder of a pipeline that was built and not run, and that of its job server when the process is killed.
Importing this module sees to it, once a process.
"""

from __future__ import annotations

import tempfile
from typing import Any

import apache_beam.pipeline
from apache_beam.runners.portability import job_server

from runners.own_folder import own_folder


class _InOwnFolder:
    """Stands for the module ``tempfile`` in modules of Beam's."""

    def mkdtemp(self, *, prefix: str, dir: str | None = None) -> str:
        return tempfile.mkdtemp(prefix=prefix, dir=dir or own_folder())

    def __getattr__(self, name: str) -> Any:
        return getattr(tempfile, name)


apache_beam.pipeline.tempfile = job_server.tempfile = _InOwnFolder()
