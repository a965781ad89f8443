"""Steps that are callables already, for notebooks and pipelines of one's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from transforms.recipe.per_document import per_document, takes_a_text
from transforms.recipe.spec import StepSpec
from transforms.recipe.steps import Step


@dataclasses.dataclass(frozen=True)
class GivenStep:
    """A step that is a callable already, where a ``StepSpec`` names one.

    Attributes:
      function: as ``transforms.recipe.steps`` or ``transforms.recipe.per_document`` have them.
    """

    function: Any
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def label(self) -> str:
        """The callable's name."""
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    @property
    def use(self) -> str:
        """The callable's name."""
        return self.label

    def resolved(self) -> GivenStep:
        """Itself: it names no files."""
        return self

    def load(self) -> Step:
        """The step.

        Raises:
          ValueError: it isn't one.
        """
        return Step.of(per_document(self.function) if takes_a_text(self.function) else self.function, self.label)


def specs_of(steps: Sequence[Any]) -> tuple[StepSpec, ...]:
    """Steps as a recipe names them, each a name, a mapping as in YAML, a ``StepSpec`` or a callable."""
    return tuple(GivenStep(step) if callable(step) else StepSpec.model_validate(step) for step in steps)  # type: ignore[misc]
