"""What a trial says of a recipe: plain tables and texts, for the terminal, a page and notebooks.

``report`` makes the same of a finished run. Nothing here knows how it came about.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

ALL, KEPT, INVALID = "all documents", "kept", "invalid"
"""Values of the column ``step`` of the funnel that aren't steps: everything, what no step drops, what is no text."""

FUNNEL = pa.schema(
    [
        pa.field("step", pa.string()),  # label of the step; or ALL, KEPT, INVALID
        pa.field("reason", pa.string()),  # empty for ALL and KEPT
        pa.field("language", pa.string()),  # as the model labels it; empty: none, of what is no text
        pa.field("documents", pa.int64()),  # in the order of the recipe: what earlier steps drop isn't counted again
        pa.field("bytes", pa.int64()),  # UTF-8 bytes of the text as it is where the recipe is left
        pa.field("tokens", pa.int64()),  # estimated, or of a run counted
        pa.field("documents_alone", pa.int64()),  # as if no other filter were in the recipe; null where not known
        pa.field("bytes_alone", pa.int64()),
        pa.field("tokens_alone", pa.int64()),
    ]
)
"""One row for each (step, reason, language), in the order of the recipe: ALL, INVALID, the steps' reasons, KEPT."""

EDITS = pa.schema(
    [
        pa.field("step", pa.string()),
        pa.field("language", pa.string()),
        pa.field("documents", pa.int64()),  # that it changes
        pa.field("removed", pa.int64()),  # characters
        pa.field("replaced", pa.int64()),
        pa.field("added", pa.int64()),
    ]
)

OVERLAP = pa.schema(
    [
        pa.field("reason", pa.string()),
        pa.field("other", pa.string()),
        pa.field("documents", pa.int64()),  # that both steps would drop, each for its reason, if it were alone
    ]
)
"""One row for each pair of reasons of two steps that share documents; the more shared, the earlier."""

COSTS = pa.schema(
    [
        pa.field("step", pa.string()),  # label, or the name of a box before the recipe
        pa.field("mb_per_second", pa.float64()),  # of text, a core; null where too little was seen to say
        pa.field("cpu_seconds", pa.float64()),  # measured
        pa.field("bytes", pa.int64()),  # of text that it was shown
        pa.field("cpu_hours_of_input", pa.float64()),  # for the whole input; null where not known
    ]
)

DOCUMENTS = pa.schema(
    [
        pa.field("source", pa.dictionary(pa.int32(), pa.string())),  # URI
        pa.field("row", pa.int64()),  # in the source
        pa.field("id", pa.string()),  # the user's own
        pa.field("language", pa.string()),
        pa.field("language_score", pa.float32()),
        pa.field("text_bytes", pa.int64()),  # null of what is no text
        pa.field("outcome", pa.string()),  # kept, dropped, invalid
        pa.field("step", pa.string()),  # that dropped it, else empty
        pa.field("reason", pa.string()),  # empty if kept
    ]
)
"""The first columns of ``Result.documents``; behind them stand attributes and figures, one column each."""


@dataclasses.dataclass(frozen=True)
class Condition:
    """A comparison in a rule: what a step looks at, and where it draws the line.

    Attributes:
      step, reason: whose it is.
      figure: expression on attributes; a column of ``Result.documents`` has this name.
      operator: ``>=``, ``<=``, ``>``, ``<``, ``==`` or ``!=``; a document stays for which it holds.
      threshold: the number on the other side.
      language: of thresholds that are set for single languages; empty: of all.
    """

    step: str
    reason: str
    figure: str
    operator: str
    threshold: float
    language: str = ""


@dataclasses.dataclass(frozen=True)
class Figure:
    """What a document has of a condition.

    Attributes:
      name: the condition's ``figure``.
      value: of the document.
      operator, threshold: of the condition.
    """

    name: str
    value: float
    operator: str
    threshold: float


@dataclasses.dataclass(frozen=True)
class ShownText:
    """A text to look at.

    Attributes:
      kind: ``kept``, ``dropped``, ``edited`` or ``duplicate``.
      step, reason: why it is shown; empty if it is just kept.
      place: ``closest`` or ``clearest`` of what a reason drops, ``closest_kept`` of what just stays, or empty.
      source, row, id: where it is from.
      language: its label.
      text: as the step saw it, ``MAX_CHARACTERS`` at most.
      is_cut: whether there is more of it.
      after: what an editor made of it, cut as ``text`` is; else None.
      figures: by which it is judged; empty where the step gives none.
      spans: the parts that the reason is about, as (start, end) in characters of ``text``, in order, none overlapping.
    """

    kind: str
    step: str
    reason: str
    place: str
    source: str
    row: int
    id: str | None
    language: str
    text: str
    is_cut: bool = False
    after: str | None = None
    figures: tuple[Figure, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()


MAX_CHARACTERS = 4000
"""Of a text that is shown."""


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Documents that are duplicates of the first.

    Attributes:
      texts: the one that stays first; ``SHOWN_OF_CLUSTER`` of them at most.
      similarities: of each to the first; 1 of the same text.
      size: documents in the cluster.
    """

    texts: tuple[ShownText, ...]
    similarities: tuple[float, ...]
    size: int


@dataclasses.dataclass(frozen=True)
class Duplicates:
    """Duplicates among the documents that the recipe keeps.

    Attributes:
      exact, near: documents that would be dropped.
      looked_at: documents that were compared.
      clusters: the largest first; some of them.
      note: why they were not looked for, if they weren't.
    """

    exact: int = 0
    near: int = 0
    looked_at: int = 0
    clusters: tuple[Cluster, ...] = ()
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Problem:
    """What is wrong with a step.

    Attributes:
      step: its label.
      check: which of ``beam_pipeline.trial.checks`` found it, such as ``raises`` or ``depends_on_batching``.
      sentence: what is wrong, with the figures.
      document: ``source, row N`` of the first document, or empty.
      code: the line of the user's code, or empty.
      text: the beginning of that document's text.
    """

    step: str
    check: str
    sentence: str
    document: str = ""
    code: str = ""
    text: str = ""


@dataclasses.dataclass(frozen=True)
class StepInfo:
    """A step of the recipe: its label, kind (annotator, filter, editor), what it was named by, reasons, columns."""

    label: str
    kind: str
    use: str
    reasons: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Looked:
    """What was looked at.

    Attributes:
      inputs: URIs as given.
      documents, bytes: in the sample, or the run; bytes of text as read.
      of_documents, of_bytes: in the whole input, estimated (``trial.sample``); equal to the sample's if all was read.
      is_all: whether everything was looked at.
      by: the column by which the sample is stratified, or empty.
      weights: of a stratified sample, documents of the input for which one of a language stands, relative to others.
      tokens: how tokens were estimated or counted, in words.
    """

    inputs: tuple[str, ...]
    documents: int
    bytes: int
    of_documents: int
    of_bytes: int
    is_all: bool
    by: str = ""
    weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    tokens: str = ""


@dataclasses.dataclass(frozen=True)
class Result:
    """All that a trial, or a finished run, says of a recipe.

    Attributes:
      title: the recipe's file, or the run's output.
      is_run: whether it is of a finished run.
      note: what has to be known of several runs together.
      created: ISO 8601, UTC.
      recipe_yaml: the recipe with what was put in front of its families.
      recipe_hash: SHA-256 (hex) of the steps and of the user's code.
      settings: all settings, as JSON.
      versions: of the package, Python and what decides results, by name.
      looked: what was looked at.
      steps: of the recipe, in order.
      funnel, edits, overlap, costs, documents: tables of the schemas above.
      conditions: thresholds to be drawn into the distributions of their figures.
      texts: to look at.
      duplicates: among what is kept.
      problems: what is wrong with steps.
    """

    title: str
    is_run: bool
    created: str
    recipe_yaml: str
    recipe_hash: str
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    looked: Looked
    steps: tuple[StepInfo, ...]
    funnel: pa.Table
    edits: pa.Table
    overlap: pa.Table
    costs: pa.Table
    documents: pa.Table
    conditions: tuple[Condition, ...] = ()
    texts: tuple[ShownText, ...] = ()
    duplicates: Duplicates = Duplicates()
    problems: tuple[Problem, ...] = ()
    note: str = ""


AMOUNTS = tuple(FUNNEL.names[3:])


def totals(result: Result) -> dict[tuple[str, str], dict[str, int]]:
    """The funnel without languages, by step and reason, in order: the sums of ``AMOUNTS``."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for row in result.funnel.to_pylist():
        sums = found.setdefault((row["step"], row["reason"]), dict.fromkeys(AMOUNTS, 0))
        for name in AMOUNTS:
            sums[name] += row[name] or 0
    return found
