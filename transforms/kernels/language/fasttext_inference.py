"""FastText's prediction of the best label, over the buffers of an Arrow string array.

Follows ``Dictionary::getLine`` and ``Loss::predict`` of https://github.com/facebookresearch/fastText. One thing is
done in another order: the rows of one word are added up first, then the words of the text, because the sums of words
are cached. Float additions are in the same order whether or not a word was found in the cache, so a text's
probability depends on nothing but the text. It differs from the library's by rounding: by 1.2e-5 at most where it
was measured, on a sample of real texts (three batches).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from transforms.kernels.language.fasttext_index import FNV_OFFSET, FNV_PRIME, find_entry, fnv1a, kept_row
from transforms.kernels.language.fasttext_loss import predict, predict_all
from transforms.kernels.language.fasttext_model import END_OF_LINE, LABEL_PREFIX, ModelArrays
from transforms.kernels.language.lanes import LANES, add_lanes, prefetch
from transforms.kernels.language.word_cache import CACHED_BYTES, COUNTS, SUMS, WordCache, find_words

_ROWS_AHEAD = 16  # asked for before they are added: a large model's memory is waited for several rows at once
_WORDS_AHEAD = 64  # found before they are looked up: the cache's memory is waited for once, not once a word
_TEXTS_AT_ONCE = 1 << 12  # whose sums are held
_PREFIX = np.frombuffer(LABEL_PREFIX, np.uint8).copy()
_END = np.frombuffer(END_OF_LINE, np.uint8).copy()
_END_HASH = int(np.uint32(fnv1a.py_func(_END, 0, len(_END))).view(np.int32))


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
def _ask_for_row(matrix: np.ndarray, row: int, width: int) -> None:
    for column in range(0, width, 16):  # a line of the processor's caches
        prefetch(matrix, np.int64(row) * width + column)


@njit(cache=True)
def _add_rows(total: np.ndarray, start: int, width: int, rows: np.ndarray, count: int, matrix: np.ndarray) -> None:
    """Adds the first ``count`` rows of a matrix to ``total[start:start + width]``, one after the other."""
    end = np.uint64(count)
    for i in range(min(end, np.uint64(_ROWS_AHEAD))):
        _ask_for_row(matrix, rows[i], width)
    for i in range(end):
        ahead = i + np.uint64(_ROWS_AHEAD)
        if ahead < end:
            _ask_for_row(matrix, rows[ahead], width)
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
def _sum_texts(
    data: np.ndarray,
    starts: np.ndarray,
    stops: np.ndarray,
    wanted: np.ndarray,
    model: ModelArrays,
    cache: WordCache,
) -> tuple[np.ndarray, np.ndarray]:
    """The sums of all rows of texts, each one line, and how many rows they are.

    Args:
      starts, stops: int32 and int64 (texts, or more): text k is ``data[starts[k]:stops[k]]``.
      wanted: bool (texts): which; the others have 0 rows.

    Returns:
      float32 (texts, width) and int64 (texts).
    """
    # Once, not in the loops: each look into a tuple counts a reference.
    spellings, spelling_ends, entry_slots = model.spellings, model.spelling_ends, model.entry_slots
    width, matrix, model_words, word_ngrams = model.width, model.rows, model.words, model.word_ngrams
    minimum_ngram, maximum_ngram, buckets = model.minimum_ngram, model.maximum_ngram, model.buckets
    kept_bits, kept_before, kept_rows, pruned = model.kept_bits, model.kept_before, model.kept_rows, model.pruned
    end_of_line = model.end_of_line
    memory, sums, stride = cache.memory, cache.sums, cache.stride
    bounded, hashes, rows, found, keys = _room(starts, stops, wanted, model)
    totals, row_counts = np.zeros((wanted.size, width), np.float32), np.zeros(wanted.size, np.int64)
    total = totals.reshape(-1)
    for k in range(wanted.size):
        if not wanted[k]:
            continue
        row_count = np.int64(0)
        words = 0
        position = np.int64(starts[k])
        number = count = np.int64(0)
        while True:
            if number == count:
                count, position = find_words(data, position, stops[k], cache, found, keys)
                number = np.int64(0)
                if count == 0:
                    break
            at = np.uint64(number)
            first, last, slot = found[at, 0], found[at, 1], found[at, 2]
            key_0, key_1, key_2, key_3 = keys[at, 0], keys[at, 1], keys[at, 2], keys[at, 3]
            number += 1
            cacheable = last - first <= CACHED_BYTES
            if not cacheable:
                slot = cache.slots
            base = np.uint64(slot * stride)
            differing = (memory[base] ^ key_0) | (memory[base + np.uint64(1)] ^ key_1)
            differing |= (memory[base + np.uint64(2)] ^ key_2) | (memory[base + np.uint64(3)] ^ key_3)
            counts = memory[base + np.uint64(COUNTS)]
            if not cacheable or differing != np.uint64(0):
                if last - first == _END.size and _starts_with(data, first, last, _END):
                    break  # a literal </s> ends the line for the library too
                value = fnv1a(data, first, last)
                entry, _ = find_entry(data, first, last, value, spellings, spelling_ends, entry_slots)
                if entry >= model_words or (entry < 0 and _starts_with(data, first, last, _PREFIX)):
                    continue  # a label within the text is no word
                added = _word_rows(
                    data,
                    first,
                    last,
                    entry,
                    model_words,
                    minimum_ngram,
                    maximum_ngram,
                    buckets,
                    pruned,
                    kept_bits,
                    kept_before,
                    kept_rows,
                    bounded,
                    rows,
                )
                counts = np.uint64(added) << np.uint64(32) | np.uint64(value)
                memory[base], memory[base + np.uint64(1)] = key_0, key_1
                memory[base + np.uint64(2)], memory[base + np.uint64(3)] = key_2, key_3
                memory[base + np.uint64(COUNTS)] = counts
                sum_at = 2 * (slot * stride + SUMS)
                sums[sum_at : sum_at + width] = 0
                _add_rows(sums, sum_at, width, rows, added, matrix)
            row_count += np.int64(counts >> np.uint64(32))
            if hashes.size > 0:
                hashes[words] = np.int32(np.uint32(counts & np.uint64(0xFFFFFFFF)))
            for column in range(0, width, LANES):
                add_lanes(total, k * width + column, sums, 2 * (slot * stride + SUMS) + column)
            words += 1
        count = np.int64(0)
        if end_of_line >= 0:
            rows[0] = end_of_line
            count = np.int64(1)
            _add_rows(total, k * width, width, rows, count, matrix)
        if word_ngrams > 1:
            row_count += count
            hashes[words] = _END_HASH
            ngrams = hashes[: words + 1]
            more = _word_ngram_rows(
                ngrams, word_ngrams, model_words, buckets, pruned, kept_bits, kept_before, kept_rows, rows
            )
            count = np.int64(more)
            _add_rows(total, k * width, width, rows, count, matrix)
        row_counts[k] = row_count + count
    return totals, row_counts


@njit(cache=True)
def _room(
    starts: np.ndarray, stops: np.ndarray, wanted: np.ndarray, model: ModelArrays
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What is written to, large enough for each of the texts: bounded, hashes, rows, found, keys."""
    longest = 0
    for k in range(wanted.size):
        if wanted[k]:
            longest = max(longest, stops[k] - starts[k])
    bounded = np.empty(longest + 2, np.uint8)
    hashes = np.empty(longest // 2 + 2 if model.word_ngrams > 1 else 0, np.int32)
    ngrams = (longest + 2) * min(longest + 2, model.maximum_ngram) + 1
    rows = np.empty(max(ngrams, hashes.size * min(hashes.size, model.word_ngrams)), np.int32)
    found, keys = np.empty((_WORDS_AHEAD, 3), np.int64), np.empty((_WORDS_AHEAD, CACHED_BYTES // 8), np.uint64)
    return bounded, hashes, rows, found, keys


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
    stops, wanted = np.zeros(valid.size, np.int64), np.zeros(valid.size, np.bool_)
    for k in range(valid.size):
        if valid[k]:
            stops[k] = window_end(data, offsets[k], offsets[k + 1], window)
            wanted[k] = has_letters(data, offsets[k], stops[k], min_letters, letters)
    logits = np.empty(count, np.float32)
    stack, stack_scores = np.empty(count + 2, np.int64), np.empty(count + 2, np.float32)
    labels[:], scores[:] = count, 0
    for first in range(0, valid.size, _TEXTS_AT_ONCE):
        some = slice(first, first + _TEXTS_AT_ONCE)
        totals, row_counts = _sum_texts(data, offsets[some], stops[some], wanted[some], model, cache)
        for k in range(row_counts.size):
            if row_counts[k] > 0:
                best, probability = predict(totals[k], row_counts[k], logits, stack, stack_scores, model)
                if best >= 0:
                    labels[first + k], scores[first + k] = best, probability


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
    stops = np.zeros(valid.size, np.int64)
    for k in range(valid.size):
        if valid[k]:
            stops[k] = window_end(data, offsets[k], offsets[k + 1], window)
    logits, probabilities = np.empty(count, np.float32), np.empty(count, np.float32)
    stack, stack_scores = np.empty(count + 2, np.int64), np.empty(count + 2, np.float32)
    scores[:] = np.nan
    for first in range(0, valid.size, _TEXTS_AT_ONCE):
        some = slice(first, first + _TEXTS_AT_ONCE)
        totals, row_counts = _sum_texts(data, offsets[some], stops[some], valid[some], model, cache)
        for k in range(row_counts.size):
            if row_counts[k] > 0:
                predict_all(totals[k], row_counts[k], logits, stack, stack_scores, probabilities, model)
                for i in range(wanted.size):
                    scores[first + k, i] = probabilities[wanted[i]]
