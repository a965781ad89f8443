"""Deciding a finished run again with another recipe or other settings of the deduplication, as a run of its own.

It is carried out as any run (``beam_pipeline.run``), with the same boxes; ``transforms.decide_again`` stands in the
place of reading all texts, and ``transforms.reuse_tokens`` in that of tokenizing them.
"""

from __future__ import annotations

from typing import Any

from beam_pipeline.decided_run import DecidesAgain
from beam_pipeline.finished_runs import FinishedRun, NotUsable, finished_run, refuse_without_sketches
from beam_pipeline.options import resolve_part
from beam_pipeline.plan import read_plan
from beam_pipeline.settings import OF_PASS_2, Settings
from schemas.outcomes import Outcomes
from transforms.decide_again import Parent
from transforms.io import storage
from transforms.io.stage_objects import StageObjects

RECIPE = ("recipe", "languages", "min_language_score", "min_language_scores")
CHANGEABLE = (*RECIPE, *OF_PASS_2, "lineage_dsn", "events_exchange", "max_deaths")
"""Settings that may differ from those of the run that is decided again."""


def settings_of(run: str, output: str, changed: dict[str, Any]) -> tuple[DecidesAgain, Settings]:
    """The run that is decided again, and the settings of the one that does it.

    Args:
      run: output of the finished run.
      output: of the new one.
      changed: settings that differ, by name.

    Raises:
      NotUsable: there is no such run, or the output is another's.
      UsageError: a setting is out of range.
    """
    parent = finished_run(run)
    if parent.output != run:
        raise NotUsable(f"run: {run} has decisions only; give the run they are about, {parent.output}")
    refuse_without_sketches(parent, changed)
    if parent.plan.deciding.corpus:
        raise NotUsable(
            f"run: {run} is a run of a corpus, and what it drops depends on the runs before; decide --corpus decides "
            "on all of them"
        )
    if storage.join(output, "") == storage.join(run, ""):
        raise NotUsable(f"output: {output} is the output of the run that is decided again")
    stored = read_plan(output)
    if stored is not None and stored.parent.get("run") != parent.run:
        there = f"decides {stored.parent['output']} again" if stored.parent else "is another run"
        raise NotUsable(f"output: what is in {output} {there}, not {run}; choose another output")
    names = ("prediction", "strict")  # of the first run alone
    values = {name: value for name, value in parent.plan.settings.items() if name not in names}
    return decides(parent), resolve_part(Settings, values | changed | {"output": output})


def decides(run: FinishedRun) -> DecidesAgain:
    """What a run needs that decides this one again."""
    deciding = run.plan.deciding
    parent = Parent(
        run=run.run,
        output=run.output,
        fingerprints=StageObjects(run.layout.fingerprints, deciding.fingerprints_hash),
        tokens=StageObjects(run.layout.tokens, deciding.settings_hash),
        steps=(),
        outcomes=Outcomes.from_json(run.plan.outcomes),
    )
    return DecidesAgain(parent, Settings(**run.plan.settings), deciding, run.layout.sources, run.documents)


def decided_by(output: str) -> DecidesAgain | None:
    """The run that the one under an output decides again; None if it decides none, or isn't there.

    Raises:
      NotUsable: that run isn't there any more.
    """
    stored = read_plan(output)
    return decides(finished_run(stored.parent["output"])) if stored and stored.parent else None
