"""The fold table: what each code point becomes when texts are compared, and how it adds to the hash of its word.

Folding is defined a code point at a time: compatibility decomposition (NFKD) and full case folding, applied until
nothing changes; then default-ignorable and format characters vanish. Decomposed forms on both sides make composed and
decomposed spellings agree without composition. A word is a maximal run of letters, marks and digits (general category
L*, M*, N*) of the folded text; in scripts written without spaces each character is a word, with the marks that follow
it. The order of the combining marks on one character does not count, which stands in for canonical ordering.

A word's hash is a polynomial over its folded code points modulo 2**64, so that every code point, whatever it folds to,
is one affine step ``hash * MULTIPLIER**exponent + addend``: a ligature or a Hangul syllable costs no more than a
letter. The coefficients are strongly mixed, and so must be the finished hash. Combining marks have exponent 0: they are
added, so they commute.

The Unicode version is that of Python's ``unicodedata``; the Unicode Standard, sections 3.11 (normalization), 3.13 (case
folding) and 5.21 (default-ignorable code points), says what the terms mean.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
import unicodedata

import numpy as np

CODE_POINTS = 0x110000
# No code point lies between these ranges; what is not in them is unassigned, a surrogate or for private use.
ASSIGNED = (range(0xD800), range(0xF900, 0x32400), range(0xE0000, 0xE1000))

# The low three bits of `FoldTable.codes` say what a code point does; the other five are its exponent.
SEPARATOR = 0
LETTER = 1  # a letter or digit, or a sequence that begins with one and has only such and marks
MARK = 2  # stays with whatever word is before it
UNSPACED = 3  # a word by itself, with the marks after it
IGNORABLE = 4
SEQUENCE = 5  # folds to several words; `addends` has where its code points are in `sequences`: start << 8 | length
KIND_BITS = 3
KIND_MASK = (1 << KIND_BITS) - 1

MASK64 = (1 << 64) - 1
MULTIPLIER = 0xD1342543DE82EF95  # odd, 1 modulo 4, from Steele and Vigna 2021, "Computationally easy" multipliers
_LETTER_SEED = 0x9E3779B97F4A7C15

# Scripts whose words are not set apart by spaces: Han, Hiragana, Katakana, Thai, Lao, Khmer, Myanmar, Tibetan.
UNSPACED_RANGES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x0FFF),  # Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x2FDF),  # radicals of Han
    (0x3005, 0x3007),  # iteration mark, closing mark, zero of Han
    (0x3021, 0x3029),  # Hangzhou numerals
    (0x3031, 0x3035),  # kana repeat marks
    (0x3038, 0x303C),  # Hangzhou numerals, iteration marks
    (0x3041, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),  # small Katakana
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),  # Han
    (0xA9E0, 0xA9FF),  # Myanmar
    (0xAA60, 0xAA7F),  # Myanmar
    (0xF900, 0xFAFF),  # Han, compatibility
    (0x16FE2, 0x16FE3),  # marks of old Chinese
    (0x16FF0, 0x16FF1),  # Vietnamese reading marks
    (0x1AFF0, 0x1B16F),  # Hiragana, Katakana
    (0x20000, 0x3FFFD),  # Han
)

# Default_Ignorable_Code_Point of Unicode 14, as far as it is not general category Cf.
_DEFAULT_IGNORABLE = (
    (0x034F, 0x034F),  # combining grapheme joiner
    (0x115F, 0x1160),  # Hangul fillers
    (0x17B4, 0x17B5),  # inherent vowels of Khmer
    (0x180B, 0x180F),  # Mongolian variation selectors
    (0x2060, 0x206F),
    (0x3164, 0x3164),  # Hangul filler
    (0xFE00, 0xFE0F),  # variation selectors
    (0xFFA0, 0xFFA0),  # Hangul filler
    (0xFFF0, 0xFFF8),
    (0xE0000, 0xE0FFF),  # tags, variation selectors
)


# The bounds of sorted ranges in one row: an odd number of them is at or below what lies in a range.
_UNSPACED_BOUNDS = [bound for first, last in UNSPACED_RANGES for bound in (first, last + 1)]
_IGNORABLE_BOUNDS = [bound for first, last in _DEFAULT_IGNORABLE for bound in (first, last + 1)]


@dataclasses.dataclass(frozen=True)
class FoldTable:
    """What every code point does to the hash of the word it is in; arrays not to be changed.

    Attributes:
      codes: uint8[0x110000], exponent << 3 | kind.
      addends: uint64[0x110000]; of a ``SEQUENCE``, where its code points are in `sequences`.
      powers: uint64[32], MULTIPLIER**i modulo 2**64.
      sequences: uint32, folded code points, none of which is itself a ``SEQUENCE``.
    """

    codes: np.ndarray
    addends: np.ndarray
    powers: np.ndarray
    sequences: np.ndarray


def mix64(x: int) -> int:
    """A permutation of 64-bit integers in which every bit of `x` changes every bit of the result: splitmix64's end.

    Variant 13 of Stafford 2011, "Better bit mixing".
    """
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK64
    return x ^ (x >> 31)


def letter_hash(code_point: int) -> int:
    """The 64-bit coefficient of a folded code point in its word's polynomial."""
    return mix64((code_point * _LETTER_SEED + MULTIPLIER) & MASK64)


def is_unspaced(character: str) -> bool:
    """Whether a folded character is of a script in which each character counts as a word."""
    return bisect.bisect_right(_UNSPACED_BOUNDS, ord(character)) % 2 == 1


def is_ignorable(character: str) -> bool:
    """Whether a character is a format character (Cf) or default-ignorable, and so vanishes."""
    return bisect.bisect_right(_IGNORABLE_BOUNDS, ord(character)) % 2 == 1 or unicodedata.category(character) == "Cf"


def is_word_character(character: str) -> bool:
    """Whether a folded character is a letter, a mark or a digit; all others separate words."""
    return unicodedata.category(character)[0] in "LMN"


def fold_character(character: str, fold_digits: bool = False, fold_accents: bool = False) -> str:
    """What one character becomes; empty if it vanishes.

    Args:
      character: one code point.
      fold_digits: every decimal digit (Nd) of any script becomes ``0``.
      fold_accents: marks (M*) are dropped, once decomposed. In Indic scripts these are also the dependent vowels.
    """
    folded, before = unicodedata.normalize("NFKD", character), ""
    while folded != before:
        folded, before = unicodedata.normalize("NFKD", folded.casefold()), folded
    kept = []
    for c in folded:
        category = unicodedata.category(c)
        if is_ignorable(c) or (fold_accents and category[0] == "M"):
            continue
        kept.append("0" if fold_digits and category == "Nd" else c)
    return "".join(kept)


def _affine(folded: str) -> tuple[int, int]:
    """Exponent and addend of a sequence of code points without separators."""
    exponent, addend = 0, 0
    for c in folded:
        if unicodedata.combining(c):
            addend = (addend + letter_hash(ord(c))) & MASK64
        else:
            exponent, addend = exponent + 1, (addend * MULTIPLIER + letter_hash(ord(c))) & MASK64
    return exponent, addend


def _kind(folded: str) -> int:
    """What a folded sequence does, as one of the kinds above."""
    if not folded:
        return IGNORABLE
    if not any(is_word_character(c) for c in folded):
        return SEPARATOR
    if not all(is_word_character(c) for c in folded):
        return SEQUENCE
    marks = [unicodedata.category(c)[0] == "M" for c in folded]
    if all(marks):
        return MARK
    first_is_mark, *others_are_marks = marks
    if is_unspaced(folded[0]) and not first_is_mark and all(others_are_marks):
        return UNSPACED
    if first_is_mark or any(is_unspaced(c) and not mark for c, mark in zip(folded, marks, strict=True)):
        return SEQUENCE
    return LETTER


def _is_its_own_fold(letter: str) -> bool:
    """Whether a letter without case (Lo) surely folds to itself whatever the options; syllables of Hangul don't."""
    plain = not unicodedata.decomposition(letter) and not "\uac00" <= letter <= "\ud7a3"
    return plain and letter.casefold() == letter and not is_ignorable(letter)


def _letter_hashes(code_points: np.ndarray) -> np.ndarray:
    """`letter_hash` of each."""
    x = code_points.astype(np.uint64) * np.uint64(_LETTER_SEED) + np.uint64(MULTIPLIER)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@functools.lru_cache(maxsize=4)
def fold_table(fold_digits: bool = False, fold_accents: bool = False) -> FoldTable:
    """The table for one setting of the options of `fold_character`.

    Built once a process in about 0.2 s; 10 MB of address space, of which only the pages in use take memory.
    """
    codes = np.zeros(CODE_POINTS, np.uint8)
    addends = np.zeros(CODE_POINTS, np.uint64)
    sequences: list[int] = []
    itself: list[int] = []
    for code_point in (c for assigned in ASSIGNED for c in assigned):
        character = chr(code_point)
        category = unicodedata.category(character)
        if category == "Lo" and _is_its_own_fold(character):
            itself.append(code_point)
            continue
        if category in ("Cc", "Cn", "Co", "Cs") and not is_ignorable(character):
            continue
        folded = fold_character(character, fold_digits, fold_accents)
        kind = _kind(folded)
        if kind == SEPARATOR:
            continue
        if kind == SEQUENCE:
            exponent, addend = 0, len(sequences) << 8 | len(folded)
            sequences.extend(map(ord, folded))
        else:
            exponent, addend = _affine(folded)
        codes[code_point] = exponent << KIND_BITS | kind
        addends[code_point] = addend
    # Ideographs above all, three quarters of what is assigned: in one go what `_kind` and `_affine` say of each.
    letters = np.array(itself)
    unspaced = np.searchsorted(_UNSPACED_BOUNDS, letters, side="right") % 2 == 1
    codes[letters] = 1 << KIND_BITS | np.where(unspaced, UNSPACED, LETTER)
    addends[letters] = _letter_hashes(letters)
    powers = np.array([pow(MULTIPLIER, i, 1 << 64) for i in range(1 << (8 - KIND_BITS))], np.uint64)
    table = FoldTable(codes, addends, powers, np.array(sequences, np.uint32))
    for array in (table.codes, table.addends, table.powers, table.sequences):
        array.flags.writeable = False
    return table
