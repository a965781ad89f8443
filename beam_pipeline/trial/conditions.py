"""Where the rules of a recipe draw lines: figures, thresholds, and how far a document is from them.

Known are rules, families of rules, ``length`` and ``languages``: filters that are, or can be said as, expressions on
attributes (``transforms.recipe.expressions``). Of other filters nothing is known but what they decide.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_pipeline.trial.result import Condition
from transforms.recipe.built_in import Languages, Length, Rule
from transforms.recipe.expressions import Expression, ExpressionError
from transforms.recipe.families import Family
from transforms.recipe.steps import Step

LIMIT = "limit."
"""Before the names of thresholds that differ by language (``Family.added_columns``)."""
_OPERATORS: dict[type, str] = {ast.GtE: ">=", ast.LtE: "<=", ast.Gt: ">", ast.Lt: "<", ast.Eq: "==", ast.NotEq: "!="}
_TURNED = {">=": "<=", "<=": ">=", ">": "<", "<": ">", "==": "==", "!=": "!="}
_OPPOSITE = {">=": "<", "<=": ">", ">": "<=", "<": ">=", "==": "!=", "!=": "=="}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A comparison of a figure with a number, or with a threshold of the document's language.

    Attributes:
      figure: expression.
      operator: a document stays for which it holds.
      threshold: the number, or the name of the column with it.
    """

    figure: str
    operator: str
    threshold: float | str


def expressions_of(step: Step) -> dict[str, str]:
    """For each reason of a filter what must hold of what stays, as an expression; empty where that isn't known."""
    function = step.function
    if isinstance(function, Rule):
        return {function.reason: function.keep}
    if isinstance(function, Family):
        return {rule.reason: rule.keep for rule in function.rules}
    if isinstance(function, Length):
        found = {"too_short": f"length(text) >= {function.minimum}"}
        return found | ({"too_long": f"length(text) <= {function.maximum}"} if function.maximum else {})
    if isinstance(function, Languages) and function.min_score and not function.min_scores:
        return {"language_score_too_low": f"language_score >= {function.min_score}"}
    return {}


def comparisons_in(expression: str) -> list[Comparison]:
    """The comparisons of numbers in an expression, in order."""
    return list(dict.fromkeys(_comparisons(ast.parse(expression.strip(), mode="eval").body, True)))


def columns_of(step: Step, reason: str) -> tuple[str, ...]:
    """The columns that a reason is about."""
    expression = expressions_of(step).get(reason)
    return Expression.parse(expression).columns if expression else ()


def conditions_of(steps: Sequence[Step], documents: pa.Table | pa.RecordBatch | None = None) -> tuple[Condition, ...]:
    """The thresholds of a recipe.

    Args:
      steps: of the recipe, in order.
      documents: some, with ``language``: thresholds that differ by language are given for their languages.
    """
    found = []
    for step in steps:
        for reason, expression in expressions_of(step).items():
            for one in comparisons_in(expression):
                if not isinstance(one.threshold, str):
                    found.append(Condition(step.label, reason, one.figure, one.operator, one.threshold))
                elif documents is not None:
                    for language, threshold in _by_language(step, one.threshold, documents).items():
                        found.append(Condition(step.label, reason, one.figure, one.operator, threshold, language))
    return tuple(found)


def figures_of(conditions: Sequence[Condition], documents: pa.Table | pa.RecordBatch) -> dict[str, pa.Array]:
    """The figures of documents (float64), by name; those whose columns aren't there are left out."""
    found: dict[str, pa.Array] = {}
    for name in dict.fromkeys(condition.figure for condition in conditions):
        values = figure(name, documents)
        if values is not None:
            found[name] = values
    return found


def figure(name: str, documents: pa.Table | pa.RecordBatch) -> pa.Array | None:
    """A figure of documents as float64; None if it can't be computed of their columns."""
    try:
        values = Expression.parse(name).evaluate(documents)
        return values.cast(pa.float64())
    except (ExpressionError, pa.ArrowException):
        return None


def margins(step: Step, reason: str, documents: pa.RecordBatch) -> np.ndarray | None:
    """How far each document is on the side that stays (above 0) or goes (below), in parts of the threshold.

    Of conditions of which one is enough, the best counts, of those that must all hold, the worst. None if nothing is
    known of the reason.
    """
    expression = expressions_of(step).get(reason)
    if expression is None or not comparisons_in(expression):
        return None
    columns = {name: documents[name] for name in documents.schema.names}
    added = getattr(step.function, "added_columns", None)
    shown = pa.RecordBatch.from_pydict(columns | (added(documents) if added else {}))
    try:
        return _margin(ast.parse(expression.strip(), mode="eval").body, shown)
    except (ExpressionError, pa.ArrowException):
        return None


def _comparisons(node: ast.expr, holds: bool) -> Iterator[Comparison]:
    if isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from _comparisons(value, holds)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield from _comparisons(node.operand, not holds)
    elif isinstance(node, ast.Compare):
        for left, operator, right in _pairs(node):
            compared = _compared(left, operator, right, holds)
            if compared is not None:
                yield compared


def _pairs(node: ast.Compare) -> Iterator[tuple[ast.expr, ast.cmpop, ast.expr]]:
    return zip([node.left, *node.comparators], node.ops, node.comparators, strict=False)


def _compared(left: ast.expr, operator: ast.cmpop, right: ast.expr, holds: bool) -> Comparison | None:
    sign = _OPERATORS.get(type(operator))
    if sign is None:
        return None
    for figured, threshold, way in ((left, right, sign), (right, left, _TURNED[sign])):
        limit = _number(threshold)
        if limit is not None and _number(figured) is None and not isinstance(figured, ast.Constant):
            return Comparison(ast.unparse(figured), way if holds else _OPPOSITE[way], limit)
    return None


def _number(node: ast.expr) -> float | str | None:
    """A constant number, or the name of a threshold's column."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _number(node.operand)
        return -inner if isinstance(inner, float) else None
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return float(node.value)
    name = ast.unparse(node)
    return name if isinstance(node, ast.Attribute) and name.startswith(LIMIT) else None


def _margin(node: ast.expr, documents: pa.RecordBatch) -> np.ndarray:
    if isinstance(node, ast.BoolOp):
        combine = np.fmin if isinstance(node.op, ast.And) else np.fmax
        return functools.reduce(combine, [_margin(value, documents) for value in node.values])
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return -_margin(node.operand, documents)
    if isinstance(node, ast.Compare):
        found = [_compared(left, operator, right, True) for left, operator, right in _pairs(node)]
        if all(found):
            return functools.reduce(np.fmin, [_distance(one, documents) for one in found if one])
    holds = Expression.parse(ast.unparse(node)).evaluate(documents)
    return np.where(pc.fill_null(holds, False).to_numpy(zero_copy_only=False), np.inf, -np.inf)


def _distance(one: Comparison, documents: pa.RecordBatch) -> np.ndarray:
    values = Expression.parse(one.figure).evaluate(documents).cast(pa.float64()).to_numpy(zero_copy_only=False)
    if isinstance(one.threshold, str):
        limit = Expression.parse(one.threshold).evaluate(documents).cast(pa.float64()).to_numpy(zero_copy_only=False)
    else:
        limit = np.full(len(values), one.threshold)
    away = (values - limit) / np.maximum(np.abs(limit), 1e-9)
    if one.operator in ("==", "!="):
        return np.where((away == 0) == (one.operator == "=="), np.abs(away), -np.abs(away))
    return away if one.operator in (">=", ">") else -away


def _by_language(step: Step, column: str, documents: pa.Table | pa.RecordBatch) -> Mapping[str, float]:
    """A threshold for each language of some documents; without those that have none."""
    added = getattr(step.function, "added_columns", None)
    if added is None:
        return {}
    labels = pc.unique(documents["language"].cast(pa.string())).drop_null()
    if isinstance(labels, pa.ChunkedArray):
        labels = labels.combine_chunks()
    values = added(pa.RecordBatch.from_pydict({"language": labels.dictionary_encode()}))[column]
    found = zip(labels.to_pylist(), values.to_pylist(), strict=True)
    return {name: value for name, value in found if value is not None}
