"""What two forms of one step answer for the same documents, brought into one shape and compared."""

from __future__ import annotations

import dataclasses
import difflib
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import WRONG_USAGE, ToldError
from schemas.outcomes import EDITS, Outcomes
from transforms.recipe.steps import Step, apply_step

Answers = dict[str, pa.Array]
"""One value a document, by column: ``reason``, ``text``, or attributes by the names of the slow form."""
RAISED = "raised"
"""The column of answers that says which error a step has raised on a document."""
TEXT_SHOWN = 500


class NotComparable(ToldError):
    """The two steps aren't forms of one step."""

    exit_status = WRONG_USAGE


class Form:
    """One form of a step, and the CPU seconds spent in it.

    Args:
      step: the form.
      slow: the form whose names its answers have.
      one_reason: whether both have a single reason, which may be called otherwise.
    """

    def __init__(self, step: Step, slow: Step, one_reason: bool) -> None:
        self._timed = _Timed(step.function)
        self._step = dataclasses.replace(step, function=self._timed)
        self._one_reason = one_reason
        self._columns: dict[str, pa.DataType] = {"reason": pa.string()} if step.kind == "filter" else {}
        if step.kind == "editor":
            self._columns["text"] = pa.string()
        self._own_names = dict(zip(_compared(slow), _compared(step), strict=True))
        self._columns |= {name: slow.columns[name] for name in self._own_names}
        self._outcomes = Outcomes.with_filters(step.reasons)

    @property
    def seconds(self) -> float:
        """Spent in the step itself so far."""
        return self._timed.seconds

    def warm_up(self, data: pa.RecordBatch) -> None:
        """Sets the step up and calls it once, so that loading and compiling isn't taken for work."""
        self._step.setup()
        self.answers(data)
        self._timed.seconds = 0.0

    def answers(self, data: pa.RecordBatch) -> Answers:
        """The step's answers; if it fails on the batch, document by document, so that the failing ones are known."""
        try:
            return self._of_batch(data)
        except Exception as error:  # noqa: BLE001 - whatever a step raises is its answer
            if len(data) > 1:
                return joined(self.answers(data[place : place + 1]) for place in range(len(data)))
            empty = {name: pa.nulls(1, kind) for name, kind in self._columns.items()}
            return {RAISED: pa.array([repr(error)])} | empty

    def _of_batch(self, data: pa.RecordBatch) -> Answers:
        after = apply_step(data, self._step, self._outcomes)
        found: Answers = {RAISED: pa.nulls(len(data), pa.string())}
        if "reason" in self._columns:
            names = [None if code is None else self._outcomes.table[code][1] for code in after["outcome"].to_pylist()]
            found["reason"] = pa.array(
                [name and ("dropped" if self._one_reason else name) for name in names], pa.string()
            )
        if "text" in self._columns:
            found["text"] = after["text"]
        return found | {name: after[own].cast(self._columns[name]) for name, own in self._own_names.items()}


class _Timed:
    """A step's function that counts the CPU seconds spent in it."""

    def __init__(self, function: Any) -> None:
        self._function, self.seconds = function, 0.0

    def __call__(self, documents: pa.RecordBatch) -> Any:
        began = time.process_time()
        try:
            return self._function(documents)
        finally:
            self.seconds += time.process_time() - began

    def __getattr__(self, name: str) -> Any:
        return getattr(self._function, name)


def forms_of(slow: Step, fast: Step) -> tuple[Form, Form]:
    """Two steps as forms of one.

    Raises:
      NotComparable: they can't be: the message names what the two declare.
    """
    if slow.kind != fast.kind:
        raise NotComparable(f"{slow.label} is {_a(slow.kind)}, {fast.label} {_a(fast.kind)}: they can't be one step")
    one_reason = len(slow.reasons) == len(fast.reasons) == 1
    one_column = slow.kind == "annotator" and len(slow.columns) == len(fast.columns) == 1
    reasons = [sorted(step.reasons) if step.kind == "filter" and not one_reason else [] for step in (slow, fast)]
    columns = [[] if one_column else [_short(step, name) for name in _compared(step)] for step in (slow, fast)]
    for what, (ours, theirs) in (("reasons", reasons), ("columns", columns)):
        if ours != theirs:
            raise NotComparable(
                f"{slow.label} has the {what} {', '.join(ours) or 'none'}, {fast.label} {', '.join(theirs) or 'none'}: "
                "declare the same ones"
            )
    return Form(slow, slow, one_reason), Form(fast, slow, one_reason)


def _a(kind: str) -> str:
    return f"{'a' if kind == 'filter' else 'an'} {kind}"


def _compared(step: Step) -> list[str]:
    """The columns of a step that are compared, in an order that doesn't depend on its label."""
    names = list(step.columns)[len(EDITS) if step.kind == "editor" else 0 :]  # the texts say what was edited
    return sorted(names, key=lambda name: _short(step, name))


def _short(step: Step, name: str) -> str:
    return name.removeprefix(f"{step.label}.")


def joined(parts: Iterable[Answers]) -> Answers:
    """The answers for batches as those for one."""
    given = list(parts)
    return {name: pa.concat_arrays([part[name] for part in given]) for name in given[0]}


def differ(column: str, slow: pa.Array, fast: pa.Array, tolerance: float) -> np.ndarray:
    """Whether answers differ, for each document. Two nulls are equal, so are two NaNs, and any two errors."""
    nulls = [pc.is_null(values).to_numpy(zero_copy_only=False) for values in (slow, fast)]
    if column == RAISED:
        return nulls[0] != nulls[1]
    if pa.types.is_floating(slow.type):
        numbers = [values.cast(pa.float64()).to_numpy(zero_copy_only=False) for values in (slow, fast)]
        close = np.isclose(numbers[1], numbers[0], tolerance, tolerance, equal_nan=True)
    else:
        close = pc.fill_null(pc.equal(slow, fast), True).to_numpy(zero_copy_only=False)
    return (~close & ~nulls[0] & ~nulls[1]) | (nulls[0] != nulls[1])


def in_words(column: str, slow: Any, fast: Any) -> tuple[str, str]:
    """Two answers as a person reads them: of texts, the lines in which they differ."""
    if column == "text" and slow is not None and fast is not None:
        lines = list(difflib.unified_diff(slow.split("\n"), fast.split("\n"), n=0, lineterm=""))[2:]
        ours, theirs = ("\n".join(line[1:] for line in lines if line.startswith(sign)) for sign in "-+")
        return ours[:TEXT_SHOWN], theirs[:TEXT_SHOWN]
    words = {"reason": "kept", RAISED: "no error", "text": "nothing left"}
    slow, fast = (words.get(column, "no value") if answer is None else str(answer) for answer in (slow, fast))
    return slow[:TEXT_SHOWN], fast[:TEXT_SHOWN]
