"""``Trial``: a recipe tried on a sample, for notebooks."""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from beam_pipeline.settings import Settings
from beam_pipeline.trial.against import Against, against
from beam_pipeline.trial.asked import Wanted
from beam_pipeline.trial.result import ALL, KEPT, Problem, Result, ShownText, totals
from beam_pipeline.trial.trying import SAMPLE, Trying
from transforms.recipe.given import specs_of

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

TABLES = ("funnel", "edits", "overlap", "costs", "documents")


class Trial:
    """What a recipe does to a sample of an input.

    Args:
      steps: each a callable, a name, or a mapping as in YAML; or the one name of a recipe or of a YAML file.
      input: file, folder, glob or ``s3://`` prefix, or several.
      sample: how many documents; ``"all"``: all of them.
      by: ``"language"``: as many documents of each language.
      check: whether the steps are checked.
      texts: texts that are held of each reason and kind, 20 at most.
      settings: any other setting of a run that decides what a recipe does, such as ``keep_columns`` or ``tokenizer``.

    Attributes:
      result: everything, as plain tables and texts (``beam_pipeline.trial.result``).

    Raises:
      ValueError: settings can't be used.
      NotARecipe: the steps can't be used.

    Example:
      >>> trial = Trial("gopher_quality", keep_prose, input="texts/")
      >>> trial                       # a table
      >>> trial.to_pandas("documents")
      >>> trial.again("gopher_quality", keep_prose_2).against(trial)
    """

    result: Result

    def __init__(
        self,
        *steps: Any,
        input: str | list[str],
        sample: int | str = SAMPLE,
        by: str = "",
        check: bool = True,
        texts: int = 5,
        **settings: Any,
    ) -> None:
        values = {"input": [input] if isinstance(input, str) else list(input), "output": "."} | settings
        values |= {} if values.get("tokenizer") else {"tokens": False}
        self._trying = Trying(Settings.model_validate(values), sample, by)
        self._wanted = Wanted(check=check, texts=texts)
        self._try(steps)

    def _try(self, steps: tuple[Any, ...]) -> None:
        title = ", ".join(map(_name, steps))
        self.result = self._trying.turn(_specs(steps), title, self._wanted)

    def again(self, *steps: Any) -> Trial:
        """Another recipe on the same documents; nothing is read."""
        other = Trial.__new__(Trial)
        other._trying, other._wanted = self._trying, self._wanted
        other._try(steps)
        return other

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the steps."""
        return self.result.problems

    def texts(self, name: str = "", place: str = "") -> list[ShownText]:
        """Texts to look at.

        Args:
          name: a reason, the label of an editor, or ``kept``; empty: all.
          place: ``closest``, ``clearest`` or ``closest_kept``; empty: all.
        """
        return [
            text
            for text in self.result.texts
            if name in ("", text.reason or text.step or text.kind) and place in ("", text.place)
        ]

    def against(self, other: Trial) -> Against:
        """What only this or only the other recipe keeps.

        Raises:
          ValueError: the two aren't of the same documents.
        """
        return against(self.result, other.result)

    def table(self, name: str = "funnel") -> pa.Table:
        """One of ``funnel``, ``edits``, ``overlap``, ``costs`` and ``documents`` (``beam_pipeline.trial.result``).

        Raises:
          ValueError: there is no such table.
        """
        if name not in TABLES:
            raise ValueError(f"there is no table {name!r}; there are {', '.join(TABLES)}")
        found: pa.Table = getattr(self.result, name)
        return found

    def to_pandas(self, name: str = "funnel") -> pd.DataFrame:
        """A table for pandas."""
        return self.table(name).to_pandas()

    def to_polars(self, name: str = "funnel") -> pl.DataFrame:
        """A table for polars.

        Raises:
          ImportError: polars isn't installed.
        """
        import polars

        found = polars.from_arrow(self.table(name))
        assert isinstance(found, polars.DataFrame)
        return found

    def __repr__(self) -> str:
        found = totals(self.result)
        kept, every = found[KEPT, ""]["documents"], found[ALL, ""]["documents"]
        return f"<Trial of {self.result.title}: {kept:,} of {every:,} documents kept, {len(self.problems)} problems>"

    def _repr_html_(self) -> str:
        """A table of steps and reasons, and what is wrong with the steps."""
        found = totals(self.result)
        every = max(1, found[ALL, ""]["documents"])
        rows = []
        for (step, reason), sums in found.items():
            if step in (ALL, KEPT) or sums["documents"] or sums["documents_alone"]:
                cells = [html.escape(step), html.escape(reason), f"{sums['documents']:,}"]
                cells += [f"{sums['documents'] / every:.1%}", f"{sums['bytes']:,}", f"{sums['tokens']:,}"]
                cells.append("" if step in (ALL, KEPT) else f"{sums['documents_alone']:,}")
                rows.append("".join(f"<td>{cell}</td>" for cell in cells))
        head = "".join(f"<th>{name}</th>" for name in ("step", "reason", "documents", "", "bytes", "tokens", "alone"))
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        said = "".join(f"<li>{html.escape(problem.sentence)}</li>" for problem in self.problems)
        problems = f"<ul>{said}</ul>" if said else ""
        title = html.escape(self.result.title)
        return f"<table><caption>{title}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{problems}"


def _specs(steps: tuple[Any, ...]) -> Any:
    """The steps by name; of a recipe, those that it has."""
    if len(steps) == 1 and isinstance(steps[0], str | Path):
        from beam_pipeline import recipes

        name = str(steps[0])
        if recipes.text_of(name) is not None or name.endswith((".yaml", ".yml")):
            return Settings.model_validate({"input": ["."], "output": ".", "tokens": False, "recipe": name}).steps()
    return specs_of(steps)


def _name(step: Any) -> str:
    return str(getattr(step, "__name__", type(step).__name__)) if callable(step) else str(step)
