"""What is asked of a turn, and what it answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from beam_pipeline.trial.judging import Counted
from beam_pipeline.trial.result import Duplicates, Problem, StepInfo
from schemas.errors import WRONG_USAGE, ToldError

Known = dict[str, list[Problem]]
"""Problems of steps by what identifies a step and the documents that it was checked with."""


@dataclasses.dataclass(frozen=True)
class Turn:
    """What one turn has found.

    Attributes:
      counted: the counts.
      steps: of the recipe, those among them that were put in front of families.
      specs: the same by name.
      code: SHA-256 of the files of the user's steps, by module.
      files: these files.
      problems: of the steps, in their order.
      known: the same, for the next turn.
      duplicates: among what is kept.
    """

    counted: Counted
    steps: tuple[StepInfo, ...]
    specs: tuple[Any, ...]
    code: Mapping[str, str]
    files: tuple[Path, ...]
    problems: tuple[Problem, ...]
    known: Known
    duplicates: Duplicates


class NotARecipe(ToldError):
    """The steps can't be imported, or don't go together; the message says why."""

    exit_status = WRONG_USAGE


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is wanted of a turn.

    Attributes:
      check: whether steps are checked.
      texts: how many texts of each kind are to be shown, at most.
      only: texts of this reason, editor or end only; empty: of all.
    """

    check: bool = True
    texts: int = 5
    only: str = ""
