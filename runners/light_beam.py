"""Beam, imported without what this package doesn't use: half a CPU second less in every process of ours.

With Beam come its file systems (for Azure, Google Cloud and S3, each with its client), MongoDB and, where it is
installed, pandas. Commands and workers leave them out; who uses this package as a library gets Beam as it is.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Sequence

FILE_SYSTEMS = (
    "apache_beam.io.aws.s3filesystem",
    "apache_beam.io.azure.blobstoragefilesystem",
    "apache_beam.io.gcp.gcsfilesystem",
    "apache_beam.io.hadoopfilesystem",
)
_LEFT_OUT = (*FILE_SYSTEMS, "apache_beam.io.gcp.bigquery", "pandas")
"""What Beam itself does without where it can't be imported."""
_EMPTY = "apache_beam.io.mongodbio"
"""What Beam imports in any case, all names of it."""


def prefer() -> None:
    """From here on this process imports Beam so. What is left out can be imported afterwards."""
    if "apache_beam" not in sys.modules and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def whole() -> None:
    """Imports the file systems, as far as they are installed, for runners that use them: Beam finds them then."""
    for name in FILE_SYSTEMS:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds Beam where it is."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "apache_beam":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    """Runs Beam's package while some modules can't be imported."""

    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: types.ModuleType) -> None:
        modules: dict[str, types.ModuleType | None] = sys.modules  # type: ignore[assignment]  # None: not to be had
        absent = dict.fromkeys(_LEFT_OUT) | {_EMPTY: types.ModuleType(_EMPTY)}
        absent = {name: stand_in for name, stand_in in absent.items() if name not in modules}
        modules |= absent
        try:
            self._loader.exec_module(module)
        finally:
            for name in absent:
                del modules[name]
