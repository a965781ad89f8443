"""FastText's prediction of the best label, over the buffers of an Arrow string array.

Follows ``Dictionary::getLine`` and ``Loss::predict`` of https://github.com/facebookresearch/fastText. One thing is
done in another order: the rows of one word are added up first, then the words of the text, because the sums of words
are cached. Float additions are in the same order whether or not a word was found in the cache, so a text's
probability depends on nothing but the text. It differs from the library's by rounding: by 1.4e-6 at
most over 83,175 real texts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from transforms.kernels.language.fasttext_index import FNV_OFFSET, FNV_PRIME, find_entry, fnv1a, kept_row
from transforms.kernels.language.fasttext_loss import predict, predict_all
from transforms.kernels.language.fasttext_model import END_OF_LINE, LABEL_PREFIX, ModelArrays
from transforms.kernels.language.lanes import LANES, add_lanes

CACHED_BYTES = 32  # longest word that is cached: four 64-bit halves of its key
CACHE_SIZE = 8 << 20  # bytes; much more than fits the processor's own caches gains nothing
_WORDS_AHEAD = 64  # found before they are looked up: the cache's memory is waited for once, not once a word
_PREFIX = np.frombuffer(LABEL_PREFIX, np.uint8).copy()
_END = np.frombuffer(END_OF_LINE, np.uint8).copy()
_END_HASH = int(np.uint32(fnv1a.py_func(_END, 0, len(_END))).view(np.int32))


class WordCache(NamedTuple):
    """A direct-mapped cache of words' sums; a slot belongs to the last word that came to it."""

    keys: np.ndarray  # uint64 (slots, 4): the word's bytes, zero-padded; no word has a zero byte
    rows: np.ndarray  # int32 (slots): how many rows were added up
    hashes: np.ndarray  # int32 (slots): the word's hash, for word n-grams
    sums: np.ndarray  # float32 ((slots + 1) * width); the last is for words that are too long for a key


def empty_cache(width: int) -> WordCache:
    """A cache of at most CACHE_SIZE bytes, and 16 slots at least, for sums of ``width`` columns."""
    slots = 1 << max(4, (CACHE_SIZE // (4 * width + CACHED_BYTES + 8)).bit_length() - 1)
    return WordCache(
        keys=np.zeros((slots, CACHED_BYTES // 8), np.uint64),
        rows=np.zeros(slots, np.int32),
        hashes=np.zeros(slots, np.int32),
        sums=np.zeros((slots + 1) * width, np.float32),
    )


@njit(cache=True, inline="always")
def _is_space(byte: int) -> bool:
    return byte <= 32 and (byte == 32 or byte == 0 or (9 <= byte <= 13))


@njit(cache=True, inline="always")
def _continues(byte: int) -> bool:
    """Whether a byte of UTF-8 goes on with a character."""
    return (byte & np.uint8(0xC0)) == np.uint8(0x80)


@njit(cache=True, inline="always")
def _mixed_in(value: np.uint32, byte: np.uint8) -> np.uint32:
    """A step of ``fnv1a``: the byte is sign-extended."""
    return np.uint32((value ^ np.uint32(np.int32(np.int8(byte)))) * np.uint32(FNV_PRIME))


@njit(cache=True)
def window_end(data: np.ndarray, start: int, stop: int, window: int) -> int:
    """Where the first ``window`` code points of the UTF-8 text ``data[start:stop]`` end."""
    position = start
    while window > 0 and stop - position > window:
        code_points = 0
        for i in range(position, position + window):
            code_points += (data[i] & 0xC0) != 0x80
        position += window
        window -= code_points
    if window > 0:
        return stop
    while position < stop and (data[position] & 0xC0) == 0x80:
        position += 1
    return position


@njit(cache=True)
def has_letters(data: np.ndarray, start: int, stop: int, wanted: int, letters: np.ndarray) -> bool:
    """Whether the UTF-8 text ``data[start:stop]`` has at least ``wanted`` code points for which ``letters`` is true."""
    found = 0
    position = start
    while found < wanted and position < stop:
        byte = np.int64(data[position])
        if byte < 0x80:
            code_point, size = byte, 1
        elif byte < 0xE0:
            code_point, size = byte & 0x1F, 2
        elif byte < 0xF0:
            code_point, size = byte & 0x0F, 3
        else:
            code_point, size = byte & 0x07, 4
        for i in range(position + 1, min(position + size, stop)):
            code_point = code_point << 6 | (data[i] & 0x3F)
        if code_point < letters.size and letters[code_point]:
            found += 1
        position += size
    return found >= wanted


@njit(cache=True)
def _add_rows(total: np.ndarray, start: int, width: int, rows: np.ndarray, matrix: np.ndarray) -> None:
    """Adds rows of a matrix to ``total[start:start + width]``, one after the other."""
    for i in range(rows.size):
        for column in range(0, width, LANES):
            add_lanes(total, start + column, matrix, rows[i] * width + column)


@njit(cache=True)
def _word_rows(
    data: np.ndarray,
    start: int,
    stop: int,
    entry: int,
    words: int,
    minimum: int,
    maximum: int,
    buckets: int,
    pruned: bool,
    kept_bits: np.ndarray,
    kept_before: np.ndarray,
    kept_rows: np.ndarray,
    bounded: np.ndarray,
    rows: np.ndarray,
) -> np.int64:
    """Writes the rows of a word, its own and those of the n-grams of ``<word>``, to ``rows``; returns how many."""
    # All integers are unsigned: numba then needs no check for negative indices, which was a fifth of the time.
    one = np.uint64(1)
    count = np.uint64(0)
    if entry >= 0:
        rows[0] = entry
        count = one
    if maximum == 0:
        return np.int64(count)
    size = np.uint64(stop - start + 2)
    bounded[0] = 60  # <
    for i in range(np.uint64(stop - start)):
        bounded[i + one] = data[np.uint64(start) + i]
    bounded[size - one] = 62  # >
    for first in range(size):
        if _continues(bounded[first]):
            continue
        value = np.uint32(FNV_OFFSET)
        position = np.uint64(first)
        characters = np.uint64(0)
        while position < size and characters < np.uint64(maximum):
            value = _mixed_in(value, bounded[position])
            position += one
            while position < size and _continues(bounded[position]):
                value = _mixed_in(value, bounded[position])
                position += one
            characters += one
            alone_at_an_end = characters == one and (first == np.uint64(0) or position == size)
            if characters >= np.uint64(minimum) and not alone_at_an_end:
                row = np.int64(value % np.uint32(buckets))
                if pruned:
                    row = kept_row(row, kept_bits, kept_before, kept_rows)
                if row >= 0:
                    rows[count] = words + row
                    count += one
    return np.int64(count)


@njit(cache=True)
def _word_ngram_rows(
    hashes: np.ndarray,
    length: int,
    words: int,
    buckets: int,
    pruned: bool,
    kept_bits: np.ndarray,
    kept_before: np.ndarray,
    kept_rows: np.ndarray,
    rows: np.ndarray,
) -> int:
    """Writes the rows of all runs of 2 to ``length`` words to ``rows``; returns how many."""
    count = 0
    for i in range(hashes.size):
        value = np.uint64(np.int64(hashes[i]))  # sign-extended, as in the library
        for j in range(i + 1, min(hashes.size, i + length)):
            value = value * np.uint64(116049371) + np.uint64(np.int64(hashes[j]))
            row = np.int64(value % np.uint64(buckets))
            if pruned:
                row = kept_row(row, kept_bits, kept_before, kept_rows)
            if row >= 0:
                rows[count] = words + row
                count += 1
    return count


@njit(cache=True)
def _starts_with(data: np.ndarray, start: int, stop: int, prefix: np.ndarray) -> bool:
    if stop - start < prefix.size:
        return False
    same = True
    for i in range(prefix.size):
        same = same and data[start + i] == prefix[i]
    return same


@njit(cache=True)
def _find_words(
    data: np.ndarray, position: int, stop: int, slots: int, found: np.ndarray, keys: np.ndarray
) -> tuple[np.int64, np.int64]:
    """Finds as many words of ``data[position:stop]`` as there is room for; returns how many, and where they end.

    Args:
      slots: of the cache, a power of two.
      found: int64 (words, 3), written: where a word starts and ends, and its slot.
      keys: uint64 (words, 4), written.
    """
    count, place, end = np.uint64(0), np.uint64(position), np.uint64(stop)  # unsigned as in _word_rows
    while count < np.uint64(len(found)):
        while place < end and _is_space(data[place]):
            place += np.uint64(1)
        if place == end:
            break
        first = place
        key_0, key_1, key_2, key_3 = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
        while place < end and not _is_space(data[place]):
            offset = place - first
            bits = np.uint64(data[place]) << ((offset & np.uint64(7)) * np.uint64(8))
            if offset < np.uint64(8):
                key_0 |= bits
            elif offset < np.uint64(16):
                key_1 |= bits
            elif offset < np.uint64(24):
                key_2 |= bits
            elif offset < np.uint64(32):
                key_3 |= bits
            place += np.uint64(1)
        mixed = (key_0 ^ (key_1 * np.uint64(0x9E3779B97F4A7C15))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= (key_2 ^ (key_3 * np.uint64(0x9E3779B97F4A7C15))) * np.uint64(0x94D049BB133111EB)
        mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
        found[count, 0], found[count, 1] = first, place
        found[count, 2] = np.int64(mixed >> np.uint64(40)) & (slots - 1)
        keys[count, 0], keys[count, 1], keys[count, 2], keys[count, 3] = key_0, key_1, key_2, key_3
        count += np.uint64(1)
    return np.int64(count), np.int64(place)


@njit(cache=True)
def sum_text(
    total: np.ndarray,
    data: np.ndarray,
    start: int,
    stop: int,
    bounded: np.ndarray,
    rows: np.ndarray,
    hashes: np.ndarray,
    found: np.ndarray,
    keys: np.ndarray,
    model: ModelArrays,
    cache: WordCache,
) -> int:
    """Sets ``total`` to the sum of all rows of one line of text; returns how many rows they are."""
    # Once, not in the loop: each look into the tuple counts a reference.
    spellings, spelling_ends, entry_slots = model.spellings, model.spelling_ends, model.entry_slots
    width, matrix = model.width, model.rows
    kept_bits, kept_before, kept_rows = model.kept_bits, model.kept_before, model.kept_rows
    cached_keys, cached_rows, cached_hashes, cached_sums = cache.keys, cache.rows, cache.hashes, cache.sums
    total[:] = 0
    row_count = 0
    words = 0
    position = start
    number = count = 0
    while True:
        if number == count:
            count, position = _find_words(data, position, stop, cached_rows.size, found, keys)
            number = 0
            if count == 0:
                break
        first, last, slot = found[number, 0], found[number, 1], found[number, 2]
        key_0, key_1, key_2, key_3 = keys[number, 0], keys[number, 1], keys[number, 2], keys[number, 3]
        number += 1
        cacheable = last - first <= CACHED_BYTES
        hit = (
            cacheable
            and cached_keys[slot, 0] == key_0
            and cached_keys[slot, 1] == key_1
            and cached_keys[slot, 2] == key_2
            and cached_keys[slot, 3] == key_3
        )
        if hit:
            row_count += cached_rows[slot]
            if hashes.size > 0:
                hashes[words] = cached_hashes[slot]
        else:
            if last - first == _END.size and _starts_with(data, first, last, _END):
                break  # a literal </s> ends the line for the library too
            value = fnv1a(data, first, last)
            entry, _ = find_entry(data, first, last, value, spellings, spelling_ends, entry_slots)
            if entry >= model.words or (entry < 0 and _starts_with(data, first, last, _PREFIX)):
                continue  # a label within the text is no word
            added = _word_rows(
                data,
                first,
                last,
                entry,
                model.words,
                model.minimum_ngram,
                model.maximum_ngram,
                model.buckets,
                model.pruned,
                kept_bits,
                kept_before,
                kept_rows,
                bounded,
                rows,
            )
            row_count += added
            if hashes.size > 0:
                hashes[words] = np.int32(np.uint32(value))
            if not cacheable:
                slot = cached_rows.size
            cached_sums[slot * width : (slot + 1) * width] = 0
            _add_rows(cached_sums, slot * width, width, rows[:added], matrix)
            if cacheable:
                cached_keys[slot, 0], cached_keys[slot, 1] = key_0, key_1
                cached_keys[slot, 2], cached_keys[slot, 3] = key_2, key_3
                cached_rows[slot] = added
                cached_hashes[slot] = np.int32(np.uint32(value))
        for column in range(0, width, LANES):
            add_lanes(total, column, cached_sums, slot * width + column)
        words += 1
    count = 0
    if model.end_of_line >= 0:
        rows[0] = model.end_of_line
        count = 1
        _add_rows(total, 0, width, rows[:1], matrix)
    if model.word_ngrams > 1:
        row_count += count
        hashes[words] = _END_HASH
        count = _word_ngram_rows(
            hashes[: words + 1],
            model.word_ngrams,
            model.words,
            model.buckets,
            model.pruned,
            kept_bits,
            kept_before,
            kept_rows,
            rows,
        )
        _add_rows(total, 0, width, rows[:count], matrix)
    return row_count + count


@njit(cache=True)
def room(
    data: np.ndarray, offsets: np.ndarray, valid: np.ndarray, window: int, model: ModelArrays
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What ``sum_text`` writes to, large enough for each of the texts: total, bounded, hashes, rows, found, keys."""
    longest = 0
    for k in range(valid.size):
        if valid[k]:
            longest = max(longest, window_end(data, offsets[k], offsets[k + 1], window) - offsets[k])
    total = np.empty(model.width, np.float32)
    bounded = np.empty(longest + 2, np.uint8)
    hashes = np.empty(longest // 2 + 2 if model.word_ngrams > 1 else 0, np.int32)
    ngrams = (longest + 2) * min(longest + 2, model.maximum_ngram) + 1
    rows = np.empty(max(ngrams, hashes.size * min(hashes.size, model.word_ngrams)), np.int32)
    found, keys = np.empty((_WORDS_AHEAD, 3), np.int64), np.empty((_WORDS_AHEAD, CACHED_BYTES // 8), np.uint64)
    return total, bounded, hashes, rows, found, keys


@njit(cache=True)
def identify(
    data: np.ndarray,
    offsets: np.ndarray,
    valid: np.ndarray,
    window: int,
    min_letters: int,
    letters: np.ndarray,
    model: ModelArrays,
    cache: WordCache,
    labels: np.ndarray,
    scores: np.ndarray,
) -> None:
    """Writes the best label and its probability of each text.

    Args:
      data: uint8, UTF-8; text k is ``data[offsets[k]:offsets[k + 1]]``.
      offsets: int32 (texts + 1).
      valid: bool (texts); texts where it is false are left out.
      window: code points of a text that count, from its start.
      min_letters: a text with fewer letters within the window gets no label.
      letters: bool, by code point; those past its end are no letters.
      cache: of this model; it changes.
      labels: int32 (texts), written; the number of labels stands for none, and then the probability is 0.
      scores: float32 (texts), written.
    """
    count = model.output.shape[1]
    total, bounded, hashes, rows, found, keys = room(data, offsets, valid, window, model)
    logits = np.empty(count, np.float32)
    stack, stack_scores = np.empty(count + 2, np.int64), np.empty(count + 2, np.float32)
    for k in range(valid.size):
        labels[k], scores[k] = count, 0
        if not valid[k]:
            continue
        start = offsets[k]
        stop = window_end(data, start, offsets[k + 1], window)
        if not has_letters(data, start, stop, min_letters, letters):
            continue
        row_count = sum_text(total, data, start, stop, bounded, rows, hashes, found, keys, model, cache)
        if row_count > 0:
            best, probability = predict(total, row_count, logits, stack, stack_scores, model)
            if best >= 0:
                labels[k], scores[k] = best, probability


@njit(cache=True)
def score(
    data: np.ndarray,
    offsets: np.ndarray,
    valid: np.ndarray,
    window: int,
    wanted: np.ndarray,
    model: ModelArrays,
    cache: WordCache,
    scores: np.ndarray,
) -> None:
    """Writes the probabilities of some labels for each text; other arguments as of ``identify``.

    Args:
      wanted: int64, the labels' numbers.
      scores: float32 (texts, wanted labels), written; NaN for a text of which the model knows nothing.
    """
    count = model.output.shape[1]
    total, bounded, hashes, rows, found, keys = room(data, offsets, valid, window, model)
    logits, probabilities = np.empty(count, np.float32), np.empty(count, np.float32)
    stack, stack_scores = np.empty(count + 2, np.int64), np.empty(count + 2, np.float32)
    for k in range(valid.size):
        scores[k] = np.nan
        if not valid[k]:
            continue
        stop = window_end(data, offsets[k], offsets[k + 1], window)
        row_count = sum_text(total, data, offsets[k], stop, bounded, rows, hashes, found, keys, model, cache)
        if row_count > 0:
            predict_all(total, row_count, logits, stack, stack_scores, probabilities, model)
            for i in range(wanted.size):
                scores[k, i] = probabilities[wanted[i]]
