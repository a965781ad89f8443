"""Steps from plain functions on one text: for researchers who know Python and no Arrow.

A function's annotations say what it is:

- ``def keep(text: str) -> bool`` is a filter; true keeps, and its name is the reason;
- ``def judge(text: str) -> Literal["too_loud", "too_quiet"] | None`` is a filter with these reasons; ``-> str | None``
  with ``@per_document(reasons=[...])`` is the same;
- ``def score(text: str) -> float`` is an annotator (``int`` and ``bool`` with ``kind="annotator"``, too); the attribute
  has its name;
- ``def clean(text: str) -> str`` is an editor.

Further arguments are columns by their names: ``language``, ``language_score``, ``id``, kept source columns and
attributes of earlier steps (a dot in a column's name is an underscore in the argument's). An argument with a default
is left out where there is no such column.

Such a step is Python called for each document: 1 to 100 MB/s of text a core, and the costs of a run say how much.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from transforms.recipe.steps import Kind

_ATTRIBUTE_TYPES = {float: pa.float32(), int: pa.int64(), bool: pa.bool_(), str: pa.string()}


@dataclasses.dataclass(frozen=True)
class PerDocument:
    """A step that calls a function for each document.

    Attributes:
      function: takes a text, and columns by their names.
      kind: what the function is.
      columns, reasons, edits: as the contract of a step has them (``transforms.recipe.steps``).
    """

    function: Callable[..., Any]
    kind: Kind
    columns: Mapping[str, pa.DataType] = dataclasses.field(default_factory=dict)
    reasons: Sequence[str] = ()
    edits: bool = False
    per_document: bool = True

    @property
    def __name__(self) -> str:
        return str(self.function.__name__)

    def __call__(self, documents: pa.RecordBatch) -> Any:
        """The function's answers for a batch of documents; with a ``str``, its answer for that text."""
        if not isinstance(documents, pa.RecordBatch | pa.Table):
            return self.function(documents)
        values = [documents.column(place).to_pylist() for place in self._places(documents.schema.names)]
        answers = [self.function(*arguments) for arguments in zip(*values, strict=True)]
        if self.columns:
            [(name, kind)] = self.columns.items()
            return {name: _array(answers, kind, str(kind))}
        if self.edits:
            return _array(answers, pa.string(), "a string")
        return _array(answers, pa.bool_() if _is_boolean(answers) else pa.string(), "True, False or a reason")

    def _places(self, names: Sequence[str]) -> list[int]:
        """The columns that are the function's arguments, in order."""
        found = []
        parameters = list(inspect.signature(self.function).parameters.values())
        spelled = [name.replace(".", "_") for name in names]
        for place, parameter in enumerate(parameters):
            name = "text" if place == 0 else parameter.name
            if name in names or name in spelled:
                found.append(names.index(name) if name in names else spelled.index(name))
            elif parameter.default is inspect.Parameter.empty:
                raise ValueError(
                    f"{self.__name__} has an argument {name!r}, but there is no such column; there are "
                    f"{', '.join(names)} (keep_columns adds columns of the sources)"
                )
            else:
                break
        return found


def _is_boolean(answers: Sequence[Any]) -> bool:
    return any(isinstance(answer, bool | np.bool_) for answer in answers)


def _array(answers: Sequence[Any], kind: pa.DataType, wanted: str) -> pa.Array:
    """Answers in an Arrow type.

    Raises:
      TypeError: one has another type; it is named.
    """
    try:
        return pa.array(answers, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        for answer in answers:
            try:
                pa.array([answer], kind)
            except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
                said = f"it returned {repr(answer)[:60]} ({type(answer).__name__}) where {wanted} is expected"
                raise TypeError(said) from None
        raise


@typing.overload
def per_document(function: Callable[..., Any], /) -> PerDocument: ...
@typing.overload
def per_document(
    *, kind: Kind | None = None, reasons: Sequence[str] = (), type: pa.DataType | None = None
) -> Callable[[Callable[..., Any]], PerDocument]: ...
def per_document(
    function: Callable[..., Any] | None = None,
    /,
    *,
    kind: Kind | None = None,
    reasons: Sequence[str] = (),
    type: pa.DataType | None = None,
) -> Any:
    """Makes a step of a function on a ``str``; a decorator, with or without arguments.

    Args:
      kind: what the function is, where its annotation doesn't say it.
      reasons: the reasons that a filter can give.
      type: the Arrow type of the attribute.

    Raises:
      ValueError: the annotation of what it returns doesn't say what it is.

    Example:
      >>> @per_document
      ... def long_enough(text: str) -> bool:
      ...     return len(text) > 200
    """
    if function is None:
        return lambda given: _made(given, kind, tuple(reasons), type)
    return _made(function, kind, tuple(reasons), type)


def takes_a_text(function: Any) -> bool:
    """Whether a function's first argument is annotated as ``str``: then it is a step on single documents."""
    if not inspect.isfunction(function):
        return False
    parameters = list(inspect.signature(function).parameters)
    return bool(parameters) and _hints(function).get(parameters[0]) is str


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError) as error:
        raise ValueError(f"{function.__name__}: its annotations can't be understood: {error}") from error


def _made(
    function: Callable[..., Any], kind: Kind | None, reasons: tuple[str, ...], wanted: pa.DataType | None
) -> PerDocument:
    name = function.__name__
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ValueError(f"{name}: arguments are a text and columns by name, so {parameter} can't be given")
    returned = _hints(function).get("return", inspect.Parameter.empty)
    if reasons:
        kind = kind or "filter"
    kind = kind or _kind_of(name, returned)
    if kind == "editor":
        return PerDocument(function, kind, edits=True)
    if kind == "annotator":
        found = wanted or _ATTRIBUTE_TYPES.get(_without_none(returned))
        if found is None:
            raise ValueError(f"{name}: say the type of its attribute, such as @per_document(type=pa.float32())")
        return PerDocument(function, kind, columns={name: found})
    if not reasons and _without_none(returned) is not bool:
        reasons = _literals(returned) or _returned_strings(function)
        if not reasons:
            raise ValueError(f"{name}: say which reasons it gives: @per_document(reasons=['too_loud', ...])")
    return PerDocument(function, kind, reasons=reasons or (name,))


def _kind_of(name: str, returned: Any) -> Kind:
    if returned is str:
        return "editor"
    if returned is bool or _literals(returned) or _without_none(returned) is str:
        return "filter"
    if _without_none(returned) in (float, int):
        return "annotator"
    raise ValueError(
        f"{name}: what it returns says what it is: `-> bool` or `-> str | None` a filter, `-> float` a score, `-> str` "
        f"an edited text; its annotation is {'none' if returned is inspect.Parameter.empty else returned}"
    )


def _without_none(annotation: Any) -> Any:
    """``T`` of ``T | None``."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        parts = [part for part in typing.get_args(annotation) if part is not types.NoneType]
        return parts[0] if len(parts) == 1 else annotation
    return annotation


def _literals(annotation: Any) -> tuple[str, ...]:
    inner = _without_none(annotation)
    return tuple(map(str, typing.get_args(inner))) if typing.get_origin(inner) is Literal else ()


def _returned_strings(function: Callable[..., Any]) -> tuple[str, ...]:
    """The string constants that a function's source returns, sorted: the reasons of one that doesn't declare them."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return ()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Return) and node.value is not None:
            branches = [node.value]
            while branches:
                branch = branches.pop()
                if isinstance(branch, ast.IfExp):
                    branches += [branch.body, branch.orelse]
                elif isinstance(branch, ast.Constant) and isinstance(branch.value, str):
                    found.add(branch.value)
                elif not (isinstance(branch, ast.Constant) and branch.value is None):
                    return ()  # computed: nobody can say what it may be
    return tuple(sorted(found))
