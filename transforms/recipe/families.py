"""The published families of quality rules: conditions on stored statistics, each with a reason of its own.

``docs/rules.md`` has every rule with its formula, default and source. A threshold of None takes its rule away. A family
reads attributes only, so that it can be decided again without text; the annotators that it ``needs`` are put in front
of it when the recipe is read (``transforms.recipe.spec``).
"""

from __future__ import annotations

import ast
import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from transforms.recipe.built_in import Rule, first_reason
from transforms.recipe.c4 import C4Options

NGRAMS_TOP = {2: 0.20, 3: 0.18, 4: 0.16}
NGRAMS_DUPLICATE = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
ENGLISH = ("en", "eng", "eng_Latn")

Condition = tuple[str, str, Any]
"""A reason, what must hold of the documents that stay, with ``{}`` for the threshold, and the threshold."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Family:
    """A filter made of rules on statistics; of the rules that a document breaks the first gives the reason.

    Attributes:
      columns_as: where statistics are stored under other names than their own: own name to stored name.
    """

    columns_as: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def needs(self) -> tuple[tuple[str, dict[str, Any]], ...]:
        """The annotators whose columns the rules read: name and arguments of each."""
        raise NotImplementedError

    def conditions(self) -> Iterator[Condition]:
        """The rules, in order."""
        raise NotImplementedError

    @functools.cached_property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that have a threshold."""
        return tuple(
            Rule(_renamed(keep.format(threshold), self.columns_as), reason)
            for reason, keep, threshold in self.conditions()
            if threshold is not None
        )

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reason of each rule."""
        return tuple(rule.reason for rule in self.rules)

    @functools.cached_property
    def reads(self) -> tuple[str, ...]:
        """The columns that the rules read: attributes, not the text."""
        return tuple(sorted({name for rule in self.rules for name in rule.reads if not name.startswith("limit.")}))

    def added_columns(self, documents: pa.RecordBatch) -> dict[str, pa.Array]:
        """Columns beside the documents' own that the rules read: ``limit.NAME``."""
        return {}

    def __call__(self, documents: pa.RecordBatch) -> pa.Array:
        """The reason why a document goes, null if it stays."""
        columns = {name: documents[name] for name in self.reads} | self.added_columns(documents)
        read = pa.RecordBatch.from_pydict(columns)
        return first_reason([(pc.invert(rule(read)), rule.reason) for rule in self.rules], len(documents))


@dataclasses.dataclass(frozen=True, kw_only=True)
class GopherQuality(Family):
    """Gopher's rules on words, symbols and lines (Rae et al. 2021, table A1).

    Attributes:
      min_words, max_words: words.
      min_mean_word_length, max_mean_word_length: characters a word.
      max_hashes, max_ellipses: of ``#``, and of ``...`` and ``…``, a token.
      max_bullet_lines, max_ellipsis_lines: the share of lines that begin with a bullet, or end in an ellipsis.
      min_letter_words: the share of tokens with a letter.
      min_stop_words: how many of the eight English stop words must occur; asked of English only.
    """

    min_words: int | None = 50
    max_words: int | None = 100_000
    min_mean_word_length: float | None = 3
    max_mean_word_length: float | None = 10
    max_hashes: float | None = 0.1
    max_ellipses: float | None = 0.1
    max_bullet_lines: float | None = 0.9
    max_ellipsis_lines: float | None = 0.3
    min_letter_words: float | None = 0.8
    min_stop_words: int | None = 2

    def needs(self) -> tuple[tuple[str, dict[str, Any]], ...]:
        """The annotators whose columns the rules read."""
        return (("text_statistics", {}),)

    def conditions(self) -> Iterator[Condition]:
        """The rules, in datatrove's order."""
        yield "gopher_few_words", "words >= {}", self.min_words
        yield "gopher_many_words", "words <= {}", self.max_words
        yield "gopher_short_words", f"{MEAN_LENGTH} >= {{}}", self.min_mean_word_length
        yield "gopher_long_words", f"{MEAN_LENGTH} <= {{}}", self.max_mean_word_length
        yield from symbol_conditions(
            "gopher", self.max_hashes, self.max_ellipses, self.max_bullet_lines, self.max_ellipsis_lines
        )
        yield "gopher_few_letters", f"letter_words / {TOKENS} >= {{}}", self.min_letter_words
        stop_words = f"stop_words >= {{}} or language not in {list(ENGLISH)}"
        yield "gopher_few_stop_words", stop_words, self.min_stop_words or None


@dataclasses.dataclass(frozen=True, kw_only=True)
class GopherRepetition(Family):
    """Gopher's rules on repetition (Rae et al. 2021, table A1); shares of the text's characters but for the first two.

    Attributes:
      max_duplicate_paragraphs, max_duplicate_lines: the share of paragraphs and lines that have occurred before.
      max_duplicate_paragraph_characters, max_duplicate_line_characters: characters in them.
      max_top_ngrams: by n, characters in the commonest n-gram.
      max_duplicate_ngrams: by n, characters in n-grams that have occurred before.
    """

    max_duplicate_paragraphs: float | None = 0.30
    max_duplicate_paragraph_characters: float | None = 0.20
    max_duplicate_lines: float | None = 0.30
    max_duplicate_line_characters: float | None = 0.20
    max_top_ngrams: Mapping[int, float] | None = dataclasses.field(default_factory=lambda: dict(NGRAMS_TOP))
    max_duplicate_ngrams: Mapping[int, float] | None = dataclasses.field(default_factory=lambda: dict(NGRAMS_DUPLICATE))

    def needs(self) -> tuple[tuple[str, dict[str, Any]], ...]:
        """The annotators whose columns the rules read."""
        return (("text_statistics", {"repetition": True}),)

    def conditions(self) -> Iterator[Condition]:
        """The rules, in datatrove's order."""
        share, of_paragraphs = "duplicate_paragraphs / max(paragraphs, 1)", f"duplicate_paragraph_characters / {TEXT}"
        yield "gopher_duplicate_paragraphs", f"{share} <= {{}}", self.max_duplicate_paragraphs
        yield (
            "gopher_duplicate_paragraph_characters",
            f"{of_paragraphs} <= {{}}",
            self.max_duplicate_paragraph_characters,
        )
        yield "gopher_duplicate_lines", f"{DUPLICATE_LINES} <= {{}}", self.max_duplicate_lines
        of_lines = f"duplicate_line_characters / {TEXT} <= {{}}"
        yield "gopher_duplicate_line_characters", of_lines, self.max_duplicate_line_characters
        yield from ngram_conditions("gopher", self.max_top_ngrams or {}, self.max_duplicate_ngrams or {})


@dataclasses.dataclass(frozen=True, kw_only=True)
class FineWeb(Family):
    """FineWeb's own rules (Penedo et al. 2024), on the lines that aren't only white space.

    Attributes:
      min_ended_lines: the share of lines that end in punctuation.
      max_short_lines: the share of lines of at most 30 characters.
      max_duplicate_characters: characters of lines that have occurred before, of all but line ends.
      max_newlines: line ends a token.
    """

    min_ended_lines: float | None = 0.12
    max_short_lines: float | None = 0.67
    max_duplicate_characters: float | None = 0.01
    max_newlines: float | None = 0.3

    def needs(self) -> tuple[tuple[str, dict[str, Any]], ...]:
        """The annotators whose columns the rules read."""
        return (("text_statistics", {}),)

    def conditions(self) -> Iterator[Condition]:
        """The rules, in datatrove's order."""
        yield "fineweb_few_ended_lines", f"{ENDED_LINES} >= {{}}", self.min_ended_lines
        yield "fineweb_short_lines", "short_lines / max(filled_lines, 1) <= {}", self.max_short_lines
        yield "fineweb_duplicate_characters", f"{DUPLICATE_CHARACTERS} <= {{}}", self.max_duplicate_characters
        yield "fineweb_newlines", f"newlines / {TOKENS} <= {{}}", self.max_newlines


@dataclasses.dataclass(frozen=True, kw_only=True)
class C4(C4Options, Family):
    """C4's rules on documents (Raffel et al. 2019), judged by the lines that ``c4_lines`` with these options leaves.

    Attributes:
      min_sentences: sentences in these lines.
      lorem_ipsum: whether documents with the words "lorem ipsum" go.
      curly_bracket: whether documents with ``{`` go.
    """

    min_sentences: int | None = 5
    lorem_ipsum: bool = True
    curly_bracket: bool = True

    def needs(self) -> tuple[tuple[str, dict[str, Any]], ...]:
        """The annotators whose columns the rules read."""
        options = {field.name: getattr(self, field.name) for field in dataclasses.fields(C4Options)}
        defaults = dataclasses.asdict(C4Options())
        return (("c4_statistics", {name: value for name, value in options.items() if value != defaults[name]}),)

    def conditions(self) -> Iterator[Condition]:
        """The rules, in datatrove's order."""
        yield "c4_lorem_ipsum", "not c4_lorem_ipsum", True if self.lorem_ipsum else None
        yield "c4_curly_bracket", "not c4_curly_bracket", True if self.curly_bracket else None
        yield "c4_few_sentences", "c4_sentences >= {}", self.min_sentences


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dclm(Family):
    """The rule on documents that DCLM adds to Gopher's (Li et al. 2024): not too much goes with ``dclm_lines``.

    Attributes:
      max_removed_words: the share of words that the editor ``dclm_lines`` removes.
    """

    max_removed_words: float | None = 0.05

    def needs(self) -> tuple[tuple[str, dict[str, Any]], ...]:
        """The annotators whose columns the rules read."""
        return (("text_statistics", {}), ("dclm_statistics", {}))

    def conditions(self) -> Iterator[Condition]:
        """The rule."""
        yield "dclm_removed_words", "dclm_removed_words / max(words, 1) <= {}", self.max_removed_words


TEXT = "max(characters, 1)"
TOKENS = "max(words + symbols, 1)"
MEAN_LENGTH = "word_characters / max(words, 1)"
ENDED_LINES = "terminal_lines / max(filled_lines, 1)"
DUPLICATE_LINES = "duplicate_lines / max(separate_lines, 1)"
DUPLICATE_CHARACTERS = "duplicate_filled_characters / max(characters - newlines, 1)"


def symbol_conditions(
    family: str, hashes: float | None, ellipses: float | None, bullet_lines: float | None, ellipsis_lines: float | None
) -> Iterator[Condition]:
    """Gopher's rules on symbols."""
    yield f"{family}_hashes", f"hashes / {TOKENS} <= {{}}", hashes
    yield f"{family}_ellipses", f"ellipses / {TOKENS} <= {{}}", ellipses
    yield f"{family}_bullet_lines", "bullet_lines / max(lines, 1) <= {}", bullet_lines
    yield f"{family}_ellipsis_lines", "ellipsis_lines / max(lines, 1) <= {}", ellipsis_lines


def ngram_conditions(family: str, top: Mapping[int, Any], duplicate: Mapping[int, Any]) -> Iterator[Condition]:
    """Gopher's rules on n-grams."""
    for kind, ngrams, known in (("top", top, NGRAMS_TOP), ("duplicate", duplicate, NGRAMS_DUPLICATE)):
        for n, threshold in sorted(ngrams.items(), key=lambda item: int(item[0])):
            if int(n) not in known:
                raise ValueError(f"max_{kind}_ngrams: {n} isn't one of {', '.join(map(str, known))}")
            yield f"{family}_{kind}_{n}gram", f"{kind}_{n}gram_characters / {TEXT} <= {{}}", threshold


class _Renaming(ast.NodeTransformer):
    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        """The column as it is stored."""
        return ast.parse(self._names.get(node.id, node.id), mode="eval").body


def _renamed(expression: str, names: Mapping[str, str]) -> str:
    if not names:
        return expression
    return ast.unparse(_Renaming(names).visit(ast.parse(expression, mode="eval")))
