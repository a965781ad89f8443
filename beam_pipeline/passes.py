"""The steps of both passes over the text, as lists for the pipeline, ``--plan`` and the benchmarks."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import pyarrow as pa

from beam_pipeline.settings import Settings
from transforms.apply_recipe import recipe_boxes
from transforms.box import Box
from transforms.check_spelling import CheckSpelling
from transforms.edit import Edit
from transforms.fingerprint import Fingerprint
from transforms.identify_language import IdentifyLanguage
from transforms.io.kept_columns import KeptColumn
from transforms.io.pinned_files import PinnedFile
from transforms.normalize import Normalize, NormalizeKept
from transforms.recipe.spec import PlannedRecipe
from transforms.tokenize import Tokenization, Tokenize


class Planned(Protocol):
    """What the steps need of a plan (``beam_pipeline.plan.Plan``)."""

    @property
    def settings(self) -> Settings:
        """The resolved settings."""

    @property
    def language_model(self) -> PinnedFile:
        """The language model."""

    @property
    def tokenization(self) -> Tokenization | None:
        """The tokenizer and what it puts around documents; None if text is written."""

    @property
    def columns(self) -> tuple[KeptColumn, ...]:
        """The source columns that are kept."""

    @property
    def recipe(self) -> PlannedRecipe:
        """The steps that say what is good data."""

    @property
    def stored_fields(self) -> tuple[pa.Field, ...]:
        """The kept columns and the attributes, as they stand in the fingerprints."""


@dataclasses.dataclass(frozen=True)
class Pinned:
    """Settings, and the files that they name, pinned: as much of a plan as the steps need."""

    settings: Settings
    language_model: PinnedFile
    tokenization: Tokenization | None
    recipe: PlannedRecipe
    columns: tuple[KeptColumn, ...] = ()

    @property
    def stored_fields(self) -> tuple[pa.Field, ...]:
        """The kept columns and the attributes, as they stand in the fingerprints."""
        return (*(column.field for column in self.columns), *self.recipe.attributes)


def text_pass(plan: Planned) -> list[Box]:
    """Pass 1, between reading and writing: from documents as read to fingerprints."""
    settings = plan.settings
    boxes: list[Box] = [
        Normalize(settings.normalization()),
        IdentifyLanguage(plan.language_model, settings.language_identification()),
        *recipe_boxes(plan.recipe.steps, plan.recipe.outcomes, settings.annotate_all),
    ]
    if plan.tokenization is not None and settings.max_unknown_tokens is not None:
        boxes.append(CheckSpelling(plan.tokenization, settings.max_unknown_tokens))
    return [*boxes, Fingerprint(settings.minhash(), tuple(field.name for field in plan.stored_fields))]


def token_pass(plan: Planned) -> list[Box]:
    """Pass 3, between reading and writing: from kept documents as read to token ids, or to their texts."""
    boxes: list[Box] = [
        NormalizeKept(plan.settings.normalization()),
        Edit(plan.recipe.editors, plan.recipe.outcomes, tuple(column.name for column in plan.columns)),
    ]
    if plan.tokenization is not None:
        boxes.append(Tokenize(plan.tokenization, tuple(plan.settings.token_columns)))
    return boxes
