"""Finished runs, as their objects describe them: what reads a run's output begins here."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from beam_pipeline.plan import FORMAT
from schemas.errors import WRONG_USAGE, ToldError
from transforms.io import storage


class NotUsable(ToldError):
    """A run can't be used like this; nothing was done."""

    exit_status = WRONG_USAGE


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """A finished run, or decisions over one (``dedup``).

    Attributes:
      plan: its ``plan.json``.
      manifest: its ``run.json``.
      output: of the run.
      kept_uri: objects whose rows, or those of them with ``outcome`` "kept", are the documents that it kept.
    """

    plan: dict[str, Any]
    manifest: dict[str, Any]
    output: str
    kept_uri: str

    @property
    def run(self) -> str:
        """Its id."""
        return str(self.plan["run"])

    @property
    def documents(self) -> int:
        """How many documents it was given."""
        return int(self.manifest["books"]["documents"])

    @property
    def fingerprints_uri(self) -> str:
        """One object a shard."""
        return storage.join(self.output, "fingerprints")

    @property
    def tokens_uri(self) -> str:
        """The token objects of the run."""
        return storage.join(self.output, "tokens")

    @property
    def sources_uri(self) -> str:
        """Its pinned sources."""
        return storage.join(self.output, "sources.parquet")


def finished_run(output: str) -> FinishedRun:
    """What is stored of a finished run, or of a ``dedup``, under its output.

    Raises:
      NotUsable: nothing is, or it is damaged, or of another format.
    """
    again = read_json(storage.join(output, "dedup.json"))
    if again is not None:
        run = finished_run(again["run_output"])
        return dataclasses.replace(run, kept_uri=storage.join(output, "decisions"))
    manifest = read_json(storage.join(output, "run.json"))
    if manifest is None:
        raise NotUsable(f"{output} has neither run.json nor dedup.json: there is no finished run")
    stored = read_json(storage.join(output, "plan.json"))
    if stored is None or stored["run"] != manifest["run"]:
        raise NotUsable(f"{output}: plan.json is missing or of another run than run.json")
    made = stored["deciding"]["fingerprints"]["format"]
    if made != FORMAT:
        raise NotUsable(f"{output}: its fingerprints have format {made}, this version reads {FORMAT}: run it again")
    return FinishedRun(stored, manifest, output, storage.join(output, "tokens"))


def read_json(uri: str) -> dict[str, Any] | None:
    """A JSON object of a run; None if it isn't there.

    Raises:
      NotUsable: it can't be read.
    """
    if storage.stat(uri) is None:
        return None
    try:
        return dict(json.loads(storage.read_bytes(uri)))
    except (ValueError, TypeError):
        raise NotUsable(f"{uri}: is cut short or damaged; run the command that made it again") from None
