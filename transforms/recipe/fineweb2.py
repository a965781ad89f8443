"""FineWeb2's rules: Gopher's and FineWeb's with thresholds and stop words of each language (Penedo et al. 2025)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from transforms.io import storage
from transforms.io.yaml_file import read_yaml
from transforms.kernels.deduplication.fingerprinting import offsets_and_data
from transforms.kernels.language.identification import iso_639_3
from transforms.kernels.statistics.stop_words import StopWords
from transforms.recipe.families import (
    DUPLICATE_CHARACTERS,
    DUPLICATE_LINES,
    ENDED_LINES,
    MEAN_LENGTH,
    NGRAMS_DUPLICATE,
    NGRAMS_TOP,
    TEXT,
    TOKENS,
    Condition,
    Family,
    symbol_conditions,
)

Thresholds = Mapping[str, Mapping[str, Any]]
"""By language, what a file of FineWeb2's ``configs/`` has."""

MACROLANGUAGES = {
    "ara": "arb", "aze": "azj", "est": "ekk", "lav": "lvs", "mlg": "plt", "mon": "khk", "msa": "zsm", "nep": "npi",
    "nor": "nob", "ori": "ory", "sqi": "als", "swa": "swh", "uzb": "uzn", "zho": "cmn",
}  # fmt: skip
"""The language that FineWeb2 names where a model names a macrolanguage (ISO 639-3)."""

UNSPACED_SCRIPTS = ("Hani", "Hans", "Hant", "Jpan", "Khmr", "Laoo", "Mymr", "Thai", "Tibt")

_LIMITS = {
    "language_score": "language_score",
    "dup_line_frac": "duplicate_lines",
    "line_punct_thr": "ended_lines",
    "new_line_ratio": "newlines",
    "min_avg_word_length": "min_mean_word_length",
    "max_avg_word_length": "max_mean_word_length",
    "max_non_alpha_words_ratio": "letter_words",
}
_LISTS = {"top_n_grams": NGRAMS_TOP, "dup_n_grams": NGRAMS_DUPLICATE}


@functools.cache
def published() -> Thresholds:
    """FineWeb2's own thresholds for 31 languages."""
    text = resources.files("transforms.recipe").joinpath("published", "fineweb2.yaml").read_text(encoding="utf-8")
    return checked(yaml.safe_load(text), "fineweb2.yaml")


def read_thresholds(given: Any) -> Thresholds | None:
    """Thresholds as a recipe names them: None (built in), a YAML file by its place, or the mapping itself.

    Raises:
      ValueError: they can't be read, or aren't thresholds.
    """
    if given is None or isinstance(given, Mapping):
        return checked(given, "thresholds") if given is not None else None
    try:
        found = read_yaml(str(given))
    except (yaml.YAMLError, storage.StorageError) as error:
        raise ValueError(f"thresholds: {given}: {error}") from error
    return checked(found, str(given))


def checked(given: Any, name: str) -> Thresholds:
    """The thresholds of each language, if they are.

    Raises:
      ValueError: the message names the file, the language and the key.
    """
    if not isinstance(given, Mapping) or not all(isinstance(value, Mapping) for value in given.values()):
        raise ValueError(f"{name}: expected a mapping from languages (deu_Latn) to thresholds")
    known = {*_LIMITS, *_LISTS, "stopwords"}
    for language, values in given.items():
        strange = sorted({*values} - known)
        if strange:
            raise ValueError(f"{name}: {language}: there is no threshold {strange[0]!r}; there are {sorted(known)}")
        for key in _LIMITS:
            if not isinstance(values.get(key, 0), int | float):
                raise ValueError(f"{name}: {language}: {key} must be a number, not {values[key]!r}")
        for key, ngrams in _LISTS.items():
            if not all(
                isinstance(pair, list | tuple) and len(pair) == 2 and pair[0] in ngrams for pair in values.get(key, [])
            ):
                raise ValueError(f"{name}: {language}: {key} must be pairs of n and share, n of {sorted(ngrams)}")
        if not all(isinstance(word, str) for word in values.get("stopwords", [])):
            raise ValueError(f"{name}: {language}: stopwords must be strings; quote 'no', 'on' and 'y' in YAML")
    return given


@functools.lru_cache(maxsize=4096)
def language_of(label: str, known: frozenset[str]) -> str | None:
    """The language of thresholds that a model's label means; None if there is none."""
    if label in known:
        return label
    code, _, script = label.partition("_")
    wanted = iso_639_3(code)
    wanted = MACROLANGUAGES.get(wanted, wanted)
    found = sorted(
        name for name in known if name.partition("_")[0] == wanted and script in ("", name.partition("_")[2])
    )
    return found[0] if found else None


def _places(documents: pa.RecordBatch, names: list[str]) -> np.ndarray:
    """The number of each document's language among ``names``, -1 if it isn't there (int64)."""
    language, known = documents["language"], frozenset(names)
    if not pa.types.is_dictionary(language.type):
        language = language.dictionary_encode()
    found = [language_of(label, known) if label else None for label in language.dictionary.to_pylist()]
    places = np.array([names.index(name) if name else -1 for name in found] or [-1], np.int64)
    indices = language.indices.fill_null(0).to_numpy(zero_copy_only=False)
    return np.where(language.is_valid().to_numpy(zero_copy_only=False), places[indices], -1)


def _with_thresholds(arguments: dict[str, Any]) -> dict[str, Any]:
    given = read_thresholds(arguments.get("thresholds"))
    return arguments if given is None else arguments | {"thresholds": given}


@dataclasses.dataclass(frozen=True, kw_only=True)
class LanguageStopWords:
    """Adds ``language_stop_words`` (uint8): how many of the stop words of its language occur; null without such words.

    Attributes:
      thresholds: a file or a mapping, of which ``stopwords`` are used; None: FineWeb2's.
    """

    thresholds: Any = None
    columns = {"language_stop_words": pa.uint8()}  # noqa: RUF012 - part of the contract of a step

    @classmethod
    def resolve(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """As ``FineWeb2.resolve``."""
        return _with_thresholds(arguments)

    @functools.cached_property
    def _words(self) -> StopWords:
        given = read_thresholds(self.thresholds) or published()
        return StopWords({name: values["stopwords"] for name, values in given.items() if values.get("stopwords")})

    def __call__(self, documents: pa.RecordBatch) -> Mapping[str, pa.Array]:
        """The count of each text."""
        places = _places(documents, list(self._words.places))
        offsets, data = offsets_and_data(documents["text"])
        return {"language_stop_words": pa.array(self._words.count(data, offsets, places), mask=places < 0)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class FineWeb2(Family):
    """FineWeb2's rules, in its order: repetition, FineWeb's, Gopher's.

    Of a document in a language without thresholds only the rules are asked whose thresholds are the same for all. In
    scripts without spaces a word is one character here (``transforms.kernels.statistics.words``), so that the length of
    words isn't asked.

    Attributes:
      thresholds: by language, a YAML file as ``thresholds`` writes it or FineWeb2's ``configs/`` are, under the name of
        each language (``deu_Latn``), or such a mapping; None: FineWeb2's own for 31 languages.
      language_score: whether to ask for the language's score, too; the published ones are for GlotLID's scores.
      max_duplicate_characters, min_words, max_words, max_hashes, max_ellipses, max_bullet_lines, max_ellipsis_lines,
        min_stop_words: the same for all languages.
    """

    thresholds: Any = None
    language_score: bool = False
    max_duplicate_characters: float | None = 0.1
    min_words: int | None = 50
    max_words: int | None = 100_000
    max_hashes: float | None = 0.1
    max_ellipses: float | None = 0.1
    max_bullet_lines: float | None = 0.9
    max_ellipsis_lines: float | None = 0.3
    min_stop_words: int | None = 2

    @classmethod
    def resolve(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments with the thresholds themselves where a file is named."""
        return _with_thresholds(arguments)

    @functools.cached_property
    def _by_language(self) -> Thresholds:
        return read_thresholds(self.thresholds) or published()

    def needs(self) -> tuple[tuple[str, dict[str, Any]], ...]:
        """The annotators whose columns the rules read."""
        own = {} if self.thresholds is None else {"thresholds": self.thresholds}
        return (("text_statistics", {"repetition": True}), ("language_stop_words", own))

    def conditions(self) -> Iterator[Condition]:
        """The rules; ``limit.NAME`` is the language's threshold, null if it has none."""
        if self.language_score:
            yield _limited("fineweb2_language_score", "language_score", ">=", "language_score")
        yield _limited("fineweb2_duplicate_lines", DUPLICATE_LINES, "<=", "duplicate_lines")
        for kind, ngrams in (("top", NGRAMS_TOP), ("duplicate", NGRAMS_DUPLICATE)):
            for n in ngrams:
                share = f"{kind}_{n}gram_characters / {TEXT}"
                yield _limited(f"fineweb2_{kind}_{n}gram", share, "<=", f"{kind}_{n}gram")
        yield _limited("fineweb2_few_ended_lines", ENDED_LINES, ">=", "ended_lines")
        yield "fineweb2_duplicate_characters", f"{DUPLICATE_CHARACTERS} <= {{}}", self.max_duplicate_characters
        yield _limited("fineweb2_newlines", f"newlines / {TOKENS}", "<=", "newlines")
        yield "fineweb2_few_words", "words >= {}", self.min_words
        yield "fineweb2_many_words", "words <= {}", self.max_words
        yield _limited("fineweb2_short_words", MEAN_LENGTH, ">=", "min_mean_word_length")
        yield _limited("fineweb2_long_words", MEAN_LENGTH, "<=", "max_mean_word_length")
        yield from symbol_conditions(
            "fineweb2", self.max_hashes, self.max_ellipses, self.max_bullet_lines, self.max_ellipsis_lines
        )
        yield _limited("fineweb2_few_letters", f"letter_words / {TOKENS}", ">=", "letter_words")
        few = "coalesce(language_stop_words, {0}) >= {0}"
        yield "fineweb2_few_stop_words", few, self.min_stop_words or None

    @functools.cached_property
    def reads(self) -> tuple[str, ...]:
        """The columns that the rules read, the language among them."""
        return tuple(sorted({*super().reads, "language"}))

    @functools.cached_property
    def _limits(self) -> dict[str, list[float | None]]:
        """For each threshold its value in each language, None where it has none."""
        found: dict[str, list[float | None]] = {}
        for language, values in self._by_language.items():
            own = {name: values.get(key) for key, name in _LIMITS.items()}
            if language.partition("_")[2] in UNSPACED_SCRIPTS:
                own |= {"min_mean_word_length": None, "max_mean_word_length": None}
            for key, kind, ngrams in (
                ("top_n_grams", "top", NGRAMS_TOP),
                ("dup_n_grams", "duplicate", NGRAMS_DUPLICATE),
            ):
                shares = dict(map(tuple, values.get(key, [])))
                own |= {f"{kind}_{n}gram": shares.get(n) for n in ngrams}
            for name, value in own.items():
                found.setdefault(name, []).append(value)
        return found

    def added_columns(self, documents: pa.RecordBatch) -> dict[str, pa.Array]:
        """The thresholds of each document's language."""
        places = _places(documents, list(self._by_language))
        taken = pa.array(places, mask=places < 0)
        return {f"limit.{name}": pa.array(values, pa.float64()).take(taken) for name, values in self._limits.items()}


def _limited(reason: str, share: str, comparison: str, limit: str) -> Condition:
    return reason, f"limit.{limit} is None or {share} {comparison} limit.{limit}", True
