"""The fastText model file (``.bin`` and ``.ftz``), read into arrays.

The layout is that of fastText's own ``FastText::loadModel`` (https://github.com/facebookresearch/fastText, versions 11
and 12), little-endian throughout: magic number and version, arguments, dictionary, input matrix, output matrix. A
matrix is dense float32, or coded by product quantization (Jégou et al., 2011; Joulin et al., "FastText.zip", 2016):
``codes[row, m]`` names one of 256 centroids for the m-th run of columns, and each row has a norm to multiply by.
"""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit

from transforms.kernels.language.fasttext_index import empty_slots, index_entries, index_ngrams
from transforms.kernels.language.lanes import LANES

MAGIC = 793712314
VERSIONS = (11, 12)
SUPERVISED = 3
HIERARCHICAL_SOFTMAX, NEGATIVE_SAMPLING, SOFTMAX, ONE_VS_ALL = 1, 2, 3, 4
CENTROIDS = 256
UNBUILT_WEIGHT = 10**15  # of the Huffman tree's inner nodes, before they have one
LABEL_PREFIX = b"__label__"
END_OF_LINE = b"</s>"
WORD, LABEL = 0, 1


class ModelFormatError(ValueError):
    """The file isn't a whole fastText model for classification."""


class UnsupportedModelError(ValueError):
    """A fastText model whose loss, version or layout isn't known here; the fasttext library may still read it."""


class ModelArrays(NamedTuple):
    """All that inference needs, as scalars and arrays of fixed types; V words, R input rows, L labels.

    All that comes before the loss is linear. So the rows of a model with fewer labels than dimensions are multiplied by
    its output when it is read, and have one column a label: what a row adds to the label's logit. ``width`` is the
    number of columns, rounded up to a multiple of ``LANES``; those past it are zero. A quantized input is decoded.
    """

    width: int
    minimum_ngram: int  # characters
    maximum_ngram: int  # 0: words only
    word_ngrams: int
    buckets: int
    loss: int
    words: int  # V
    end_of_line: int  # row of `</s>`, -1 if the dictionary lacks it
    pruned: bool  # whether only some n-grams have a row
    spellings: np.ndarray  # uint8: the entries' bytes one after the other; words first, then labels
    spelling_ends: np.ndarray  # int64 (V + L + 1): entry k is spellings[ends[k]:ends[k + 1]]
    entry_slots: np.ndarray  # int32, a power of two: entry by its hash, linear probing, -1 where empty
    kept_bits: np.ndarray  # uint64: bit b of the whole is set if bucket b has a row; used if pruned
    kept_before: np.ndarray  # int32, one a word of kept_bits: set bits before it
    kept_rows: np.ndarray  # int32: row - V, in the order of the buckets
    rows: np.ndarray  # float32 (R * width): the input's rows, one after the other
    output: np.ndarray  # float32 (width, L): transposed; the identity, where the rows are multiplied by it
    children: np.ndarray  # int32 (2 L - 1, 2): the Huffman tree of hierarchical softmax, -1 at the leaves


class Model(NamedTuple):
    """A parsed file: the arrays, and the labels as the file has them but without ``__label__``."""

    arrays: ModelArrays
    labels: list[str]


@njit(cache=True)
def _read_entries(
    data: np.ndarray, position: int, entries: int
) -> tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Zero-terminated spelling, int64 count and int8 type of each entry; position -1 if the data end before."""
    spellings = np.empty(data.size - position, np.uint8)
    ends = np.zeros(entries + 1, np.int64)
    counts = np.zeros(entries, np.int64)
    types = np.zeros(entries, np.uint8)
    filled = 0
    for entry in range(entries):
        while position < data.size and data[position] != 0:
            spellings[filled] = data[position]
            filled += 1
            position += 1
        if position + 10 > data.size:
            return -1, spellings[:0], ends, counts, types
        ends[entry + 1] = filled
        for i in range(8):
            counts[entry] |= np.int64(data[position + 1 + i]) << (8 * i)
        types[entry] = data[position + 9]
        position += 10
    return position, spellings[:filled].copy(), ends, counts, types


def _huffman_children(counts: np.ndarray) -> np.ndarray:
    """The tree of ``HierarchicalSoftmaxLoss::buildTree``; the counts are in descending order, as the file has them."""
    labels = len(counts)
    children = np.full((2 * labels - 1, 2), -1, np.int32)
    weights = [int(count) for count in counts] + [UNBUILT_WEIGHT] * (labels - 1)
    leaf, node = labels - 1, labels
    for parent in range(labels, 2 * labels - 1):
        for side in range(2):
            if leaf >= 0 and weights[leaf] < weights[node]:
                children[parent, side] = leaf
                leaf -= 1
            else:
                children[parent, side] = node
                node += 1
        weights[parent] = weights[children[parent, 0]] + weights[children[parent, 1]]
    return children


class _Reader:
    """A position in the file's bytes; every read past the end is a ModelFormatError."""

    def __init__(self, data: np.ndarray, name: str) -> None:
        self.data, self.name, self.position = data, name, 0

    def error(self, problem: str) -> ModelFormatError:
        return ModelFormatError(f"{self.name}: not a usable fastText model: {problem} (at byte {self.position})")

    def unpack(self, layout: str) -> tuple:
        return struct.unpack("<" + layout, self.array(np.uint8, struct.calcsize("<" + layout)).tobytes())

    def part(self, *shape: int) -> np.ndarray:
        """A view of the next bytes of the file, of a shape."""
        size = math.prod(shape)
        if min(shape) < 0 or self.position + size > self.data.size:
            raise self.error(f"{size} bytes wanted for {shape}, {self.data.size - self.position} left; is it cut off?")
        self.position += size
        return self.data[self.position - size : self.position].reshape(shape)

    def array(self, dtype: type, *shape: int) -> np.ndarray:
        """A copy: aligned, writable and in no way tied to the file."""
        stored = self.part(*shape, np.dtype(dtype).itemsize)
        result: np.ndarray = np.empty(shape, dtype)
        result.reshape(-1).view(np.uint8)[:] = stored.reshape(-1)
        return result


def _check_finite(reader: _Reader, values: np.ndarray) -> None:
    with np.errstate(invalid="ignore"):  # NaN and infinity are what is looked for
        total = values.sum(dtype=np.float64)
    if not np.isfinite(total):
        raise reader.error("a matrix with values that are not finite")


def _read_centroids(reader: _Reader, columns: int) -> np.ndarray:
    dimension, runs, run, last_run = reader.unpack("4i")
    sound = dimension == columns == (runs - 1) * run + last_run
    if not (sound and runs > 0 and 0 < last_run <= run <= columns):
        raise reader.error(f"product quantizer of {runs} runs of {run} and {last_run} for {columns} columns")
    flat = reader.array(np.float32, dimension * CENTROIDS)
    centroids = np.zeros((runs, CENTROIDS, run), np.float32)
    whole = (runs - 1) * CENTROIDS * run
    centroids[:-1] = flat[:whole].reshape(runs - 1, CENTROIDS, run)
    centroids[-1, :, :last_run] = flat[whole:].reshape(CENTROIDS, last_run)
    return centroids


ROWS_AT_ONCE = 2**14
"""Rows of a matrix that are copied at a time, where all of them aren't."""


class _Matrix:
    """A stored matrix, dense or quantized, whose rows are decoded some at a time; all of it is checked."""

    def __init__(self, reader: _Reader, quantized: bool, dimension: int) -> None:
        norm_coded = bool(reader.unpack("?")[0]) if quantized else False
        self.rows, columns = reader.unpack("2q")
        if columns != dimension:
            raise reader.error(f"a matrix of {columns} columns in a model of dimension {dimension}")
        self._reader, self._columns = reader, columns
        self._codes: np.ndarray | None = None
        if not quantized:
            self._values = reader.part(self.rows, columns * 4)
            return
        (code_size,) = reader.unpack("i")
        flat_codes = reader.array(np.uint8, code_size)
        self._centroids = _read_centroids(reader, columns)
        if code_size != self.rows * len(self._centroids):
            raise reader.error(f"{code_size} codes for {self.rows} rows of {len(self._centroids)}")
        self._norms = np.ones(self.rows, np.float32)
        if norm_coded:
            norm_codes = reader.array(np.uint8, self.rows)
            self._norms = _read_centroids(reader, 1)[0, norm_codes, 0]
        _check_finite(reader, self._centroids)
        _check_finite(reader, self._norms)
        self._codes = flat_codes.reshape(self.rows, len(self._centroids))

    def decoded(self, start: int, stop: int) -> np.ndarray:
        """float32 (stop - start, columns): some of the rows.

        Raises:
          ModelFormatError: a value is not finite.
        """
        if self._codes is None:
            values = self._values[start:stop].copy().view(np.float32)
            _check_finite(self._reader, values)
            return values
        codes, norms = self._codes[start:stop], self._norms[start:stop]
        values = np.empty((len(codes), self._columns), np.float32)
        run = self._centroids.shape[2]
        for m in range(len(self._centroids)):
            columns_of_run = values[:, m * run : (m + 1) * run]  # the last run may be shorter than its centroids
            columns_of_run[:] = self._centroids[m, codes[:, m], : columns_of_run.shape[1]] * norms[:, None]
        return values

    def all(self) -> np.ndarray:
        """float32 (rows, columns)."""
        return self.decoded(0, self.rows)


@njit(cache=True)
def _multiplied(values: np.ndarray, output: np.ndarray, result: np.ndarray) -> None:
    """Products of rows with each label's output, summed column by column in float64: alike on every processor."""
    sums = np.empty(len(output), np.float64)
    for row in range(len(values)):
        sums[:] = 0
        for column in range(values.shape[1]):
            for label in range(len(output)):
                sums[label] += np.float64(values[row, column]) * np.float64(output[label, column])
        for label in range(len(output)):
            result[row, label] = sums[label]


ROWS_AT_ONCE = 2**14
"""Rows of a matrix that are decoded at a time."""


def _write_rows(rows: np.ndarray, matrix: _Matrix, output: np.ndarray | None) -> None:
    """Sets float32 (rows, width) to the matrix, or to its product with the labels' outputs."""
    for start in range(0, matrix.rows, ROWS_AT_ONCE):
        values = matrix.decoded(start, min(start + ROWS_AT_ONCE, matrix.rows))
        some = np.asarray(rows[start : start + len(values)])
        if output is None:
            some[:, : values.shape[1]] = values
        else:
            _multiplied(values, output, some)


def _rows(matrix: _Matrix, width: int, output: np.ndarray | None, file: Path | None) -> np.ndarray:
    """float32 (rows, width), the columns past the last one zero.

    Args:
      output: as of ``_write_rows``.
      file: where they are kept for all processes of the machine. It is made by the process that finds none. Its pages
        are shared as long as nobody writes to them.
    """
    if file is None or not matrix.rows:
        rows = np.zeros((matrix.rows, width), np.float32)
        _write_rows(rows, matrix, output)
        return rows
    shape = (matrix.rows, width)
    if not file.exists() or file.stat().st_size != matrix.rows * width * 4:
        made = file.with_name(f"{file.name}.{os.getpid()}")
        whole = np.memmap(made, np.float32, "w+", shape=shape)
        _write_rows(whole, matrix, output)
        whole.flush()
        del whole
        made.replace(file)
    return np.asarray(np.memmap(file, np.float32, "c", shape=shape))


class _Header(NamedTuple):
    dimension: int
    word_ngrams: int
    loss: int
    buckets: int
    minimum_ngram: int
    maximum_ngram: int
    words: int
    labels: list[str]
    spellings: np.ndarray
    spelling_ends: np.ndarray
    counts: np.ndarray
    types: np.ndarray
    kept: np.ndarray | None  # int32 (n, 2) bucket and row - V


def _read_header(reader: _Reader) -> _Header:
    if reader.data.size < 8 or reader.unpack("i")[0] != MAGIC:
        raise reader.error("wrong magic number")
    (version,) = reader.unpack("i")
    if version not in VERSIONS:
        raise UnsupportedModelError(f"{reader.name}: fastText model of version {version}, known are {VERSIONS}")
    dimension, _, _, _, _, word_ngrams, loss, kind, buckets, minimum, maximum, _, _ = reader.unpack("12id")
    if kind != SUPERVISED:
        raise reader.error("a model of word vectors, not one for classification")
    if loss not in (HIERARCHICAL_SOFTMAX, NEGATIVE_SAMPLING, SOFTMAX, ONE_VS_ALL):
        raise UnsupportedModelError(f"{reader.name}: fastText model with unknown loss {loss}")
    if version == 11:
        maximum = 0  # old models for classification know no character n-grams, whatever their arguments say
    if dimension < 1 or ((maximum > 0 or word_ngrams > 1) and buckets < 1):
        raise reader.error(f"dimension {dimension} and {buckets} buckets for n-grams")
    entries, words, labels, _, kept_size = reader.unpack("3i2q")
    if words < 0 or labels < 1 or words + labels != entries:
        raise reader.error(f"a dictionary of {entries} entries with {words} words and {labels} labels")
    if entries * 10 > reader.data.size:
        raise reader.error(f"a dictionary of {entries} entries; is it cut off?")
    position, spellings, ends, counts, types = _read_entries(np.asarray(reader.data), reader.position, entries)
    if position < 0:
        raise reader.error("it ends within the dictionary")
    reader.position = position
    names = [spellings[ends[i] : ends[i + 1]].tobytes().removeprefix(LABEL_PREFIX) for i in range(words, entries)]
    return _Header(
        dimension=dimension,
        word_ngrams=word_ngrams,
        loss=loss,
        buckets=buckets,
        minimum_ngram=minimum,
        maximum_ngram=max(maximum, 0),
        words=words,
        labels=[name.decode("utf-8", "replace") for name in names],
        spellings=spellings,
        spelling_ends=ends,
        counts=counts,
        types=types,
        kept=reader.array(np.int32, kept_size, 2) if kept_size >= 0 else None,
    )


def read_labels(data: np.ndarray, name: str) -> list[str]:
    """The labels of a model, without ``__label__``, from its first parts only; errors as ``read_model``."""
    return _read_header(_Reader(data, name)).labels


def read_model(data: np.ndarray, name: str, rows_file: Path | None = None) -> Model:
    """Parses a model file.

    Args:
      data: the file as uint8; nothing of it is kept.
      name: what to call it in errors.
      rows_file: where the input's rows are kept for all processes of the machine, unless they are quantized. It is
        made if it isn't there, and must be of this model.

    Raises:
      ModelFormatError: not a fastText model for classification, damaged, or cut off.
      UnsupportedModelError: a version, loss or layout not known here.
    """
    reader = _Reader(data, name)
    header = _read_header(reader)
    quantized = bool(reader.unpack("?")[0])
    if header.kept is not None and not quantized:
        raise reader.error("pruned, but not quantized")
    matrix = _Matrix(reader, quantized, header.dimension)
    output_quantized = bool(reader.unpack("?")[0]) and quantized
    output = _Matrix(reader, output_quantized, header.dimension).all()
    if reader.position != data.size:
        raise UnsupportedModelError(
            f"{name}: {data.size - reader.position} bytes after the fastText model's known parts"
        )
    if len(output) != len(header.labels):
        raise reader.error(f"{len(output)} output rows for {len(header.labels)} labels")
    kept = np.empty((0, 2), np.int32) if header.kept is None else header.kept
    _check_rows(reader, header, kept, matrix.rows)
    width = -(-header.dimension // LANES) * LANES
    width_of_labels = -(-len(output) // LANES) * LANES
    if width_of_labels < width:
        width, rows = width_of_labels, _rows(matrix, width_of_labels, output, rows_file)
        output = np.eye(len(output), width, dtype=np.float32)
    else:
        rows = _rows(matrix, width, None, rows_file)
        output = np.pad(output, ((0, 0), (0, width - header.dimension)))

    entry_slots = empty_slots(len(header.types))
    end_of_line = np.frombuffer(END_OF_LINE, np.uint8).copy()
    end_row = index_entries(header.spellings, header.spelling_ends, entry_slots, end_of_line)
    kept_bits, kept_before, kept_rows = index_ngrams(kept, 0 if header.kept is None else header.buckets)
    label_counts = header.counts[header.words :] if header.loss == HIERARCHICAL_SOFTMAX else np.zeros(1, np.int64)
    if label_counts.min() < 0 or sum(label_counts.tolist()) >= UNBUILT_WEIGHT:
        raise reader.error("label counts that make no Huffman tree")
    arrays = ModelArrays(
        width=width,
        minimum_ngram=header.minimum_ngram,
        maximum_ngram=header.maximum_ngram,
        word_ngrams=header.word_ngrams,
        buckets=max(header.buckets, 1),
        loss=header.loss,
        words=header.words,
        end_of_line=end_row,
        pruned=header.kept is not None,
        spellings=header.spellings,
        spelling_ends=header.spelling_ends,
        entry_slots=entry_slots,
        kept_bits=kept_bits,
        kept_before=kept_before,
        kept_rows=kept_rows,
        rows=rows.reshape(-1),
        output=np.ascontiguousarray(output.T),
        children=_huffman_children(label_counts),
    )
    return Model(arrays, header.labels)


def _check_rows(reader: _Reader, header: _Header, kept: np.ndarray, rows: int) -> None:
    """Every row that a word or an n-gram can ask for must be there: the kernels don't check."""
    if header.kept is None:
        uses_ngrams = header.maximum_ngram > 0 or header.word_ngrams > 1
        needed = header.words + (header.buckets if uses_ngrams else 0)
    else:
        if len(kept) and (kept.min() < 0 or kept[:, 0].max() >= header.buckets):
            raise reader.error("an index of pruned n-grams that points outside the buckets")
        if len(np.unique(kept[:, 0])) != len(kept):
            raise reader.error("an index of pruned n-grams that names a bucket twice")
        needed = header.words + (int(kept[:, 1].max()) + 1 if len(kept) else 0)
    if rows < needed:
        raise reader.error(f"{rows} input rows where {needed} are needed")
    if (header.types[: header.words] != WORD).any() or (header.types[header.words :] != LABEL).any():
        raise reader.error("a dictionary in which words and labels are mixed")
