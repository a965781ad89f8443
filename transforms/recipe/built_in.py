"""The small steps that come with the package: length, language, and conditions on attributes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from transforms.options import check, option
from transforms.recipe.expressions import Expression


@dataclasses.dataclass(frozen=True)
class Length:
    """Keeps documents of ``minimum`` to ``maximum`` characters (code points); a maximum of 0 is none.

    Raises:
      ValueError: an option is out of range.
    """

    minimum: int = option(0, "shortest document kept", metavar="N", ge=0)
    maximum: int = option(0, "longest document kept; 0: any", metavar="N", ge=0)
    reasons = ("too_short", "too_long")

    def __post_init__(self) -> None:
        check(self)
        if self.maximum and self.maximum < self.minimum:
            raise ValueError(f"maximum: {self.maximum} is under minimum, {self.minimum}")

    def __call__(self, documents: pa.RecordBatch) -> pa.Array:
        """The reason why a document goes, null if it stays."""
        length = pc.utf8_length(documents["text"])
        too_long = pc.greater(length, self.maximum) if self.maximum else pa.scalar(False)
        return first_reason([(pc.less(length, self.minimum), "too_short"), (too_long, "too_long")], len(documents))


@dataclasses.dataclass(frozen=True)
class Languages:
    """Keeps documents in one of the languages ``keep`` (empty: any) whose score is high enough.

    The score must reach ``min_scores[language]``, or ``min_score`` for a language that isn't named there.

    Raises:
      ValueError: an option is out of range.
    """

    keep: Sequence[str] = option((), "languages to keep, as the model labels them", metavar="A,B")
    min_score: float = option(0.0, "lowest probability of the language", metavar="P", ge=0, le=1)
    min_scores: Mapping[str, float] = option({}, "the same for single languages", metavar="A=P,B=P")
    reasons = ("language_not_wanted", "language_score_too_low")
    reads = ("language", "language_score")

    def __post_init__(self) -> None:
        check(self)
        for language, score in self.min_scores.items():
            if not 0 <= score <= 1:
                raise ValueError(f"min_scores: must be 0 to 1, not {score!r} for {language!r}")

    def __call__(self, documents: pa.RecordBatch) -> pa.Array:
        """The reason why a document goes, null if it stays."""
        language = documents["language"]
        labels = language.dictionary.to_pylist()
        wanted = pa.array([not self.keep or label in self.keep for label in labels], pa.bool_())
        floors = pa.array([self.min_scores.get(label, self.min_score) for label in labels], pa.float32())
        low = pc.less(documents["language_score"], floors.take(language.indices))
        unwanted = pc.invert(wanted.take(language.indices))
        return first_reason([(unwanted, "language_not_wanted"), (low, "language_score_too_low")], len(documents))


@dataclasses.dataclass(frozen=True)
class Rule:
    """Keeps documents for which a condition on their attributes holds; null counts as not.

    Attributes:
      keep: the condition (``transforms.recipe.expressions``).
      reason: the reason of what goes.

    Raises:
      ExpressionError: the condition can't be parsed.
    """

    keep: str
    reason: str = "rule"

    def __post_init__(self) -> None:
        Expression.parse(self.keep)
        if not self.reason:
            raise ValueError("a rule needs a reason")

    @property
    def reasons(self) -> tuple[str, ...]:
        """The one reason."""
        return (self.reason,)

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns that the condition reads."""
        return self.expression.columns

    @property
    def expression(self) -> Expression:
        """The condition, parsed."""
        return Expression.parse(self.keep)

    def __call__(self, documents: pa.RecordBatch) -> pa.Array:
        """Whether a document stays."""
        return pc.fill_null(self.expression.evaluate(documents), False)


def first_reason(cases: Sequence[tuple[pa.Array | pa.Scalar, str]], length: int) -> pa.Array:
    """For each row the first reason whose condition holds, null if none does."""
    reasons = pa.nulls(length, pa.string())
    for condition, reason in reversed(cases):
        reasons = pc.if_else(condition, reason, reasons)
    return reasons
