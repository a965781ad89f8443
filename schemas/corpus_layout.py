"""What stands in the folder of a corpus: the names of its objects.

- ``corpus.json``: the corpus's id, by which the ledger in PostgreSQL knows it;
- ``runs/000001/``: the output of each run (``schemas.run_layout``), by its number in the ledger;
- ``index/``: what later runs are held against: fingerprints of the documents that were kept;
- ``versions/NAME/``: decisions over all runs anew, one output of ``dedup`` a run, and ``version.json``, last.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class CorpusLayout:
    """Where everything of a corpus is.

    Attributes:
      uri: folder or prefix.

    Example:
      >>> CorpusLayout("s3://bucket/corpus").runs
      's3://bucket/corpus/runs'
    """

    uri: str

    def _below(self, *names: str) -> str:
        return "/".join([self.uri.rstrip("/") or self.uri, *names])

    @property
    def identity(self) -> str:
        """``corpus.json``."""
        return self._below("corpus.json")

    @property
    def runs(self) -> str:
        """The folder of the runs' outputs."""
        return self._below("runs")

    @property
    def index(self) -> str:
        """The folder of what later runs are held against."""
        return self._below("index")

    @property
    def versions(self) -> str:
        """The folder of the versions."""
        return self._below("versions")

    def run(self, number: int) -> str:
        """The output of a run."""
        return self._below("runs", f"{number:06}")

    def version_folder(self, name: str) -> str:
        """The folder of a version."""
        return self._below("versions", name)

    def version(self, name: str) -> str:
        """The manifest of a version, written last."""
        return self._below("versions", name, "version.json")

    def version_of(self, name: str, number: int) -> str:
        """What a version has decided on a run: an output of ``dedup``."""
        return self._below("versions", name, f"{number:06}")
