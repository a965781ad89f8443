"""Filters: what they are, how they are named in the settings, and the two that are built in.

A filter is a callable that takes a ``pyarrow.RecordBatch`` of documents still in play (columns ``row``, ``id``,
``text``, ``language``, ``language_score``; no null texts) and returns, for each, either a Boolean (true: keep) or a
string that says why it is dropped (null: keep). It declares the strings it can give in an attribute ``reasons``;
without one its only reason is its name. It may be a plain function, or a class whose instances are called: then its
arguments come from the settings.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

import pyarrow as pa
import pyarrow.compute as pc
import pydantic


class FilterFunction(Protocol):
    """What a filter looks like to the pipeline."""

    @property
    def reasons(self) -> Sequence[str]:
        """Every reason it can give."""

    def __call__(self, documents: pa.RecordBatch) -> pa.Array:
        """For each document, whether it stays, or why it goes."""


@dataclasses.dataclass(frozen=True)
class _Named:
    """A function without ``reasons``: its name is its only one."""

    function: Callable[[pa.RecordBatch], pa.Array]
    reasons: Sequence[str]

    def __call__(self, documents: pa.RecordBatch) -> pa.Array:
        return self.function(documents)


class FilterSpec(pydantic.BaseModel):
    """A filter by import path, ``package.module:name``, with the arguments of its class."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    use: str
    arguments: dict[str, Any] = {}

    @pydantic.model_validator(mode="before")
    @classmethod
    def _from_string(cls, value: Any) -> Any:
        return {"use": value} if isinstance(value, str) else value

    @classmethod
    def of(cls, filter_class: type, **arguments: Any) -> FilterSpec:
        """The spec that loads this class with these arguments."""
        return cls(use=f"{filter_class.__module__}:{filter_class.__qualname__}", arguments=arguments)

    def load(self) -> FilterFunction:
        """Imports the filter.

        Raises:
          ValueError: there is no such filter, or it doesn't take these arguments.
        """
        module_name, colon, name = self.use.partition(":")
        if not colon:
            raise ValueError(f"filters: {self.use!r} is not of the form package.module:name")
        try:
            found = getattr(importlib.import_module(module_name), name)
        except (ImportError, AttributeError) as error:
            raise ValueError(
                f"filters: {self.use} can't be imported ({error}); is its folder on PYTHONPATH?"
            ) from error
        if inspect.isclass(found):
            try:
                found = found(**self.arguments)
            except (TypeError, ValueError) as error:
                raise ValueError(f"filters: {self.use} doesn't take {self.arguments}: {error}") from error
        elif self.arguments:
            raise ValueError(f"filters: {self.use} is a function and takes no arguments; make it a class")
        if not callable(found):
            raise ValueError(f"filters: {self.use} can't be called with a batch")
        if not hasattr(found, "reasons"):
            return _Named(found, (getattr(found, "__name__", type(found).__name__),))
        return cast(FilterFunction, found)


@dataclasses.dataclass(frozen=True)
class Length:
    """Keeps documents of ``minimum`` to ``maximum`` characters (code points); a maximum of 0 is none."""

    minimum: int = 0
    maximum: int = 0
    reasons = ("too_short", "too_long")

    def __call__(self, documents: pa.RecordBatch) -> pa.Array:
        """Why a document goes, null if it stays."""
        length = pc.utf8_length(documents["text"])
        too_long = pc.greater(length, self.maximum) if self.maximum else pa.scalar(False)
        return _first_reason([(pc.less(length, self.minimum), "too_short"), (too_long, "too_long")], len(documents))


@dataclasses.dataclass(frozen=True)
class Languages:
    """Keeps documents in one of the languages ``keep`` (empty: any) whose score is high enough.

    The score must reach ``min_scores[language]``, or ``min_score`` for a language that isn't named there.
    """

    keep: Sequence[str] = ()
    min_score: float = 0.0
    min_scores: Mapping[str, float] = dataclasses.field(default_factory=dict)
    reasons = ("language_not_wanted", "language_score_too_low")

    def __call__(self, documents: pa.RecordBatch) -> pa.Array:
        """Why a document goes, null if it stays."""
        language = documents["language"]
        labels = language.dictionary.to_pylist()
        wanted = pa.array([not self.keep or label in self.keep for label in labels], pa.bool_())
        floors = pa.array([self.min_scores.get(label, self.min_score) for label in labels], pa.float32())
        low = pc.less(documents["language_score"], floors.take(language.indices))
        unwanted = pc.invert(wanted.take(language.indices))
        return _first_reason([(unwanted, "language_not_wanted"), (low, "language_score_too_low")], len(documents))


def _first_reason(cases: Sequence[tuple[pa.Array | pa.Scalar, str]], length: int) -> pa.Array:
    """For each row the first reason whose condition holds, null if none does."""
    reasons = pa.nulls(length, pa.string())
    for condition, reason in reversed(cases):
        reasons = pc.if_else(condition, reason, reasons)
    return reasons
