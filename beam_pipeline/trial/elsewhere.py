"""Steps in another interpreter: ``python -m beam_pipeline.trial.elsewhere FOLDER PARENT``.

Forks share the seeds of ``random`` and of ``hash``; workers of a run don't. So what a step says in a fork is held
against what it says here. ``FOLDER/steps`` has the specs and documents, ``FOLDER/N`` gets the answers of step N. It
ends with the process ``PARENT``.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from beam_pipeline.trial.calling import Caller, Guard
from beam_pipeline.trial.checks import answers_of
from beam_pipeline.trial.children import Beat, end_with, interrupted
from schemas.outcomes import Outcomes
from transforms.own_process import own_module

SECONDS = 30.0
"""How long the other interpreter may take; what it hasn't answered by then isn't compared."""


class Elsewhere:
    """The other interpreter; a context manager, in whose block it is at work.

    Args:
      specs: of the recipe.
      documents: by number of the step, what it is called with.
      outcomes: of the recipe.
      folder: takes its files.
    """

    def __init__(
        self, specs: Sequence[Any], documents: Mapping[int, pa.RecordBatch], outcomes: Outcomes, folder: Path
    ) -> None:
        self._folder, self._documents = folder, dict(documents)
        if documents:
            called = {number: specs[number] for number in documents}
            (folder / "steps").write_bytes(pickle.dumps((called, self._documents, outcomes)))

    def __enter__(self) -> Elsewhere:
        self._process = None
        if self._documents:
            command, environment = own_module("beam_pipeline.trial.elsewhere", str(self._folder), str(os.getpid()))
            environment |= {"PYTHONHASHSEED": "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"}
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def answers(self) -> dict[int, pa.Table]:
        """What the steps have answered, by number; waits for it."""
        if self._process is not None:
            try:
                self._process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        found = {}
        for number in self._documents:
            path = self._folder / str(number)
            if path.exists():
                found[number] = pickle.loads(path.read_bytes())
        return found


def main(folder: Path) -> None:
    """Answers for all steps."""
    specs, documents, outcomes = pickle.loads((folder / "steps").read_bytes())
    beat = Beat()
    with interrupted(beat):
        for number, given in documents.items():
            step = specs[number].load()
            step.setup()
            caller = Caller(step, number, outcomes, beat, Guard(), own=False)
            answers = answers_of(caller, given)
            if not caller.faults:
                unfinished = folder / f"{number}.unfinished"
                unfinished.write_bytes(pickle.dumps(answers))
                unfinished.rename(folder / str(number))


if __name__ == "__main__":
    end_with(int(sys.argv[2]))
    main(Path(sys.argv[1]))
