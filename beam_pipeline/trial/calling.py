"""Calls of a step that may fail: what one document does to a step costs that document, and is noted."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from beam_pipeline.trial.children import DOCUMENT_SECONDS, Beat, TooSlow
from schemas.outcomes import Outcomes
from transforms.recipe.per_document import PerDocument
from transforms.recipe.steps import Step, StepFailed, UndeclaredReason, apply_step
from transforms.recipe.user_code import place_of

CHUNK_DOCUMENTS, CHUNK_BYTES = 256, 1 << 20
"""Of what a step of the user's is called with: a document at which it hangs is soon found among so many."""
MOST_SLOW, MOST_FAILED = 3, 200
"""Documents that take too long, or fail, after which the rest isn't tried."""
FIRST_FAILED = 20
"""If so many documents fail and none before has not, the rest isn't tried."""

NOT_CALLED = " (so often that the step wasn't called any more: its counts are too low)"


@dataclasses.dataclass(frozen=True)
class Fault:
    """What a step did to a document.

    Attributes:
      check: ``raises``, ``wrong_answer``, ``undeclared_reason``, ``hangs``, ``crashes`` or ``memory``.
      what: in words, behind the step's name.
      place: of the document; -1 if it is no single one.
      code: the line of the user's code.
    """

    check: str
    what: str
    place: int
    code: str = ""


@dataclasses.dataclass
class Guard:
    """How a step is called after it has ended processes.

    Attributes:
      skip: places of documents that it isn't called with.
      singly: whether each document is called by itself, to find the one.
      off: why it isn't called at all; empty: it is.
      deaths: processes that it has ended.
      slow: documents at which it took too long before it ended a process.
    """

    skip: set[int] = dataclasses.field(default_factory=set)
    singly: bool = False
    off: str = ""
    deaths: int = 0
    slow: int = 0


@dataclasses.dataclass
class Caller:
    """Calls one step, chunk by chunk, and remembers what goes wrong.

    Attributes:
      step: is set up.
      number: of the step in the recipe.
      outcomes: of the recipe.
      beat: shows what it is at.
      guard: what is known of the step.
      own: whether it is the user's: then it is called with few documents at once, and with copies of them.
    """

    step: Step
    number: int
    outcomes: Outcomes
    beat: Beat
    guard: Guard
    own: bool

    def __post_init__(self) -> None:
        self.faults: list[Fault] = []
        self.slow = self.answered = 0
        self._quiet = False
        self._hung_quietly: list[Fault] = []
        self._failed_quietly = 0
        self._waiting: list[int] = []
        function = self.step.function
        if isinstance(function, PerDocument):
            watched = dataclasses.replace(function, function=self._watched(function.function))
            self.step = dataclasses.replace(self.step, function=watched)

    @property
    def off(self) -> bool:
        """Whether the step is called no more."""
        if self.guard.off:
            return True
        hopeless = len(self.faults) >= FIRST_FAILED and not self.answered
        return hopeless or self.slow + self.guard.slow >= MOST_SLOW or len(self.faults) >= MOST_FAILED

    def __call__(self, documents: pa.RecordBatch, quiet: bool = False) -> pa.RecordBatch:
        """The documents after the step (``apply_step``), in their order; what it fails at is as it was.

        Args:
          documents: active; ``row`` is the place.
          quiet: note no faults: a run wouldn't show these documents to the step.
        """
        if not len(documents):
            return self._untouched(documents)
        self._quiet = quiet
        self.beat.step = self.number
        parts = [self._tried(chunk) for chunk in self._chunks(documents)]
        self.beat.step = -1
        return _joined(parts)

    def _chunks(self, documents: pa.RecordBatch) -> Iterable[pa.RecordBatch]:
        """As many documents as the step is called with at once."""
        if not self.own:
            yield documents
            return
        most = 1 if self.guard.singly else CHUNK_DOCUMENTS
        ends = np.cumsum(documents["text_bytes"].to_numpy().astype(np.int64))
        start = 0
        while start < len(documents):
            before = int(ends[start - 1]) if start else 0
            stop = int(np.searchsorted(ends, before + CHUNK_BYTES, side="right"))
            stop = min(max(stop, start + 1), start + most)
            yield documents[start:stop]
            start = stop

    def _tried(self, documents: pa.RecordBatch) -> pa.RecordBatch:
        """The step's answer for a chunk, parts of which may fail."""
        places = documents["row"].to_pylist()
        if self.off or (len(places) == 1 and places[0] in self.guard.skip):
            return self._untouched(documents)
        if self.guard.skip.intersection(places) and not self.step.per_document:
            return self._singly(documents)
        try:
            return self._called(documents, places)
        except TooSlow:
            fault = Fault("hangs", f"takes more than {DOCUMENT_SECONDS:.0f} s", places[0])
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a step may raise anything
            fault = fault_of(error, self.step, places[0])
        if len(documents) == 1:
            self._note(fault)
            return self._untouched(documents)
        if fault.check == "hangs":
            return self._singly(documents)
        before = len(self.faults) + self._failed_quietly
        half = len(documents) // 2
        answer = _joined([self._tried(documents[:half]), self._tried(documents[half:])])
        if len(self.faults) + self._failed_quietly == before:
            what = f"fails with {len(places)} documents at once, and with none of them alone: {fault.what}"
            self._note(dataclasses.replace(fault, what=what, place=-1))
        return answer

    def _called(self, documents: pa.RecordBatch, places: list[int]) -> pa.RecordBatch:
        self._waiting = places[::-1]
        given = documents
        if self.own and not self.step.per_document:  # what it writes into is nobody else's
            given = documents.take(pa.array(np.arange(len(documents))))
        self.beat.begin(places[0], places[-1])
        answered = self.answered
        try:
            answer = apply_step(given, self.step, self.outcomes, annotate_all=True)  # keeps the texts
        except BaseException:
            self.answered = answered
            raise
        finally:
            self.beat.end()
        if not self.step.per_document:
            self.answered += len(documents)
        names = [*self.step.columns, "outcome", *(["text"] if self.step.kind == "editor" else [])]
        return _with(documents, {name: answer[name] for name in names})

    def _singly(self, documents: pa.RecordBatch) -> pa.RecordBatch:
        return _joined([self._tried(documents[place : place + 1]) for place in range(len(documents))])

    def _untouched(self, documents: pa.RecordBatch) -> pa.RecordBatch:
        """The documents as if the step had let them through, with nulls as attributes."""
        nulls = {name: pa.nulls(len(documents), kind) for name, kind in self.step.columns.items()}
        return _with(documents, nulls)

    def _watched(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function on a text that says which document it is at, and whose error costs that document only."""
        edits = self.step.kind == "editor"

        @functools.wraps(function)
        def watched(*arguments: Any) -> Any:
            place = self._waiting.pop()
            if place in self.guard.skip or self.off:
                return arguments[0] if edits else None
            self.beat.begin(place, place)
            try:
                answer = function(*arguments)
                self.answered += 1
                return answer
            except TooSlow:
                what = f"takes more than {DOCUMENT_SECONDS:.0f} s"
                self._note(Fault("hangs", what, place, place_of_function(self.step)))
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a step may raise anything
                self._note(fault_of(error, self.step, place))
            return arguments[0] if edits else None

        return watched

    def say_if_off(self) -> None:
        """If so much has failed that the step isn't called any more, its first fault says it."""
        if self.off and not self.guard.off:
            what = f"takes more than {DOCUMENT_SECONDS:.0f} s"
            first = (self.faults or [Fault("hangs", what, -1, place_of_function(self.step))])[0]
            self.faults[:1] = [dataclasses.replace(first, what=first.what + NOT_CALLED)]

    def _note(self, fault: Fault) -> None:
        self._failed_quietly += self._quiet
        if self._quiet and fault.check != "hangs":
            return
        faults = self._hung_quietly if self._quiet else self.faults
        if fault.place < 0 or all(known.place != fault.place for known in faults):
            faults.append(fault)
            if fault.check == "hangs":
                self.slow += 1
                self.beat.note_slow(fault.place)


def fault_of(error: BaseException, step: Step, place: int) -> Fault:
    """An error of a step as a fault."""
    if isinstance(error, UndeclaredReason):
        return Fault("undeclared_reason", str(error).removeprefix(f"{step.label} "), place, place_of_function(step))
    if isinstance(error, StepFailed):
        return Fault("wrong_answer", str(error).removeprefix(f"{step.label} "), place, place_of_function(step))
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, pa.ArrowException | TypeError) and _is_ours(error):
        return Fault("wrong_answer", f"returns what isn't its type: {said}", place, place_of_function(step))
    return Fault("raises", f"raises {said}", place, place_of(error, step.function))


def _is_ours(error: BaseException) -> bool:
    """Whether an error was raised when an answer was taken, not in the user's code."""
    trace, files = error.__traceback__, []
    while trace is not None:
        files.append(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    return files[-1:] != [] and (files[-1].endswith(("per_document.py", "steps.py")) or not place_of(error))


def place_of_function(step: Step) -> str:
    """Where a step is defined."""
    return place_of(Exception(), step.function)


def _with(documents: pa.RecordBatch, columns: Mapping[str, pa.Array]) -> pa.RecordBatch:
    arrays = {**dict(zip(documents.schema.names, documents.columns, strict=True)), **columns}
    return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))


def _joined(parts: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    return pa.Table.from_batches(_alike(parts)).unify_dictionaries().combine_chunks().to_batches()[0]


def _alike(parts: Sequence[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """Batches whose outcomes have one width: a step that drops something may have widened them."""
    widest = max((part.schema.field("outcome").type for part in parts), key=lambda kind: kind.bit_width)
    place = parts[0].schema.get_field_index("outcome")
    return [part.set_column(place, "outcome", part["outcome"].cast(widest)) for part in parts]
