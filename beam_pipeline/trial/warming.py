"""Has the kernels of built-in steps loaded in the command, so that its children begin with them."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from beam_pipeline.trial.prepared import Documents
from transforms.kernels.text.edits import count_edits
from transforms.recipe.spec import PlannedRecipe, StepSpec
from transforms.recipe.steps import apply_step
from transforms.recipe.user_code import is_own

DOCUMENTS = 8


def warm_up(specs: Sequence[Any], kept: Sequence[pa.Field], batches: Sequence[Documents]) -> None:
    """Calls the built-in steps of a recipe with a few documents; what fails here, the trial itself tells."""
    if not batches:
        return
    built_in = [spec for spec in specs if isinstance(spec, StepSpec) and not is_own(spec) and spec.use != "rule"]
    data = batches[0].data
    data = data.filter(data["text"].is_valid())[:DOCUMENTS]
    with contextlib.suppress(Exception):
        count_edits(data["text"], data["text"])
        recipe = PlannedRecipe.of(built_in, kept)
        for spec in recipe.steps:
            step = spec.load()
            step.setup()
            data = apply_step(data, step, recipe.outcomes)
