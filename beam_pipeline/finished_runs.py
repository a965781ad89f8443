"""Finished runs, as their objects describe them: what reads a run's output begins here."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

from beam_pipeline.plan import read_plan
from beam_pipeline.settings import OF_NEAR_DUPLICATES
from beam_pipeline.version import FORMAT
from schemas.errors import WRONG_USAGE, ToldError
from schemas.run_layout import RunLayout, StoredPlan
from transforms.deduplication.stored_fingerprints import Planned, StoredRun, stored_objects
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

    plan: StoredPlan
    manifest: dict[str, Any]
    output: str
    kept_uri: str

    @property
    def run(self) -> str:
        """Its id."""
        return self.plan.run

    @property
    def layout(self) -> RunLayout:
        """Where everything of the run is."""
        return RunLayout(self.output)

    @property
    def documents(self) -> int:
        """How many documents it was given."""
        return int(self.manifest["counts"]["documents"])


def finished_run(output: str) -> FinishedRun:
    """What is stored of a finished run, or of a ``dedup``, under its output.

    Raises:
      NotUsable: nothing is, or it is damaged, or of another format.
    """
    layout = RunLayout(output)
    again = read_json(layout.dedup_manifest)
    if again is not None:
        run = finished_run(again["run_output"])
        return dataclasses.replace(run, kept_uri=layout.decisions)
    manifest = read_json(layout.manifest)
    if manifest is None:
        raise NotUsable(f"{output} has neither run.json nor dedup.json: there is no finished run")
    stored = read_plan(output)
    if stored is None or stored.run != manifest["run"]:
        raise NotUsable(f"{output}: plan.json is missing, damaged or of another run than run.json")
    made = stored.deciding.format
    if made != FORMAT:
        raise NotUsable(f"{output}: its fingerprints have format {made}, this version reads {FORMAT}: run it again")
    return FinishedRun(stored, manifest, output, layout.kept(stored.deciding))


def refuse_without_sketches(run: FinishedRun, changed: Iterable[str]) -> None:
    """Checks that a run whose duplicates are removed again has what these settings need.

    Raises:
      NotUsable: the run was made with ``near_duplicates`` off, and a setting is about near-duplicates.
    """
    of_near = [name for name in OF_NEAR_DUPLICATES if name in changed]
    if of_near and not run.plan.settings["near_duplicates"]:
        raise NotUsable(
            f"{of_near[0]}: {run.output} was made with near_duplicates off, so it has no sketches, and only exact "
            f"copies can be found in it. Leave {of_near[0]} out, or make the run again with near_duplicates, over "
            "another output"
        )


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


def fingerprints_of(run: FinishedRun) -> list[Planned]:
    """All fingerprint objects of a run.

    Raises:
      NotUsable: there are none.
    """
    planned = list(stored_objects(StoredRun(run.layout.fingerprints, sources_uri=run.layout.sources, run=run.run)))
    if not planned:
        raise NotUsable(f"{run.layout.fingerprints} has no objects")
    return planned
