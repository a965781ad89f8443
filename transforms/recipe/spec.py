"""How a recipe names its steps: by the name of a built-in one or an import path, with arguments.

In YAML a step is one of::

    - gopher_quality                                        # a built-in step
    - my_steps:drop_cookie_banner                           # a function or class of yours, by import path
    - urls: {block_domains: s3://lists/adult.txt}           # with arguments
    - {use: fasttext, name: edu, model: s3://models/edu.bin}
    - {use: "my_steps:Mentions", arguments: {word: river}}
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import inspect
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pydantic

from schemas.outcomes import OWN, Outcomes
from transforms.recipe.expressions import Expression
from transforms.recipe.per_document import per_document, takes_a_text
from transforms.recipe.steps import RESERVED, SHOWN, Step

BUILT_IN = {
    "buckets": "transforms.recipe.buckets:Buckets",
    "c4": "transforms.recipe.families:C4",
    "c4_lines": "transforms.recipe.lines:C4Lines",
    "c4_statistics": "transforms.recipe.lines:C4Statistics",
    "dclm": "transforms.recipe.families:Dclm",
    "dclm_lines": "transforms.recipe.lines:DclmLines",
    "dclm_statistics": "transforms.recipe.lines:DclmStatistics",
    "fasttext": "transforms.recipe.fasttext_scores:FastText",
    "fineweb": "transforms.recipe.families:FineWeb",
    "fineweb2": "transforms.recipe.fineweb2:FineWeb2",
    "ftfy": "transforms.recipe.mojibake:Ftfy",
    "gopher_quality": "transforms.recipe.families:GopherQuality",
    "gopher_repetition": "transforms.recipe.families:GopherRepetition",
    "language_stop_words": "transforms.recipe.fineweb2:LanguageStopWords",
    "length": "transforms.recipe.built_in:Length",
    "languages": "transforms.recipe.built_in:Languages",
    "pii": "transforms.recipe.personal_data:PersonalData",
    "repetition": "transforms.recipe.statistics:Repetition",
    "rule": "transforms.recipe.built_in:Rule",
    "script": "transforms.recipe.language_script:Script",
    "text_statistics": "transforms.recipe.statistics:TextStatistics",
    "url_matches": "transforms.recipe.urls:UrlMatches",
    "urls": "transforms.recipe.urls:Urls",
}
"""The steps that come with the package, by name."""

ANNOTATORS = ("url_matches", "dclm_statistics", "c4_statistics", "repetition", "text_statistics")
"""Those of them that add columns without being given arguments; of two that add the same column the last is named."""


class StepSpec(pydantic.BaseModel):
    """A step of a recipe by name, not imported yet.

    Attributes:
      use: the name of a built-in step, or ``package.module:name``.
      name: its label in this run; by default the last part of ``use``.
      arguments: of its class.

    Raises:
      pydantic.ValidationError: the form isn't one of those above.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    use: str
    name: str = ""
    arguments: dict[str, Any] = {}

    @pydantic.model_validator(mode="before")
    @classmethod
    def _from_yaml(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"use": value}
        if not isinstance(value, dict):
            return value
        if "use" not in value:
            if len(value) != 1:
                raise ValueError(
                    f"a step is a name or `name: {{arguments}}`, but this has {', '.join(map(str, value))}"
                )
            [(use, arguments)] = value.items()
            if arguments is not None and not isinstance(arguments, dict):
                raise ValueError(f"{use}: its arguments are `name: value`, not {arguments!r}")
            return {"use": use, "arguments": arguments or {}}
        flat = {key: value[key] for key in value if key not in ("use", "name", "arguments")}
        return {
            "use": value["use"],
            "name": value.get("name", ""),
            "arguments": {**(value.get("arguments") or {}), **flat},
        }

    @classmethod
    def of(cls, step_class: type, **arguments: Any) -> StepSpec:
        """The spec that loads this class with these arguments."""
        return cls(use=f"{step_class.__module__}:{step_class.__qualname__}", arguments=arguments)

    @property
    def label(self) -> str:
        """The step's name in this run; a rule without one is called like its reason."""
        reason = self.arguments.get("reason") if self.use == "rule" else None
        return self.name or reason or self.use.rpartition(":")[2].rpartition(".")[2]

    def resolved(self) -> StepSpec:
        """The spec with what decides results of the files that its arguments name; read once, by the command.

        Raises:
          ValueError: there is no such step, or a file can't be read.
        """
        resolve = getattr(self._imported(), "resolve", None)
        if resolve is None:
            return self
        try:
            return self.model_copy(update={"arguments": resolve(self.arguments)})
        except ValueError as error:
            raise ValueError(f"recipe: {self.use}: {error}") from error

    def load(self) -> Step:
        """Imports the step.

        Raises:
          ValueError: there is no such step, or it doesn't take these arguments.
        """
        found = self._imported()
        if inspect.isclass(found):
            try:
                found = found(**self.arguments)
            except (TypeError, ValueError) as error:
                raise ValueError(f"recipe: {self.use} doesn't take {self.arguments}: {error}") from error
        elif self.arguments:
            raise ValueError(f"recipe: {self.use} is a function and takes no arguments; make it a class")
        elif takes_a_text(found):
            found = per_document(found)
        try:
            return Step.of(found, self.label, named=bool(self.name))
        except ValueError as error:
            raise ValueError(f"recipe: {self.use}: {error}") from error

    def _imported(self) -> Any:
        path = BUILT_IN.get(self.use, self.use)
        module_name, colon, name = path.partition(":")
        if not colon:
            close = difflib.get_close_matches(self.use, BUILT_IN, n=1)
            hint = f"; did you mean {close[0]}?" if close else "."
            raise ValueError(
                f"recipe: there is no step {self.use!r}{hint} Built in are {', '.join(sorted(BUILT_IN))}; your own is "
                f"named package.module:name"
            )
        try:
            found: Any = importlib.import_module(module_name)
        except ImportError as error:
            raise ValueError(f"recipe: {self.use} can't be imported ({error}); is its folder on PYTHONPATH?") from error
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = "" if isinstance(error, SyntaxError) else f" ({Path(last.filename).name}, line {last.lineno})"
            said = f"{type(error).__name__}: {error}{place}"
            raise ValueError(f"recipe: {self.use} can't be imported: {said}") from error
        for part in name.split("."):
            try:
                found = getattr(found, part)
            except AttributeError as error:
                close = difflib.get_close_matches(part, dir(found), n=1)
                hint = f"; did you mean {close[0]}?" if close else ""
                raise ValueError(f"recipe: {self.use} can't be imported ({error}){hint}") from error
        return found


@dataclasses.dataclass(frozen=True)
class PlannedRecipe:
    """The recipe of a run, held against itself; what workers and readers of its output need to know of it.

    Attributes:
      steps: in order, by name: workers import them.
      editors: those of them that change texts.
      attributes: the columns that they add.
      outcomes: what can become of a document in the run.
      read_in: by step, its arguments where files that they name decide results, with what these files said.
    """

    steps: tuple[StepSpec, ...] = ()
    editors: tuple[StepSpec, ...] = ()
    attributes: tuple[pa.Field, ...] = ()
    outcomes: Outcomes = dataclasses.field(default_factory=lambda: Outcomes.with_filters([]))
    read_in: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, specs: Sequence[StepSpec], kept: Sequence[pa.Field] = ()) -> PlannedRecipe:
        """Imports the steps once, to learn what they declare.

        Args:
          kept: the source columns that are kept.

        Raises:
          ValueError: a step can't be loaded, two are in each other's way, or a rule reads a column that isn't there.
        """
        given = list(specs)
        resolved = [spec.resolved() for spec in given]
        read_in = {
            spec.label: spec.arguments
            for spec, old in zip(resolved, given, strict=True)
            if spec.arguments != old.arguments
        }
        from transforms.recipe.needed_statistics import with_statistics  # brings the kernels, which --help doesn't need

        specs = with_statistics(resolved, [spec.load() for spec in resolved], StepSpec)
        steps = load(specs, [field.name for field in kept])
        fields = tuple(pa.field(name, kind) for step in steps for name, kind in step.columns.items())
        _check_rules(steps, kept)
        reasons = [reason for step in steps for reason in step.reasons]
        editors = tuple(spec for spec, step in zip(specs, steps, strict=True) if step.kind == "editor")
        return cls(tuple(specs), editors, fields, Outcomes.with_filters(reasons), read_in)

    @property
    def reasons(self) -> list[str]:
        """The reasons that the steps can give, in order."""
        return [reason for code, (_, reason) in sorted(self.outcomes.table.items()) if code not in OWN]


def _check_rules(steps: Sequence[Step], kept: Sequence[pa.Field]) -> None:
    """Refuses a rule that reads a column that isn't kept and that no step before it adds."""
    schema = pa.schema([*SHOWN, *kept])
    for step in steps:
        expression = getattr(step.function, "expression", None)
        if isinstance(expression, Expression):
            try:
                expression.check_condition(schema)
            except ValueError as error:
                missing = [name for name in expression.columns if name not in schema.names]
                raise ValueError(f"recipe: {step.label}: {error}{_who_adds(missing, steps)}") from error
        for name, kind in step.columns.items():
            schema = schema.append(pa.field(name, kind))


def _who_adds(missing: Sequence[str], steps: Sequence[Step]) -> str:
    """The steps that would add columns that a rule misses: of the recipe, or such as come with the package."""
    there = {step.label: step.columns for step in steps}
    ours = {use: StepSpec(use=use).load().columns for use in ANNOTATORS if use not in there}
    adding = {name: use for use, columns in {**ours, **there}.items() for name in columns}
    said = [f"{adding[name]!r} adds {name!r}: put it before the rule" for name in missing if name in adding]
    return "".join(f"\n  the step {each}" for each in said)


def load(specs: Sequence[StepSpec], columns: Sequence[str] = ()) -> list[Step]:
    """Imports the steps of a recipe and holds them against each other.

    Args:
      columns: the source columns that are kept.

    Raises:
      ValueError: a step can't be loaded, or two have one label, give one reason, or add one column.
    """
    steps = [spec.load() for spec in specs]
    labels: set[str] = set()
    taken = dict.fromkeys((*RESERVED, *columns), "the pipeline or keep_columns")
    reasons: dict[str, str] = {}
    for step in steps:
        if step.label in labels:
            brought = " (families of rules bring the statistics that they need)" if step.kind == "annotator" else ""
            raise ValueError(f"recipe: two steps are called {step.label}{brought}; give one another `name`")
        labels.add(step.label)
        for kind, names, known in (("column", step.columns, taken), ("reason", step.reasons, reasons)):
            for name in names:
                if name in known:
                    raise ValueError(f"recipe: the {kind} {name!r} of {step.label} is already that of {known[name]}")
                known[name] = step.label
    return steps
