"""FastText's losses at prediction: from the sum of a text's rows to the best label and its probability.

Follows ``Loss::predict`` of https://github.com/facebookresearch/fastText, its float32 roundings and its choice among
equals included. Additions are in the library's order, column by column, so no processor's vector width shows in them.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from transforms.kernels.language.fasttext_model import HIERARCHICAL_SOFTMAX, SOFTMAX, ModelArrays

_LOG_OFFSET = 1e-5  # FastText's std_log: log(x + 1e-5)
_LOWEST_SCORE = np.float32(np.log(_LOG_OFFSET))  # std_log of the threshold 0: branches below are not followed
_SIGMOID_TABLE_SIZE, _SIGMOID_LIMIT = 512, 8


def _sigmoid_table() -> np.ndarray:
    points = np.arange(_SIGMOID_TABLE_SIZE + 1, dtype=np.float32) * np.float32(2 * _SIGMOID_LIMIT)
    points = points / np.float32(_SIGMOID_TABLE_SIZE) - np.float32(_SIGMOID_LIMIT)
    return (1.0 / (1.0 + np.exp(-points).astype(np.float64))).astype(np.float32)


_SIGMOIDS = _sigmoid_table()


@njit(cache=True)
def _log(value: float) -> np.float32:
    return np.float32(np.log(np.float64(value) + _LOG_OFFSET))


@njit(cache=True)
def _sigmoid(value: np.float32) -> np.float32:
    if value < -_SIGMOID_LIMIT:
        return np.float32(0)
    if value > _SIGMOID_LIMIT:
        return np.float32(1)
    step = (value + np.float32(_SIGMOID_LIMIT)) * np.float32(_SIGMOID_TABLE_SIZE) / np.float32(2 * _SIGMOID_LIMIT)
    return _SIGMOIDS[np.int64(step)]


@njit(cache=True)
def _best_leaf(
    logits: np.ndarray, children: np.ndarray, stack: np.ndarray, scores: np.ndarray
) -> tuple[int, np.float32]:
    """The walk of ``HierarchicalSoftmaxLoss::dfs`` for one label, in its order: of equal leaves the last one wins."""
    labels = logits.size
    best, best_score = -1, np.float32(-np.inf)
    stack[0], scores[0] = 2 * labels - 2, np.float32(0)
    depth = 1
    while depth > 0:
        depth -= 1
        node, score = stack[depth], scores[depth]
        if score < _LOWEST_SCORE or score < best_score:
            continue
        if children[node, 0] < 0:
            best, best_score = node, score
            continue
        right = np.float32(1.0 / np.float64(np.float32(1) + np.exp(-logits[node - labels])))
        stack[depth], scores[depth] = children[node, 1], score + _log(right)
        stack[depth + 1] = children[node, 0]
        scores[depth + 1] = score + _log(np.float32(1.0 - np.float64(right)))
        depth += 2
    return best, best_score


@njit(cache=True)
def _highest(values: np.ndarray) -> np.float32:
    highest = values[0]  # numba takes ten times as long to compile `values.max()`
    for value in values:
        highest = max(highest, value)
    return highest


@njit(cache=True)
def _best_label(values: np.ndarray) -> tuple[int, np.float32]:
    """``Loss::findKBest`` for one label, over probabilities: of equal logarithms the last one wins."""
    best, best_score = -1, np.float32(-np.inf)
    highest = _highest(values) * np.float32(0.999)  # the logarithm is taken of few
    for label in range(values.size):
        if values[label] >= highest:
            score = _log(values[label])
            if score >= best_score:
                best, best_score = label, score
    return best, best_score


@njit(cache=True)
def _set_logits(total: np.ndarray, row_count: int, logits: np.ndarray, model: ModelArrays) -> None:
    scale = np.float32(1.0 / row_count)
    logits[:] = 0
    for column in range(model.width):
        mean = total[column] * scale
        for label in range(logits.size):
            logits[label] += mean * model.output[column, label]


@njit(cache=True)
def _set_softmax(logits: np.ndarray) -> None:
    highest = _highest(logits)
    normalizer = np.float32(0)
    for label in range(logits.size):
        logits[label] = np.exp(logits[label] - highest)
        normalizer += logits[label]
    for label in range(logits.size):
        logits[label] /= normalizer


@njit(cache=True)
def predict(
    total: np.ndarray, row_count: int, logits: np.ndarray, stack: np.ndarray, scores: np.ndarray, model: ModelArrays
) -> tuple[int, np.float32]:
    """Best label and its probability as the library gives it, for a sum of rows; label -1 if there is none."""
    _set_logits(total, row_count, logits, model)
    if model.loss == HIERARCHICAL_SOFTMAX:
        best, score = _best_leaf(logits, model.children, stack, scores)
    elif model.loss == SOFTMAX:
        _set_softmax(logits)
        best, score = _best_label(logits)
    else:
        for label in range(logits.size):
            logits[label] = _sigmoid(logits[label])
        best, score = _best_label(logits)
    return best, np.exp(score)


@njit(cache=True)
def _set_leaves(
    logits: np.ndarray, children: np.ndarray, stack: np.ndarray, scores: np.ndarray, leaves: np.ndarray
) -> None:
    """The probability of every leaf of the Huffman tree, 0 where the library follows the branch no further."""
    labels = logits.size
    leaves[:] = 0
    stack[0], scores[0] = 2 * labels - 2, np.float32(0)
    depth = 1
    while depth > 0:
        depth -= 1
        node, score = stack[depth], scores[depth]
        if score < _LOWEST_SCORE:
            continue
        if children[node, 0] < 0:
            leaves[node] = np.exp(score)
            continue
        right = np.float32(1.0 / np.float64(np.float32(1) + np.exp(-logits[node - labels])))
        stack[depth], scores[depth] = children[node, 1], score + _log(right)
        stack[depth + 1] = children[node, 0]
        scores[depth + 1] = score + _log(np.float32(1.0 - np.float64(right)))
        depth += 2


@njit(cache=True)
def predict_all(
    total: np.ndarray,
    row_count: int,
    logits: np.ndarray,
    stack: np.ndarray,
    scores: np.ndarray,
    probabilities: np.ndarray,
    model: ModelArrays,
) -> None:
    """Writes the probability of every label, as the library gives it, for a sum of rows."""
    _set_logits(total, row_count, logits, model)
    if model.loss == HIERARCHICAL_SOFTMAX:
        _set_leaves(logits, model.children, stack, scores, probabilities)
        return
    if model.loss == SOFTMAX:
        _set_softmax(logits)
    else:
        for label in range(logits.size):
            logits[label] = _sigmoid(logits[label])
    for label in range(logits.size):
        probabilities[label] = np.exp(_log(logits[label]))
