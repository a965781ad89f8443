"""Settings of language identification and of the recipe."""

from __future__ import annotations

import functools
from typing import Annotated, Any, Self

import pydantic
import yaml

from beam_pipeline import recipes
from beam_pipeline.settings.fields import Part, of, options_of, setting, split_commas
from transforms.io import storage
from transforms.io.pinned_files import DEFAULT_LANGUAGE_MODEL
from transforms.io.yaml_file import read_yaml
from transforms.kernels.language.options import LanguageIdentification
from transforms.recipe.built_in import Languages, Length
from transforms.recipe.spec import StepSpec

_setting = functools.partial(setting, "filters")
_of_identification = functools.partial(of, "language", LanguageIdentification)
_of_length = functools.partial(of, "filters", Length)
_of_languages = functools.partial(of, "filters", Languages)


def _model_place(uri: str) -> str:
    return uri if uri == DEFAULT_LANGUAGE_MODEL else storage.absolute(uri)


def _split_scores(value: Any) -> Any:
    """``de=0.5,en=0.3`` as a mapping."""
    if not isinstance(value, str):
        return value
    parts = [part.strip() for part in value.split(",")]
    for part in parts:
        if "=" not in part:
            raise ValueError(f"{part!r} is not of the form LABEL=SCORE")
    return dict(part.split("=", 1) for part in parts)


def _read_recipe(value: Any) -> Any:
    """A recipe as it stands in the settings, one that ships with the package, or one in a YAML file."""
    if not isinstance(value, str):
        return value
    shipped = recipes.text_of(value)
    try:
        found = read_yaml(value) if shipped is None else yaml.safe_load(shipped)
    except (yaml.YAMLError, storage.StorageError) as error:
        raise ValueError(f"{value}: {error}") from error
    steps = found.get("recipe") if isinstance(found, dict) else found
    if not isinstance(steps, list):
        raise ValueError(f"{value}: expected a list of steps, or one under the key `recipe`")
    return steps


class LanguageSettings(Part):
    """How languages are identified: the model, and the options of ``LanguageIdentification``."""

    language_model: Annotated[str, pydantic.AfterValidator(_model_place)] = setting(
        "language",
        DEFAULT_LANGUAGE_MODEL,
        metavar="FILE",
        decides="nothing",
        description="a fastText .bin or .ftz model; the default is lid.176",
    )
    language_window: int = _of_identification("language_window")
    min_letters: int = _of_identification("min_letters")

    def language_identification(self) -> LanguageIdentification:
        """The window and the letter minimum."""
        return options_of(self, LanguageIdentification)


class FilterSettings(Part):
    """The recipe, and the options of its steps ``length`` and ``languages``, which have settings of their own."""

    languages: Annotated[list[str], pydantic.BeforeValidator(split_commas)] = _of_languages("keep")
    min_language_score: float = _of_languages("min_score")
    min_language_scores: Annotated[
        dict[str, Annotated[float, pydantic.Field(ge=0, le=1)]], pydantic.BeforeValidator(_split_scores)
    ] = _of_languages("min_scores")
    min_characters: int = _of_length("minimum")
    max_characters: int = _of_length("maximum")
    filters: list[StepSpec] = _setting(
        [],
        metavar="MODULE:NAME",
        description="a step by its name or import path; repeatable; with arguments in YAML (docs/recipes.md)",
    )
    recipe: Annotated[list[StepSpec], pydantic.BeforeValidator(_read_recipe)] = _setting(
        [],
        metavar="NAME|FILE",
        description=f"a recipe that ships with the package ({', '.join(recipes.NAMES)}), or YAML with a list of steps; "
        "in --config also the list itself (docs/recipes.md)",
    )
    check_steps: bool = _setting(
        True,
        decides="nothing",
        description="call your own steps on a few documents before work starts, so that their errors come first",
    )
    ignore_code_changes: bool = _setting(
        False,
        decides="nothing",
        description="go on with a run although the code of your steps was changed since; what is done stays",
    )
    annotate_all: bool = _setting(
        False, description="give a document that was dropped the attributes of the steps behind, too"
    )

    @pydantic.model_validator(mode="after")
    def _check_length(self) -> Self:
        try:
            Length(self.min_characters, self.max_characters)
        except ValueError as error:
            raise ValueError(f"min_characters and max_characters: {error}") from error
        return self

    def steps(self) -> list[StepSpec]:
        """The steps of the recipe: those that have settings of their own, then the filters, then ``recipe``.

        They are not imported here: ``transforms.recipe.spec.load`` does that.
        """
        built_in: list[StepSpec] = []
        if self.min_characters or self.max_characters:
            lengths = {"minimum": self.min_characters, "maximum": self.max_characters}
            built_in.append(StepSpec(use="length", arguments=lengths))
        if self.languages or self.min_language_score or self.min_language_scores:
            wanted = {
                "keep": self.languages,
                "min_score": self.min_language_score,
                "min_scores": self.min_language_scores,
            }
            built_in.append(StepSpec(use="languages", arguments=wanted))
        return [*built_in, *self.filters, *self.recipe]
