"""The compiled loops of `transforms.kernels.fingerprinting`: from bytes of UTF-8 to hashes of words, shingles and bins.

A word's hash is a polynomial over its folded code points, which is mixed; a shingle's hash is a polynomial over its
words' hashes, mixed again.

The sketch is that of Dahlgaard, Knudsen and Thorup, "Fast Similarity Sketching", FOCS 2017. Each of t bins is to have
the smallest (round, value) it ever got. In round i < t every shingle is thrown into one bin, both bin and value drawn
from its hash and i; in round t + j every shingle is thrown into bin j. Rounds go on until no bin is empty. Short
documents get the accuracy of t independent permutations, long ones are done after one round: O(shingles + t log t).

What each loop must return is written out in Python in `transforms.kernels.fingerprinting`, as ``..._reference``.
"""

from __future__ import annotations

import numba
import numpy as np

from transforms.kernels import folding
from transforms.kernels.folding import MASK64, MULTIPLIER

VALUE_BITS = 48
ROUND_STEP = 0x9E3779B97F4A7C15  # odd, so rounds never meet; splitmix64's
# Bit 4 * (what began the word) + (what comes now) is set if the word ends before what comes now.
_ENDS_WORD = sum(
    1 << (4 * begun_by + kind)
    for begun_by, kind in (
        (folding.LETTER, folding.SEPARATOR),
        (folding.LETTER, folding.UNSPACED),
        (folding.UNSPACED, folding.SEPARATOR),
        (folding.UNSPACED, folding.LETTER),
        (folding.UNSPACED, folding.UNSPACED),
    )
)
_EMPTY = np.uint64(MASK64)
# Past this many throws for each bin, bins are open because shingles repeat: t bins take t ln t throws, 6 t at t = 400.
_THROWS_BEFORE_DEDUPLICATION = 16
_THROWN_AT_ONCE = 256


@numba.njit(cache=True, nogil=True)
def mix64(x: np.uint64) -> np.uint64:
    """`transforms.kernels.folding.mix64`, compiled."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@numba.njit(cache=True, nogil=True)
def _low_six(data: np.ndarray, position: np.uint64) -> np.uint64:
    return np.uint64(data[position]) & np.uint64(0x3F)


@numba.njit(cache=True, nogil=True)
def fingerprint_texts(
    data: np.ndarray,
    offsets: np.ndarray,
    valid: np.ndarray,
    codes: np.ndarray,
    addends: np.ndarray,
    powers: np.ndarray,
    sequences: np.ndarray,
    shingle_size: int,
    bands: int,
    rows: int,
    signature_size: int,
    max_characters: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signatures uint8[n, signature_size], band hashes uint64[n, bands] and whether there are any, bool[n]."""
    n = len(offsets) - 1
    signatures = np.zeros((n, signature_size), np.uint8)
    band_hashes = np.zeros((n, bands), np.uint64)
    shingled = np.zeros(n, np.bool_)
    longest = 0
    for i in range(n):
        longest = max(longest, offsets[i + 1] - offsets[i])
    # No code point makes more than two words a byte, nor has more than four bytes.
    words = np.empty(2 * min(longest, 4 * max_characters) + 1, np.uint64)
    sketch = np.empty(bands * rows + signature_size, np.uint64)
    for i in range(n):
        if not valid[i]:
            continue
        n_words = hash_words(data, offsets[i], offsets[i + 1], codes, addends, powers, sequences, max_characters, words)
        n_shingles = n_words - shingle_size + 1
        if n_shingles < 1:
            continue
        hash_shingles(words, n_shingles, shingle_size)
        fill_sketch(words, n_shingles, sketch)
        shingled[i] = True
        for band in range(bands):
            band_hash = mix64(np.uint64(band))
            for j in range(band * rows, (band + 1) * rows):
                band_hash = mix64(band_hash * np.uint64(MULTIPLIER) + sketch[j])
            band_hashes[i, band] = band_hash
        for j in range(signature_size):
            signatures[i, j] = sketch[bands * rows + j] & np.uint64(0xFF)
    return signatures, band_hashes, shingled


@numba.njit(cache=True, nogil=True)
def shingle_text(
    data: np.ndarray,
    begin: int,
    end: int,
    codes: np.ndarray,
    addends: np.ndarray,
    powers: np.ndarray,
    sequences: np.ndarray,
    shingle_size: int,
    max_characters: int,
) -> np.ndarray:
    """Hashes of the shingles of one text, uint64, in order and with repetitions."""
    words = np.empty(2 * min(end - begin, 4 * max_characters) + 1, np.uint64)
    n_words = hash_words(data, begin, end, codes, addends, powers, sequences, max_characters, words)
    n_shingles = max(0, n_words - shingle_size + 1)
    if n_shingles > 0:
        hash_shingles(words, n_shingles, shingle_size)
    return words[:n_shingles].copy()


@numba.njit(cache=True, nogil=True)
def hash_words(
    data: np.ndarray,
    begin: int,
    end: int,
    codes: np.ndarray,
    addends: np.ndarray,
    powers: np.ndarray,
    sequences: np.ndarray,
    max_characters: int,
    words: np.ndarray,
) -> int:
    """Writes the unmixed hash of each word of a text to `words` and returns their number.

    Word ends are unpredictable branches, so the loop has none: every character's hash is written, and kept if the word
    ends there, at three times the speed. All integers are unsigned: numba then needs no check for negative indices. A
    UTF-8 sequence that the text's end cuts off is left out, so that invalid text reads nothing beyond its end.
    """
    position = np.uint64(begin)
    stop = np.uint64(end)
    characters = 0
    pending = np.uint64(0)  # the part of `sequences` that is still to be read before the text goes on
    pending_stop = np.uint64(0)
    n_words = np.uint64(0)
    word = np.uint64(0)
    begun_by = np.uint64(folding.SEPARATOR)  # the kind of character that began the word; SEPARATOR: there is no word
    while True:
        if pending < pending_stop:
            code_point = np.uint64(sequences[pending])
            pending += np.uint64(1)
        elif position < stop and characters < max_characters:
            characters += 1
            lead = np.uint64(data[position])
            if lead < np.uint64(0x80):
                code_point = lead
                position += np.uint64(1)
            elif lead < np.uint64(0xE0):
                if position + np.uint64(2) > stop:
                    break
                code_point = (lead & np.uint64(0x1F)) << np.uint64(6) | _low_six(data, position + np.uint64(1))
                position += np.uint64(2)
            elif lead < np.uint64(0xF0):
                if position + np.uint64(3) > stop:
                    break
                code_point = (
                    (lead & np.uint64(0x0F)) << np.uint64(12)
                    | _low_six(data, position + np.uint64(1)) << np.uint64(6)
                    | _low_six(data, position + np.uint64(2))
                )
                position += np.uint64(3)
            else:
                if position + np.uint64(4) > stop:
                    break
                code_point = (
                    (lead & np.uint64(0x07)) << np.uint64(18)
                    | _low_six(data, position + np.uint64(1)) << np.uint64(12)
                    | _low_six(data, position + np.uint64(2)) << np.uint64(6)
                    | _low_six(data, position + np.uint64(3))
                )
                code_point = min(code_point, np.uint64(folding.CODE_POINTS - 1))
                position += np.uint64(4)
        else:
            break
        code = np.uint64(codes[code_point])
        kind = code & np.uint64(folding.KIND_MASK)
        if kind >= np.uint64(folding.IGNORABLE):
            if kind == np.uint64(folding.SEQUENCE):
                pending = addends[code_point] >> np.uint64(8)
                pending_stop = pending + (addends[code_point] & np.uint64(0xFF))
            continue
        ends = np.uint64(_ENDS_WORD) >> (begun_by * np.uint64(4) + kind) & np.uint64(1)
        words[n_words] = word
        n_words += ends
        word = (np.uint64(0) if ends else word) * powers[code >> np.uint64(folding.KIND_BITS)] + addends[code_point]
        begun_by = max(begun_by, np.uint64(folding.LETTER)) if kind == np.uint64(folding.MARK) else kind
    if begun_by != np.uint64(folding.SEPARATOR):
        words[n_words] = word
        n_words += np.uint64(1)
    return int(n_words)


@numba.njit(cache=True, nogil=True)
def hash_shingles(words: np.ndarray, n_shingles: int, shingle_size: int) -> None:
    """Turns the hashes of words, unmixed, into those of the shingles that begin with them, in place."""
    for i in range(n_shingles + shingle_size - 1):
        words[i] = mix64(words[i])
    leaving = np.uint64(1)  # MULTIPLIER**shingle_size
    shingle = np.uint64(0)
    for i in range(shingle_size):
        leaving *= np.uint64(MULTIPLIER)
        shingle = shingle * np.uint64(MULTIPLIER) + words[i]
    for i in range(n_shingles - 1):
        first = words[i]
        words[i] = mix64(shingle)
        shingle = shingle * np.uint64(MULTIPLIER) + words[i + shingle_size] - first * leaving
    words[n_shingles - 1] = mix64(shingle)


@numba.njit(cache=True, nogil=True)
def fill_sketch(shingles: np.ndarray, n_shingles: int, sketch: np.ndarray) -> None:
    """Fills each bin of `sketch` with its smallest round << 48 | value; may reorder `shingles`.

    Which bin is hit and whether it gets smaller can't be predicted, so nothing branches on either; mixing some
    hundred hashes in a loop of its own lets the compiler make vector code of it. Together a quarter faster.
    """
    t = len(sketch)
    value_mask = np.uint64((1 << VALUE_BITS) - 1)
    sketch[:] = _EMPTY
    thrown = np.empty(_THROWN_AT_ONCE, np.uint64)
    still_empty = t
    throws = 0
    deduplicated = False
    i = 0
    while still_empty > 0:
        if not deduplicated and throws > _THROWS_BEFORE_DEDUPLICATION * t:
            n_shingles = _move_distinct_to_front(shingles, n_shingles)
            deduplicated = True
        step = np.uint64(i) * np.uint64(ROUND_STEP)
        rank = np.uint64(i) << np.uint64(VALUE_BITS)
        for start in range(0, n_shingles, _THROWN_AT_ONCE):
            n = min(_THROWN_AT_ONCE, n_shingles - start)
            for j in range(n):
                thrown[j] = mix64(shingles[start + j] + step)
            if i < t:
                for j in range(n):
                    chosen = ((thrown[j] >> np.uint64(32)) * np.uint64(t)) >> np.uint64(32)
                    sketch[chosen] = min(sketch[chosen], rank | (thrown[j] & value_mask))
            else:
                for j in range(n):
                    sketch[i - t] = min(sketch[i - t], rank | (thrown[j] & value_mask))
        still_empty = 0
        for j in range(t):
            still_empty += sketch[j] == _EMPTY
        throws += n_shingles
        i += 1


@numba.njit(cache=True, nogil=True)
def _move_distinct_to_front(values: np.ndarray, n: int) -> int:
    """Each distinct value of values[:n] once, in front, in order of appearance; returns how many there are."""
    slots = 2
    while slots < 2 * n:
        slots *= 2
    table = np.full(slots, -1, np.int64)  # open addressing; where in `values` the value is
    distinct = 0
    for i in range(n):
        slot = np.int64(values[i] & np.uint64(slots - 1))
        while table[slot] >= 0 and values[table[slot]] != values[i]:
            slot = (slot + 1) & (slots - 1)
        if table[slot] < 0:
            table[slot] = distinct
            values[distinct] = values[i]
            distinct += 1
    return distinct
