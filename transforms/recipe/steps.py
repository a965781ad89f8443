"""The contract of a recipe's steps, and what is done with their answers.

A step is one of three kinds, and says which by what it declares:

- an **annotator** has ``columns``, a mapping from names to Arrow types, and returns a mapping from these names to
  arrays: the attributes of each document. It drops nothing.
- a **filter** has ``reasons`` and returns, for each document, a Boolean (true: keep; its first reason is given to what
  goes) or a string (null: keep, else the reason).
- an **editor** has ``edits = True`` and returns the texts as they shall be; one with ``counts``, a mapping from names
  to Arrow types, returns the texts and a mapping from these names to arrays: what it did to each.

A step is called with a ``pyarrow.RecordBatch`` of documents: ``text`` (string, never null), ``id``, ``language``,
``language_score``, the kept source columns and the attributes of the steps before it. Every answer has one value a
document, and depends on that document alone: how documents are batched isn't promised. A step that has a method
``setup()`` has it called once a worker.

A function without any of these attributes is a filter whose only reason is its name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.outcomes import EDITS, Outcomes

Kind = Literal["annotator", "filter", "editor"]

RESERVED = ("row", "id", "text", "outcome", "language", "language_score", "text_bytes", "already_normalized")
"""Columns that are the pipeline's own: no attribute and no kept column has such a name."""


HIDDEN = ("row", "outcome", "text_bytes", "already_normalized")
"""Columns that no step is shown."""

SHOWN = (
    pa.field("id", pa.string()),
    pa.field("text", pa.string()),
    pa.field("language", pa.dictionary(pa.int32(), pa.string())),
    pa.field("language_score", pa.float32()),
)
"""The columns that every step is shown, beside kept columns and attributes."""


class StepFailed(Exception):
    """A step of a recipe raised an error, or its answer isn't one for every document."""


class UndeclaredReason(StepFailed):
    """A filter gave a reason that it doesn't declare."""


@dataclasses.dataclass(frozen=True)
class Step:
    """A step of a recipe, imported and checked.

    Attributes:
      label: its name in the recipe, in the funnel and in the costs.
      kind: what it may do.
      function: what is called with the documents.
      columns: the attributes that an annotator adds, with their types; of an editor, ``LABEL.removed``,
        ``LABEL.replaced`` and ``LABEL.added``: characters (``transforms.kernels.text.edits``), and its ``LABEL.COUNT``.
      reasons: the reasons that it can give; an editor drops a document of which it leaves nothing.
      per_document: whether it is Python code that is called for each document.
    """

    label: str
    kind: Kind
    function: Callable[[pa.RecordBatch], Any]
    columns: Mapping[str, pa.DataType] = dataclasses.field(default_factory=dict)
    reasons: Sequence[str] = ()
    per_document: bool = False

    @classmethod
    def of(cls, function: Any, label: str, named: bool = False) -> Step:
        """The step that a callable is.

        Args:
          label: its name in the recipe.
          named: whether the recipe has given it this name. Then the one attribute of an annotator is called so, and
            of several each is called ``label.attribute``.

        Raises:
          ValueError: it declares two kinds, or something that is none.
        """
        if not callable(function):
            raise ValueError(f"{label} can't be called with a batch of documents")
        columns: dict[str, Any] = dict(getattr(function, "columns", None) or {})
        reasons = tuple(getattr(function, "reasons", None) or ())
        edits = bool(getattr(function, "edits", False))
        declared = {"columns": columns, "reasons": reasons, "edits": edits}
        if sum(map(bool, declared.values())) > 1:
            several = " and ".join(name for name, value in declared.items() if value)
            raise ValueError(
                f"{label} declares {several}: a step is an annotator, a filter or an editor, not two of these"
            )
        per_document = bool(getattr(function, "per_document", False))
        if edits:
            sizes = {f"{label}.{what}": pa.uint32() for what in EDITS}
            counts = dict(getattr(function, "counts", None) or {})
            if own := [name for name in EDITS if name in counts]:
                raise ValueError(f"{label}: an editor's own count can't be called {own[0]!r}, which is counted anyway")
            sizes |= {f"{label}.{name}": kind for name, kind in _checked_columns(label, counts).items()}
            return cls(label, "editor", function, sizes, (f"{label}_left_nothing",), per_document)
        if columns:
            checked = _checked_columns(label, columns)
            return cls(label, "annotator", function, _renamed(checked, label) if named else checked, (), per_document)
        return cls(label, "filter", function, {}, reasons or (label,), per_document)

    def setup(self) -> None:
        """Has the step prepare itself, once a worker."""
        prepare = getattr(self.function, "setup", None)
        if prepare is not None:
            prepare()


def _checked_columns(label: str, columns: dict[str, Any]) -> dict[str, pa.DataType]:
    for name, kind in columns.items():
        if not isinstance(name, str) or not name or name in RESERVED:
            raise ValueError(f"{label}: an attribute can't be called {name!r}")
        if not isinstance(kind, pa.DataType):
            raise ValueError(
                f"{label}: the type of {name!r} must be one of Arrow's, such as pa.float32(), not {kind!r}"
            )
    return columns


def _renamed(columns: dict[str, pa.DataType], label: str) -> dict[str, pa.DataType]:
    if len(columns) == 1:
        return dict.fromkeys([label], *columns.values())
    return {f"{label}.{name}": kind for name, kind in columns.items()}


def apply_step(data: pa.RecordBatch, step: Step, outcomes: Outcomes, annotate_all: bool = False) -> pa.RecordBatch:
    """The documents after a step: with its attributes, with ``outcome`` set where it drops, with its texts.

    Documents that are not active (``outcome`` is set) are not shown to the step, and their new attributes are null.

    Args:
      annotate_all: show them to an annotator all the same, where their text is still there, and leave the text of what
        a filter drops, for the annotators behind it.

    Raises:
      StepFailed: the answer has the wrong type or number of values, or a reason that isn't declared.
    """
    seen = pc.is_valid(data["text"]) if annotate_all and step.kind == "annotator" else pc.is_null(data["outcome"])
    shown = np.flatnonzero(seen.to_numpy(zero_copy_only=False))
    if not len(shown):
        return _with(data, {name: pa.nulls(len(data), kind) for name, kind in step.columns.items()})
    documents = data if len(shown) == len(data) else data.take(pa.array(shown))
    own = [name for name in HIDDEN if name in documents.schema.names]
    answer = step.function(documents.drop_columns(own))
    if step.kind == "annotator":
        return _with(data, _attributes(step, answer, shown, len(data)))
    if step.kind == "editor":
        return _edited(data, step, answer, documents["text"], shown, outcomes)
    codes = _codes(step, answer, len(shown), outcomes)
    return _dropped(data, codes, shown, keep_text=annotate_all, wide=outcomes.wide)


def attributes_of(step: Step, documents: pa.RecordBatch) -> dict[str, pa.Array]:
    """What an annotator says of documents.

    Raises:
      StepFailed: as ``apply_step``.
    """
    return _attributes(step, step.function(documents), np.arange(len(documents)), len(documents))


def codes_of(step: Step, documents: pa.RecordBatch, outcomes: Outcomes) -> pa.Array:
    """What a filter says of documents: outcome codes (uint16), null where they stay.

    Raises:
      StepFailed: as ``apply_step``.
    """
    return _codes(step, step.function(documents), len(documents), outcomes)


def _with(data: pa.RecordBatch, columns: Mapping[str, pa.Array]) -> pa.RecordBatch:
    arrays = {**dict(zip(data.schema.names, data.columns, strict=True)), **columns}
    return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))


_FOR_TEXTS = "; a function that is called for each text says so by its annotations, as in `def f(text: str) -> bool`"


def _as_array(step: Step, values: Any, count: int, what: str) -> pa.Array:
    """An answer as one Arrow array.

    Raises:
      StepFailed: it isn't one, or hasn't a value for each document.
    """
    if isinstance(values, np.ndarray | list):
        values = pa.array(values)
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if not isinstance(values, pa.Array):
        hint = _FOR_TEXTS if isinstance(values, bool | int | float | str) else ""
        raise StepFailed(f"{step.label} must return {what}, but returned {type(values).__name__}{hint}")
    if len(values) != count:
        raise StepFailed(f"{step.label} was shown {count} documents and must return {what}, but returned {len(values)}")
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def _spread(values: pa.Array, shown: np.ndarray, count: int) -> pa.Array:
    """Values of the documents shown, at their places among all; null elsewhere."""
    if len(values) == count:
        return values
    places = np.full(count, -1, np.int64)
    places[shown] = np.arange(len(shown))
    return values.take(pa.array(places, mask=places < 0))


def _attributes(step: Step, answer: Any, shown: np.ndarray, count: int) -> dict[str, pa.Array]:
    wanted = list(step.columns)
    own = list(getattr(step.function, "columns", {}))
    if not isinstance(answer, Mapping) or sorted(answer) != sorted(own):
        given = sorted(answer) if isinstance(answer, Mapping) else type(answer).__name__
        raise StepFailed(f"{step.label} must return a mapping with exactly the columns {own}, but returned {given}")
    arrays = {}
    for name, original in zip(wanted, own, strict=True):
        values = _as_array(step, answer[original], len(shown), f"one value a document in column {original!r}")
        try:
            arrays[name] = _spread(values.cast(step.columns[name]), shown, count)
        except pa.ArrowException as error:
            raise StepFailed(f"{step.label}: column {original!r} isn't {step.columns[name]}: {error}") from error
    return arrays


def _edited(
    data: pa.RecordBatch, step: Step, answer: Any, before: pa.Array, shown: np.ndarray, outcomes: Outcomes
) -> pa.RecordBatch:
    counts: dict[str, pa.Array] = {}
    counted = list(step.columns)[len(EDITS) :]
    if counted:
        if not (isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], Mapping)):
            raise StepFailed(f"{step.label} must return the texts and a mapping with its counts")
        answer, found = answer
        wanted = {f"{step.label}.{name}": values for name, values in found.items()}
        if sorted(wanted) != sorted(counted):
            raise StepFailed(f"{step.label} must return exactly the counts {counted}, but returned {sorted(wanted)}")
        for name in counted:
            values = _as_array(step, wanted[name], len(shown), f"one value a document as {name!r}")
            counts[name] = _spread(values.cast(step.columns[name]), shown, len(data))
    text = _as_array(step, answer, len(shown), "one text a document")
    if pa.types.is_null(text.type) or pa.types.is_large_string(text.type):
        text = text.cast(pa.string())
    if not pa.types.is_string(text.type):
        raise StepFailed(f"{step.label} must return strings, one text a document, not {text.type}")
    text = pc.fill_null(text, "")
    from transforms.kernels.text.edits import count_edits  # brings numba, which --help does without

    sizes = zip(list(step.columns), map(pa.array, count_edits(before, text).T), strict=False)
    columns = {name: _spread(size, shown, len(data)) for name, size in sizes}
    columns |= counts
    nothing_left = pc.equal(pc.binary_length(text), 0)
    whole = _spread(text, shown, len(data))
    if len(shown) < len(data):
        whole = pc.coalesce(whole, data["text"])  # what is not active keeps the text that it has
    reasons = pc.if_else(nothing_left, pa.scalar(outcomes.code(step.reasons[0]), pa.uint16()), None)
    return _dropped(_with(data, columns | {"text": whole}), reasons, shown, keep_text=False, wide=outcomes.wide)


def _codes(step: Step, answer: Any, count: int, outcomes: Outcomes) -> pa.Array:
    """The outcome code of each document shown, null where it stays (uint16)."""
    given_reasons = _as_array(step, answer, count, "one value a document")
    if pa.types.is_boolean(given_reasons.type):
        kept = pc.fill_null(given_reasons, True)
        given_reasons = pc.if_else(kept, pa.scalar(None, pa.string()), step.reasons[0])
    if pa.types.is_large_string(given_reasons.type) or pa.types.is_null(given_reasons.type):
        given_reasons = given_reasons.cast(pa.string())
    if not pa.types.is_string(given_reasons.type):
        raise StepFailed(
            f"{step.label} must return Booleans (true: keep) or strings (null: keep, else the reason), "
            f"not {given_reasons.type}"
        )
    coded = given_reasons.dictionary_encode()
    given = coded.dictionary.to_pylist()
    undeclared = [reason for reason in given if reason not in step.reasons]
    if undeclared:
        raise UndeclaredReason(
            f"{step.label} gave the reason {undeclared[0]!r}, which its `reasons` don't declare; "
            f"they are {', '.join(step.reasons)}"
        )
    codes = pa.array([outcomes.code(reason) for reason in given], pa.uint16())
    return codes.take(coded.indices)


def _dropped(data: pa.RecordBatch, codes: pa.Array, shown: np.ndarray, keep_text: bool, wide: bool) -> pa.RecordBatch:
    """The documents with the outcomes ``codes`` of those shown; what is dropped loses its text unless it's kept."""
    if codes.null_count == len(codes):
        return data
    kind = pa.uint16() if wide else data["outcome"].type
    outcome = pc.coalesce(data["outcome"].cast(kind), _spread(codes, shown, len(data)).cast(kind))
    columns = {"outcome": outcome}
    if not keep_text:
        columns["text"] = pc.if_else(pc.is_valid(outcome), pa.scalar(None, data["text"].type), data["text"])
    return _with(data, columns)
