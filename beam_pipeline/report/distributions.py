"""How attributes are distributed, by language and by what became of the documents: counted batch by batch.

Memory: ``BINS`` counts for each attribute, language shown and outcome, whatever the number of documents.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_pipeline.trial.result import DOCUMENTS, Condition

BINS = 32
"""At the most; of whole numbers in a narrow range, one for each."""
LANGUAGES = 5
"""Languages with a line of their own: those with the most documents."""
ALL = "all"
MOST_VALUES = 12
"""Of strings, the values that are shown."""
SMALLEST, LARGEST = 0.005, 0.995
"""What lies outside these quantiles is counted in the first and in the last bin."""
SKEWED = 20.0
"""Numbers that reach so many times as far as their median are drawn on a logarithmic axis (symlog)."""
MOST = 1e100
"""Numbers beyond this are drawn there: differences of larger ones are no numbers."""
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclasses.dataclass(frozen=True)
class Axis:
    """Where the bins of an attribute are.

    Attributes:
      name: of the column.
      edges: ascending; one more than there are bins.
      is_logarithmic: whether they are equally far apart in log(1 + x).
    """

    name: str
    edges: npt.NDArray[np.float64]
    is_logarithmic: bool


@dataclasses.dataclass(frozen=True)
class Beyond:
    """A threshold, and how many documents are on the side that goes, whatever other rules say.

    Attributes:
      condition: the threshold.
      groups: by language shown, ``ALL`` first: documents with the attribute, and those of them that would go.
    """

    condition: Condition
    groups: dict[str, tuple[int, int]]


@dataclasses.dataclass
class Distribution:
    """An attribute's counts.

    Attributes:
      axis: of a number; None of strings.
      counts: by language shown, with ``ALL`` first, [kept or not, bin]; of ``ALL`` weighted as the input is.
      values: of strings and Booleans, documents by value.
      documents: that have it.
      quantiles: by language shown, as ``QUANTILES``.
      beyond: for each threshold of it.
    """

    name: str
    axis: Axis | None
    counts: dict[str, npt.NDArray[np.float64]]
    values: dict[str, int] = dataclasses.field(default_factory=dict)
    documents: int = 0
    quantiles: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    beyond: list[Beyond] = dataclasses.field(default_factory=list)


class Distributions:
    """Counts tables of documents, one after the other.

    Args:
      sample: documents by which axes, languages shown and quantiles are chosen (``trial.result.DOCUMENTS``, attributes
        and figures behind them).
      conditions: the thresholds.
      weights: of a stratified sample, for how many documents of the input one of a language stands.
    """

    def __init__(
        self, sample: pa.Table, conditions: Sequence[Condition] = (), weights: Mapping[str, float] | None = None
    ) -> None:
        self._weights = dict(weights or {})
        self.languages = _largest(sample)
        self._conditions = [each for each in conditions if each.language in ("", *self.languages)]
        own = {name for name in DOCUMENTS.names if name not in ("language_score", "text_bytes")}
        self._found: dict[str, Distribution] = {}
        for field in sample.schema:
            if field.name not in own and (made := self._planned(field, sample)) is not None:
                self._found[field.name] = made
        self._beyond = {number: np.zeros((len(self.languages) + 1, 2), np.int64) for number in range(len(conditions))}

    def _planned(self, field: pa.Field, sample: pa.Table) -> Distribution | None:
        values = sample[field.name]
        if not _is_number(field.type):
            is_shown = pa.types.is_string(_plain(field.type)) or pa.types.is_boolean(field.type)
            return Distribution(field.name, None, {}) if is_shown else None
        numbers = _numbers(values)
        finite = numbers[np.isfinite(numbers)]
        drawn = [each.threshold for each in self._conditions if each.figure == field.name]
        axis = _axis(field.name, finite, drawn, pa.types.is_integer(field.type))
        empty = {name: np.zeros((2, len(axis.edges) - 1)) for name in (ALL, *self.languages)}
        made = Distribution(field.name, axis, empty)
        languages = _languages(sample)
        for name in (ALL, *self.languages):
            of_group = finite if name == ALL else numbers[(languages == name) & np.isfinite(numbers)]
            if len(of_group):
                made.quantiles[name] = np.quantile(of_group, QUANTILES).tolist()
        return made

    def add(self, documents: pa.Table | pa.RecordBatch) -> None:
        """Counts some documents: ``language``, ``outcome`` and the columns of the sample."""
        languages = _languages(documents)
        weights = np.ones(len(documents))
        for name, weight in self._weights.items():
            weights[languages == name] = weight
        gone = pc.not_equal(documents["outcome"], "kept").to_numpy(zero_copy_only=False).astype(np.int64)
        groups = np.full(len(documents), -1)
        for number, name in enumerate(self.languages):
            groups[languages == name] = number
        for name, found in self._found.items():
            if name not in documents.schema.names:
                continue
            if found.axis is None:
                _add_values(found, documents[name])
                continue
            numbers = _numbers(documents[name])
            seen = np.isfinite(numbers)
            found.documents += int(np.count_nonzero(seen))
            bins = len(found.axis.edges) - 1
            places = np.clip(np.searchsorted(found.axis.edges, numbers[seen], side="right") - 1, 0, bins - 1)
            cells = gone[seen] * bins + places
            found.counts[ALL] += np.bincount(cells, weights[seen], 2 * bins).reshape(2, bins)
            for number, language in enumerate(self.languages):
                of_language = cells[groups[seen] == number]
                found.counts[language] += np.bincount(of_language, minlength=2 * bins).reshape(2, bins)
            self._add_beyond(name, numbers, seen, groups)

    def _add_beyond(self, name: str, numbers: np.ndarray, seen: np.ndarray, groups: np.ndarray) -> None:
        for number, condition in enumerate(self._conditions):
            if condition.figure != name:
                continue
            asked = seen & (groups == self.languages.index(condition.language)) if condition.language else seen
            for column, documents in enumerate((asked, asked & ~_holds(numbers, condition))):
                of_groups = np.bincount(groups[documents] + 1, minlength=len(self.languages) + 1)
                self._beyond[number][:-1, column] += of_groups[1:]
                self._beyond[number][-1, column] += of_groups.sum()

    def results(self) -> list[Distribution]:
        """What was counted, attributes with thresholds first."""
        for found in self._found.values():
            found.beyond = []
        for number, condition in enumerate(self._conditions):
            counted = zip([*self.languages, ALL], self._beyond[number].tolist(), strict=True)
            groups = {language: (documents, beyond) for language, (documents, beyond) in counted if documents}
            if condition.figure in self._found and groups:
                self._found[condition.figure].beyond.append(Beyond(condition, groups))
        shown = [found for found in self._found.values() if found.documents]
        return sorted(shown, key=lambda found: (not found.beyond, found.axis is None))


def distributions_of(
    documents: pa.Table, conditions: Sequence[Condition] = (), weights: Mapping[str, float] | None = None
) -> list[Distribution]:
    """The distributions of documents that are all at hand."""
    found = Distributions(documents, conditions, weights)
    found.add(documents)
    return found.results()


def _largest(sample: pa.Table) -> list[str]:
    counts = pc.value_counts(sample["language"].cast(pa.string()).drop_null().combine_chunks()).to_pylist()
    named = [(-each["counts"], each["values"]) for each in counts if each["values"]]
    return [name for _, name in sorted(named)[:LANGUAGES]]


def _languages(documents: pa.Table | pa.RecordBatch) -> np.ndarray:
    return documents["language"].cast(pa.string()).to_numpy(zero_copy_only=False)


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def _numbers(values: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """As float64, with NaN for null."""
    whole: np.ndarray = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return whole


def _axis(name: str, values: npt.NDArray[np.float64], thresholds: Sequence[float], is_whole: bool) -> Axis:
    """Edges that show most of the values, and thresholds that aren't far outside."""
    values = np.clip(values, -MOST, MOST)
    low, high = np.quantile(values, [SMALLEST, LARGEST]) if len(values) else (0.0, 1.0)
    middle = float(np.median(values)) if len(values) else 0.0
    logarithmic = bool(low >= 0 and high > SKEWED * max(middle, 1.0))
    reach = (high - low) or 1.0
    near = [t for t in thresholds if low - reach <= t <= high + reach or (logarithmic and 0 <= t <= 100 * high)]
    low, high = min([low, *near]), max([high, *near])
    if high <= low:
        low, high = low - 0.5, low + 0.5
    if logarithmic:
        return Axis(name, np.expm1(np.linspace(np.log1p(low), np.log1p(high), BINS + 1)), True)
    if is_whole and high - low < BINS:
        return Axis(name, np.arange(np.floor(low), np.ceil(high) + 2), False)
    return Axis(name, np.linspace(low, high, BINS + 1), False)


def _holds(numbers: np.ndarray, condition: Condition) -> np.ndarray:
    compare = {
        ">=": np.greater_equal, "<=": np.less_equal, ">": np.greater, "<": np.less, "==": np.equal, "!=": np.not_equal,
    }[condition.operator]  # fmt: skip
    holds: np.ndarray = compare(numbers, condition.threshold)
    return holds


def _add_values(found: Distribution, values: pa.Array | pa.ChunkedArray) -> None:
    """Counts values of strings; only the most frequent are held on to, so that memory is bounded."""
    plain = values.cast(pa.string()).drop_null()
    found.documents += len(plain)
    for each in pc.value_counts(plain.combine_chunks() if isinstance(plain, pa.ChunkedArray) else plain).to_pylist():
        found.values[each["values"]] = found.values.get(each["values"], 0) + each["counts"]
    if len(found.values) > 1000 * MOST_VALUES:
        frequent = sorted(found.values.items(), key=lambda item: (-item[1], item[0]))[: 100 * MOST_VALUES]
        found.values = dict(frequent)
