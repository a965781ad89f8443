"""One turn of a trial: in a child process, the steps are imported, counted and checked.

Three generations of processes, so that nothing that a step does can end the command: the command holds the documents;
its child imports the steps and lives for one turn, so that the next imports them as they are then; its children call
them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_pipeline.settings import Settings
from beam_pipeline.trial import checks, children
from beam_pipeline.trial.asked import Known, NotARecipe, Turn, Wanted
from beam_pipeline.trial.calling import Caller, Fault, Guard, place_of_function
from beam_pipeline.trial.children import Beat, Death, apart, interrupted
from beam_pipeline.trial.counting import Counting
from beam_pipeline.trial.duplicates import find_duplicates
from beam_pipeline.trial.elsewhere import Elsewhere
from beam_pipeline.trial.examples import Examples
from beam_pipeline.trial.judging import Counted
from beam_pipeline.trial.prepared import Documents
from beam_pipeline.trial.result import Duplicates, Problem, StepInfo
from transforms.recipe.given import GivenStep
from transforms.recipe.spec import PlannedRecipe, StepSpec
from transforms.recipe.steps import Step
from transforms.recipe.user_code import code_of, files_of, is_own, place_of

MOST_DEATHS = 3
"""Processes that a step may end before it is left out."""


def take_turn(
    settings: Settings,
    specs: Sequence[Any],
    kept: Sequence[pa.Field],
    batches: Callable[[], Iterable[Documents]],
    known: Known,
    wanted: Wanted,
) -> Turn:
    """Imports, counts and checks the steps of a recipe.

    Args:
      specs: of the recipe.
      kept: the source columns that are kept.
      batches: the documents; called again when a step has ended the process that counts.
      known: what earlier turns have found out about steps.
      wanted: what else is to be found out.

    Raises:
      NotARecipe: the steps can't be used.
      Death: a step has ended the process in which it was imported or set up.
    """
    beat = Beat()
    with tempfile.TemporaryDirectory(prefix="beam-pipeline-try-", ignore_cleanup_errors=True) as folder:
        work = _Turn(settings, specs, kept, batches, known, wanted, Path(folder), beat)
        found = apart(work, beat, Path(folder) / "output")
    if isinstance(found, str):
        raise NotARecipe(found)
    turn: Turn = found
    return turn


@dataclasses.dataclass
class _Turn:
    """What the child does; see ``take_turn``."""

    settings: Settings
    specs: Sequence[Any]
    kept: Sequence[pa.Field]
    batches: Callable[[], Iterable[Documents]]
    known: Known
    wanted: Wanted
    folder: Path
    beat: Beat

    def __call__(self) -> Turn | str:
        _forget_own(self.specs)
        step: Step | None = None
        try:
            recipe = PlannedRecipe.of(self.specs, self.kept)
            steps = []
            for spec in recipe.steps:
                step = spec.load()
                step.setup()
                steps.append(step)
            importable = [spec for spec in self._named(recipe) if isinstance(spec, StepSpec)]
            code, files = code_of(importable), tuple(files_of(importable).values())
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's modules may raise anything
            said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            line = place_of(error, step.function if step else None)
            label = f"recipe: {step.label} can't be set up: " if step else ""
            return f"{label}{said}" + (f"\n  {line}" if line else "")
        self._recipe, self._steps = recipe, steps
        self._guards = {number: Guard() for number in range(len(steps))}
        counted, deaths = self._counted()
        problems = self._problems(counted, deaths)
        duplicates = Duplicates(note="too many documents: a run finds its duplicates")
        if counted.all_kept:
            duplicates = find_duplicates(counted.kept, self.settings)
        counted.kept, counted.checked = [], {}
        infos = tuple(
            StepInfo(
                step.label,
                step.kind,
                spec.use,
                tuple(step.reasons),
                tuple(step.columns),
                {} if isinstance(spec, GivenStep) else spec.arguments,
            )
            for spec, step in zip(self._named(recipe), steps, strict=True)
        )
        names = tuple(spec if isinstance(spec, StepSpec) else spec.label for spec in self._named(recipe))
        in_order = tuple(problem for number in range(len(steps)) for problem in problems[number])
        return Turn(counted, infos, names, code, files, in_order, self.known, duplicates)

    @staticmethod
    def _named(recipe: PlannedRecipe) -> Sequence[Any]:
        """The steps by name; in a notebook some are ``GivenStep``."""
        return recipe.steps

    def _own(self, number: int) -> bool:
        spec = self._named(self._recipe)[number]
        return isinstance(spec, GivenStep) or is_own(spec)

    def _counted(self) -> tuple[Counted, dict[int, list[Fault]]]:
        """The counts; begun again without what has ended the process."""
        deaths: dict[int, list[Fault]] = {}
        while True:
            beat = Beat()
            try:
                return apart(lambda: self._count(beat), beat, self.folder / "counting", self.beat), deaths  # noqa: B023
            except Death as death:
                if death.step < 0:
                    raise
                for step, place in beat.slow:  # they cost much, and would again
                    self._guards[step].skip.add(place)
                    self._guards[step].slow += 1
                    what = f"takes more than {children.DOCUMENT_SECONDS:.0f} s"
                    deaths.setdefault(step, []).append(
                        Fault("hangs", what, place, place_of_function(self._steps[step]))
                    )
                self._learn(death, deaths.setdefault(death.step, []))

    def _count(self, beat: Beat) -> Counted:
        callers = [
            Caller(step, number, self._recipe.outcomes, beat, self._guards[number], self._own(number))
            for number, step in enumerate(self._steps)
        ]
        examples = Examples(self.wanted.texts, self.wanted.only)
        with interrupted(beat):
            return Counting(callers, self._recipe.outcomes, examples)(self._batches(beat))

    def _batches(self, beat: Beat) -> Iterator[Documents]:
        """The documents, each batch a sign of life."""
        for documents in self.batches():
            beat.step = -1
            yield documents

    def _learn(self, death: Death, faults: list[Fault]) -> None:
        """Makes sure that a step doesn't end the next process in the same way."""
        guard = self._guards[death.step]
        guard.deaths += 1
        single = death.first == death.last and death.first >= 0
        if death.kind == "memory" or guard.deaths > MOST_DEATHS or (guard.singly and not single):
            guard.off = death.how
        elif single:
            guard.skip.add(death.first)
        else:
            guard.singly = True  # at which document, the next process says, if it is a single one
            faults.append(Fault(death.kind, f"{death.how}, with several documents at once", -1))
            return
        faults[:] = [fault for fault in faults if fault.place >= 0]
        left_out = " (the step is left out of the counts)" if guard.off else ""
        faults.append(Fault(death.kind, death.how + left_out, death.first if single else -1))

    def _problems(self, counted: Counted, deaths: Mapping[int, Sequence[Fault]]) -> dict[int, list[Problem]]:
        """What is wrong with each step."""
        found: dict[int, list[Problem]] = {}
        fills = {number for number, faults in deaths.items() if faults[-1].check == "memory"}  # by a leak, maybe
        hopeless = {number for number, guard in self._guards.items() if guard.off} - fills
        given = {
            number: self._to_check(number, documents, counted, deaths)
            for number, documents in counted.checked.items()
            if self.wanted.check and number not in hopeless
        }
        given = {number: documents for number, documents in given.items() if len(documents)}
        keys = {number: self._key(number, documents) for number, documents in given.items()}
        new = {number: documents for number, documents in given.items() if keys[number] not in self.known}
        spawned = {n: documents for n, documents in new.items() if self._is_importable(n) and n not in deaths}
        with Elsewhere(self._recipe.steps, spawned, self._recipe.outcomes, self.folder) as elsewhere:
            mine = {number: self._checked(number, documents, counted) for number, documents in new.items()}
            answers = elsewhere.answers()
        for number, step in enumerate(self._steps):
            findings = list(checks.findings_of(deaths.get(number, ()), counted.read[0]))
            findings += checks.findings_of(counted.faults.get(number, ()), counted.read[0])
            cost, text_bytes = counted.costs.get(step.label, (None, 0))
            if cost is not None and self._own(number) and not findings:
                findings += checks.slow(step.label, cost.cpu, text_bytes)
            found[number] = self._told(number, findings, counted)
            told = self.known.get(keys.get(number, ""), [])
            if number in mine:
                checked, said = mine[number]
                more = [*checked.findings, *checks.compared(step, checked, answers.get(number)), *said]
                told = self._told(number, more, counted)
                if keys[number]:
                    self.known[keys[number]] = told
            there = {problem.check for problem in found[number]}
            found[number] += [one for one in told if one.check not in there]
        return found

    def _to_check(
        self, number: int, documents: pa.RecordBatch, counted: Counted, deaths: Mapping[int, Sequence[Fault]]
    ) -> pa.RecordBatch:
        """Documents at which a step is known not to fail, as many as it can take in ``checks.CHECK_SECONDS``."""
        failing = {fault.place for fault in (*counted.faults.get(number, ()), *deaths.get(number, ()))}
        fine = [place not in failing for place in documents["row"].to_pylist()]
        documents = documents.filter(pa.array(fine, pa.bool_()))
        sizes = pc.binary_length(documents["text"]).to_numpy().astype(np.int64)
        most = int(np.searchsorted(np.cumsum(sizes), self._speed(number, counted) * checks.CHECK_SECONDS, side="right"))
        return documents[: max(checks.LEAST_CHECKED, most)]

    def _speed(self, number: int, counted: Counted) -> float:
        """Bytes of text a CPU second that a step takes, as it was counted."""
        cost, text_bytes = counted.costs[self._steps[number].label]
        return text_bytes / max(cost.cpu, 1e-3)

    def _is_importable(self, number: int) -> bool:
        spec = self._named(self._recipe)[number]  # elsewhere, __main__ is another module
        return isinstance(spec, StepSpec) and is_own(spec) and spec.use.partition(":")[0] != "__main__"

    def _checked(
        self, number: int, documents: pa.RecordBatch, counted: Counted
    ) -> tuple[checks.Checked, list[checks.Finding]]:
        """What the checks find, in a process of their own, and what the step prints there."""
        beat, output = Beat(), self.folder / f"output-{number}"
        step, speed = self._steps[number], self._speed(number, counted) if self._own(number) else 0.0

        def work() -> checks.Checked:
            return checks.checked(step, number, documents, self._recipe.outcomes, beat, speed)

        try:
            found = apart(work, beat, output, self.beat)
        except Death as death:
            found = checks.Checked((checks.Finding(death.kind, f"{death.how}, when it is checked"),), None)
        return found, checks.printed(step, output)

    def _key(self, number: int, documents: pa.RecordBatch) -> str:
        """What identifies a step and what it is checked with."""
        spec = self._named(self._recipe)[number]
        if not isinstance(spec, StepSpec):
            return ""  # a callable of this process may have changed
        said = hashlib.sha256(repr((spec.model_dump_json(), sorted(code_of([spec]).items()))).encode())
        for column in documents.columns:
            for buffer in column.buffers():
                said.update(buffer or b"")
        return said.hexdigest()

    def _told(self, number: int, findings: Iterable[checks.Finding], counted: Counted) -> list[Problem]:
        """Findings as sentences; of each kind the first."""
        step, found = self._steps[number], dict[str, Problem]()
        for finding in findings:
            source, row, text = counted.places.get(finding.place, ("", -1, ""))
            if not source and finding.place >= 0:
                source, row, text = self._place(finding.place)
            document = f"{source}, row {row}" if source else ""
            sentence = f"{step.label} {finding.what}"
            problem = Problem(step.label, finding.check, sentence, document, finding.code, text)
            found.setdefault(finding.check, problem)
        return list(found.values())

    def _place(self, place: int) -> tuple[str, int, str]:
        """Where a document is from, and the beginning of its text."""
        for documents in self._batches(self.beat):
            first = documents.data["row"][0].as_py() if len(documents.data) else 0
            if first <= place < first + len(documents.data):
                at = place - first
                text = str(documents.data["text"][at].as_py() or "")[:200]
                return documents.source[at].as_py(), documents.source_row[at].as_py(), text
        return "", -1, ""


def _forget_own(specs: Sequence[Any]) -> None:
    """Has the user's modules imported as they are now: in a notebook they were imported before."""
    own = [spec for spec in specs if isinstance(spec, StepSpec) and is_own(spec)]
    names = {spec.use.partition(":")[0] for spec in own}
    if names & sys.modules.keys():
        for name in code_of(own):
            sys.modules.pop(name, None)
