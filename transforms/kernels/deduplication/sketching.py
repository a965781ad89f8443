"""The compiled loops of fingerprinting: from bytes of UTF-8 to hashes of words, shingles and bins.

A word's hash is a polynomial over its folded code points, which is mixed; a shingle's hash is a polynomial over its
words' hashes, mixed again, of which the upper 32 bits are kept. All that is known of a text is made from these 32 bits.

The sketch is that of Dahlgaard, Knudsen and Thorup, "Fast Similarity Sketching", FOCS 2017. Each of t bins is to have
the smallest (round, value) it ever got. In the first 16 rounds every shingle is thrown into one bin, both bin and value
drawn from its hash and the round; after them, bin j has a round of its own, in which every shingle is thrown into it.
Rounds go on until no bin is empty. Short documents get the accuracy of t independent permutations, long ones are done
after one round: O(shingles + t log t). The paper has t such rounds in place of 16: then a document of 5 shingles takes
seven times as long, one of 20 twice (docs/minhash.md).

A text is read a piece at a time, and a round is the same whatever the pieces, so memory doesn't grow with the text.

What each loop must return is written out in Python in `transforms.kernels.deduplication.fingerprinting`, as
``..._reference``.
"""

from __future__ import annotations

import numba
import numpy as np

from transforms.kernels.deduplication import folding
from transforms.kernels.deduplication.folding import MASK64, MULTIPLIER

VALUE_BITS = 48
SHINGLE_BITS = 32
ROUNDS = 16
"""In which shingles choose their bins: 5 shingles leave four of five bins open in them, 20 two, 80 few."""
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
_VALUE_MASK = np.uint64((1 << VALUE_BITS) - 1)
# Past this many throws for each bin, bins are open because shingles repeat: t bins take t ln t throws, 6 t at t = 400.
_THROWS_BEFORE_DEDUPLICATION = 16
_THROWN_AT_ONCE = 256
WORDS_HELD = 1 << 16
"""Words of a text that are held at once: 512 KiB. A text of more is read in pieces."""
# How far a text is read: the unfinished word's hash and what began it, the next byte, and the mixed words that the next
# shingles begin with: where they are, and how many.
_WORD, _BEGUN_BY, _POSITION, _KEPT_AT, _KEPT = range(5)


@numba.njit(cache=True, nogil=True)
def mix64(x: np.uint64) -> np.uint64:
    """`transforms.kernels.deduplication.folding.mix64`, compiled."""
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
    listed_shingles: int,
    words_held: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What is stored of n texts.

    Returns:
      uint8[n, signature_size], signatures, 0 where a text has none; uint32[...], the sorted distinct shingles of the
      texts that have ``listed_shingles`` at most, one text after the other; int64[n], how many each has there, -1 where
      it has a signature instead; uint64[n, bands], band hashes. A text without shingles has neither.
    """
    n = len(offsets) - 1
    signatures = np.zeros((n, signature_size), np.uint8)
    band_hashes = np.zeros((n, bands), np.uint64)
    counts = np.zeros(n, np.int64)
    # Pages that aren't written to take no memory.
    listed = np.empty(min(n * listed_shingles, 2 * (offsets[n] - offsets[0])), np.uint32)
    n_listed = 0
    # A text that isn't read in one go has more shingles than are listed.
    words = np.empty(max(words_held, 4 * (shingle_size + listed_shingles)), np.uint64)
    buckets = np.empty(2 * listed_shingles + 2, np.int64)
    sketch = np.empty(bands * rows + signature_size, np.uint64)
    state = np.empty(5, np.uint64)
    thrown = np.empty(_THROWN_AT_ONCE, np.uint64)
    for i in range(n):
        if not valid[i]:
            continue
        _begin(state, offsets[i])
        end = offsets[i + 1]
        n_shingles = _read_shingles(data, end, codes, addends, powers, sequences, shingle_size, state, words)
        whole = state[_POSITION] == np.uint64(end)
        if whole and n_shingles < 1:
            continue
        if whole and n_shingles <= listed_shingles:
            counts[i] = _sort_distinct(words, n_shingles, buckets, listed[n_listed:])
            for j in range(counts[i]):
                words[j] = np.uint64(listed[n_listed + j])
            n_listed += counts[i]
            sketch[:] = _EMPTY
            _fill(words, counts[i], 0, bands * rows, sketch)
        else:
            counts[i] = -1
            sketch[:] = _EMPTY
            if whole:
                _fill(words, n_shingles, 0, len(sketch), sketch)
            else:
                while n_shingles > 0:
                    _throw(words, n_shingles, 0, sketch, thrown)
                    n_shingles = _read_shingles(
                        data, end, codes, addends, powers, sequences, shingle_size, state, words
                    )
                if _empty_bins(sketch, len(sketch)):
                    _begin(state, offsets[i])
                    distinct = _distinct_shingles(
                        data, end, codes, addends, powers, sequences, shingle_size, state, words
                    )
                    _fill(distinct, len(distinct), 1, len(sketch), sketch)
            for j in range(signature_size):
                signatures[i, j] = sketch[bands * rows + j] & np.uint64(0xFF)
        for band in range(bands):
            band_hash = mix64(np.uint64(band))
            for j in range(band * rows, (band + 1) * rows):
                band_hash = mix64(band_hash * np.uint64(MULTIPLIER) + sketch[j])
            band_hashes[i, band] = band_hash
    return signatures, listed[:n_listed].copy(), counts, band_hashes


@numba.njit(cache=True, nogil=True)
def _begin(state: np.ndarray, position: int) -> None:
    state[:] = 0
    state[_BEGUN_BY] = folding.SEPARATOR
    state[_POSITION] = position


@numba.njit(cache=True, nogil=True)
def _read_shingles(
    data: np.ndarray,
    end: int,
    codes: np.ndarray,
    addends: np.ndarray,
    powers: np.ndarray,
    sequences: np.ndarray,
    shingle_size: int,
    state: np.ndarray,
    words: np.ndarray,
) -> int:
    """Reads on in a text: writes the hashes of its next shingles to `words` and returns their number.

    The text is at its end if ``state`` says so, or if there are none. `words` must come back as it was left.
    """
    held: int = np.int64(state[_KEPT])  # type: ignore[assignment]
    kept_at: int = np.int64(state[_KEPT_AT])  # type: ignore[assignment]
    for i in range(held):
        words[i] = words[kept_at + i]
    n_words = held
    position: int = np.int64(state[_POSITION])  # type: ignore[assignment]
    room = len(words)
    while position < end and 2 * n_words < room:
        # No code point makes more than two words a byte, and one word may be pending.
        stop = min(end, position + (room - n_words - 1) // 2)
        cut = stop
        while position < cut < end and data[cut] & 0xC0 == 0x80:
            cut -= 1
        stop = cut if cut > position else stop
        n_words = hash_words(data, position, stop, codes, addends, powers, sequences, state, words, n_words)
        position = stop
    if position == end and state[_BEGUN_BY] != np.uint64(folding.SEPARATOR):
        words[n_words] = state[_WORD]
        n_words += 1
        state[_BEGUN_BY] = folding.SEPARATOR
    for i in range(held, n_words):
        words[i] = mix64(words[i])
    n_shingles = max(0, n_words - shingle_size + 1)
    if n_shingles > 0:
        hash_shingles(words, n_shingles, shingle_size)
    state[_POSITION] = position
    state[_KEPT_AT] = n_shingles
    state[_KEPT] = n_words - n_shingles
    return n_shingles


@numba.njit(cache=True, nogil=True)
def hash_words(
    data: np.ndarray,
    begin: int,
    end: int,
    codes: np.ndarray,
    addends: np.ndarray,
    powers: np.ndarray,
    sequences: np.ndarray,
    state: np.ndarray,
    words: np.ndarray,
    n_words: int,
) -> int:
    """Writes the unmixed hash of each word that ends in a piece of text to `words`, from ``n_words`` on.

    Returns how many words there are then. The word that hasn't ended is in `state`.

    Word ends are unpredictable branches, so the loop has none: every character's hash is written, and kept if the word
    ends there, at three times the speed. All integers are unsigned: numba then needs no check for negative indices. A
    UTF-8 sequence that the text's end cuts off is left out, so that invalid text reads nothing beyond its end.
    """
    position = np.uint64(begin)
    stop = np.uint64(end)
    pending = np.uint64(0)  # the part of `sequences` that is still to be read before the text goes on
    pending_stop = np.uint64(0)
    n = np.uint64(n_words)
    word = state[_WORD]
    begun_by = state[_BEGUN_BY]  # the kind of character that began the word; SEPARATOR: there is no word
    while True:
        if pending < pending_stop:
            code_point = np.uint64(sequences[pending])
            pending += np.uint64(1)
        elif position < stop:
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
        words[n] = word
        n += ends
        word = (np.uint64(0) if ends else word) * powers[code >> np.uint64(folding.KIND_BITS)] + addends[code_point]
        begun_by = max(begun_by, np.uint64(folding.LETTER)) if kind == np.uint64(folding.MARK) else kind
    state[_WORD] = word
    state[_BEGUN_BY] = begun_by
    return np.int64(n)  # type: ignore[return-value]


@numba.njit(cache=True, nogil=True)
def hash_shingles(words: np.ndarray, n_shingles: int, shingle_size: int) -> None:
    """Turns the mixed hashes of words into those of the shingles that begin with them, 32 bits each, in place."""
    leaving = np.uint64(1)  # MULTIPLIER**shingle_size
    shingle = np.uint64(0)
    for i in range(shingle_size):
        leaving *= np.uint64(MULTIPLIER)
        shingle = shingle * np.uint64(MULTIPLIER) + words[i]
    for i in range(n_shingles - 1):
        first = words[i]
        words[i] = mix64(shingle) >> np.uint64(SHINGLE_BITS)
        shingle = shingle * np.uint64(MULTIPLIER) + words[i + shingle_size] - first * leaving
    words[n_shingles - 1] = mix64(shingle) >> np.uint64(SHINGLE_BITS)


@numba.njit(cache=True, nogil=True)
def _sort_distinct(values: np.ndarray, n: int, buckets: np.ndarray, into: np.ndarray) -> int:
    """Writes values[:n], each below 2**32, sorted and once each; returns how many. `buckets` has 2 n + 2 at least.

    They are hashes, so as many buckets as values have one value each, more or less: three times as fast as `np.sort`.
    """
    bits = 0
    while 1 << bits < n:
        bits += 1
    shift = np.uint64(SHINGLE_BITS - bits)
    buckets[: (1 << bits) + 1] = 0
    for i in range(n):
        buckets[np.int64(values[i] >> shift) + 1] += 1
    for i in range(1 << bits):
        buckets[i + 1] += buckets[i]
    for i in range(n):
        bucket = np.int64(values[i] >> shift)
        into[buckets[bucket]] = np.uint32(values[i])
        buckets[bucket] += 1
    for i in range(1, n):
        value = into[i]
        j = i
        while j > 0 and into[j - 1] > value:
            into[j] = into[j - 1]
            j -= 1
        into[j] = value
    distinct = 1
    for i in range(1, n):
        value = into[i]
        distinct += value != into[distinct - 1]
        into[distinct - 1] = value
    return distinct


@numba.njit(cache=True, nogil=True)
def signature_of(shingles: np.ndarray, sketch: np.ndarray, signature: np.ndarray) -> None:
    """Writes the signature of a text of which all distinct shingles are known, as `fingerprint_texts` would make it.

    `sketch` has room for all bins; its last ones are the signature's.
    """
    values = shingles.astype(np.uint64)
    sketch[:] = _EMPTY
    _fill(values, len(values), 0, len(sketch), sketch)
    for i in range(len(signature)):
        signature[i] = sketch[len(sketch) - len(signature) + i] & np.uint64(0xFF)


@numba.njit(cache=True, nogil=True)
def _throw(shingles: np.ndarray, n_shingles: int, i: int, sketch: np.ndarray, thrown: np.ndarray) -> None:
    """One of the first rounds: each bin of `sketch` gets the smallest round << 48 | value. `thrown` has room for 256.

    Which bin is hit and whether it gets smaller can't be predicted, so nothing branches on either; mixing some
    hundred hashes in a loop of its own lets the compiler make vector code of it. Together a quarter faster.
    """
    t = len(sketch)
    step = np.uint64(i) * np.uint64(ROUND_STEP)
    rank = np.uint64(i) << np.uint64(VALUE_BITS)
    for start in range(0, n_shingles, _THROWN_AT_ONCE):
        n = min(_THROWN_AT_ONCE, n_shingles - start)
        for j in range(n):
            thrown[j] = mix64(shingles[start + j] + step)
        for j in range(n):
            chosen = ((thrown[j] >> np.uint64(32)) * np.uint64(t)) >> np.uint64(32)
            sketch[chosen] = min(sketch[chosen], rank | (thrown[j] & _VALUE_MASK))


@numba.njit(cache=True, nogil=True)
def _smallest(shingles: np.ndarray, n_shingles: int, i: int) -> np.uint64:
    """What the bin gets whose own round this is."""
    step = np.uint64(i) * np.uint64(ROUND_STEP)
    smallest = _VALUE_MASK
    for j in range(n_shingles):
        smallest = min(smallest, mix64(shingles[j] + step) & _VALUE_MASK)
    return np.uint64(i) << np.uint64(VALUE_BITS) | smallest


@numba.njit(cache=True, nogil=True)
def _empty_bins(sketch: np.ndarray, bins: int) -> int:
    """How many of the first bins are empty."""
    empty = 0
    for j in range(bins):
        empty += sketch[j] == _EMPTY
    return empty


@numba.njit(cache=True, nogil=True)
def _fill(shingles: np.ndarray, n_shingles: int, first_round: int, bins: int, sketch: np.ndarray) -> None:
    """Rounds go on until none of the first ``bins`` is empty, which are then final; may reorder `shingles`."""
    thrown = np.empty(_THROWN_AT_ONCE, np.uint64)
    throws = 0
    deduplicated = False
    for i in range(first_round, ROUNDS):
        if not _empty_bins(sketch, bins):
            return
        if not deduplicated and throws > _THROWS_BEFORE_DEDUPLICATION * len(sketch):
            n_shingles = _move_distinct_to_front(shingles, n_shingles)
            deduplicated = True
        _throw(shingles, n_shingles, i, sketch, thrown)
        throws += n_shingles
    for j in range(bins):
        if sketch[j] == _EMPTY:
            sketch[j] = _smallest(shingles, n_shingles, ROUNDS + j)


@numba.njit(cache=True, nogil=True)
def _distinct_shingles(
    data: np.ndarray,
    end: int,
    codes: np.ndarray,
    addends: np.ndarray,
    powers: np.ndarray,
    sequences: np.ndarray,
    shingle_size: int,
    state: np.ndarray,
    words: np.ndarray,
) -> np.ndarray:
    """The distinct shingles of a text that `state` stands at the beginning of: memory for these, not for all."""
    found = np.empty(2 * len(words), np.uint64)
    n_found = 0
    while True:
        n = _read_shingles(data, end, codes, addends, powers, sequences, shingle_size, state, words)
        if n_found + n > len(found):
            n_found = _move_distinct_to_front(found, n_found)
            if 2 * (n_found + n) > len(found):
                larger = np.empty(2 * len(found), np.uint64)
                larger[:n_found] = found[:n_found]
                found = larger
        found[n_found : n_found + n] = words[:n]
        n_found += n
        if state[_POSITION] == np.uint64(end):
            return found[: _move_distinct_to_front(found, n_found)].copy()


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
