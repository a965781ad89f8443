"""What ``what-if`` answers."""

from __future__ import annotations

import dataclasses
import math

from beam_pipeline.lineage.totals import Amount

NOTHING = Amount()


@dataclasses.dataclass(frozen=True)
class Stays:
    """What stays of a group of documents.

    Attributes:
      passing: the documents that pass, before duplicates are removed; no tokens, as not all of them have any.
      kept: those of them that the run has kept.
      without_witness: those of them that the run has dropped for a document that doesn't pass. At least one of each
        group of duplicates comes back; how many, only a new removal of duplicates can say. Their tokens are estimated.
    """

    passing: Amount = NOTHING
    kept: Amount = NOTHING
    without_witness: Amount = NOTHING

    def __add__(self, other: Stays) -> Stays:
        return Stays(self.passing + other.passing, self.kept + other.kept, self.without_witness + other.without_witness)

    def with_error(self, other: Stays) -> Stays:
        """Of two independent standard errors, that of the sum."""

        def both(one: Amount, two: Amount) -> Amount:
            pairs = zip(dataclasses.astuple(one), dataclasses.astuple(two), strict=True)
            return Amount(*(math.ceil(math.hypot(*pair)) for pair in pairs))

        return Stays(both(self.passing, other.passing), both(self.kept, other.kept))


@dataclasses.dataclass(frozen=True)
class Answer:
    """What an expression lets stay, by the values of a column.

    Attributes:
      errors: of an answer from a sample, the standard errors of the total; None: it is exact.
    """

    expression: str
    groups: dict[str, Stays]
    errors: Stays | None = None

    def __add__(self, other: Answer) -> Answer:
        """Of the documents of both."""
        groups = {
            name: self.groups.get(name, Stays()) + other.groups.get(name, Stays())
            for name in sorted(self.groups.keys() | other.groups.keys())
        }
        errors = self.errors if other.errors is None else other.errors.with_error(self.errors or Stays())
        return Answer(self.expression, groups, errors)

    @property
    def total(self) -> Stays:
        """Of all groups together."""
        return sum(self.groups.values(), Stays())
