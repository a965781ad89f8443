"""The words of a text, and the cache of what their rows add up to."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from transforms.kernels.language.lanes import prefetch
from transforms.kernels.text.utf8 import bytes_equal, load_word

CACHED_BYTES = 32  # longest word that is cached: four 64-bit parts of its key
CACHE_SIZE = 32 << 20  # bytes; twice as much gains nothing
_LINE = 8  # 64-bit words in a line of the processor's caches
COUNTS, SUMS = 4, 8  # where a slot has them after its key, in 64-bit words


class WordCache(NamedTuple):
    """A direct-mapped cache of words' sums; a slot belongs to the last word that came to it.

    All of a slot is in neighbouring lines of memory: the word's bytes, zero-padded (no word has a zero byte); how many
    rows were added up, and the word's hash, for word n-grams, 32 bits each; the sum. One slot more is for words that
    are too long for a key.
    """

    memory: np.ndarray  # uint64 ((slots + 1) * stride)
    sums: np.ndarray  # float32, the same memory
    slots: int  # a power of two
    stride: int  # of a slot, in 64-bit words


def empty_cache(width: int) -> WordCache:
    """A cache of at most CACHE_SIZE bytes, and 16 slots at least, for sums of ``width`` columns."""
    stride = -(-(SUMS + width // 2) // _LINE) * _LINE
    slots = 1 << max(4, (CACHE_SIZE // (8 * stride)).bit_length() - 1)
    memory = np.zeros((slots + 1) * stride + _LINE, np.uint64)
    aligned = -(memory.ctypes.data // 8) % _LINE
    memory = memory[aligned : aligned + (slots + 1) * stride]
    return WordCache(memory, memory.view(np.float32), slots, stride)


@njit(cache=True, inline="always")
def _is_space(byte: int) -> bool:
    return byte <= 32 and (byte == 32 or byte == 0 or (9 <= byte <= 13))


@njit(cache=True, inline="always")
def _spaces_in(word: np.uint64) -> np.uint64:
    """0x80 in every byte that ``_is_space``, 0 in the others."""
    low_bits, high_bits = np.uint64(0x7F7F7F7F7F7F7F7F), np.uint64(0x8080808080808080)
    low = word & low_bits
    nine_or_more, fourteen_or_more = low + np.uint64(0x7777777777777777), low + np.uint64(0x7272727272727272)
    controls = nine_or_more & ~(fourteen_or_more | word)
    zeros = ~((low + low_bits) | word)
    return ((controls | zeros) & high_bits) | bytes_equal(word, np.uint64(0x2020202020202020))


@njit(cache=True, inline="always")
def _key_part(data: np.ndarray, place: np.uint64, end: np.uint64) -> tuple[np.uint64, np.uint64]:
    """The bytes before the next space or the end, eight at most, zero-padded; and how many they are."""
    eight = np.uint64(8)
    if place + eight <= np.uint64(data.size):
        word = load_word(data, np.int64(place))
    else:
        word = np.uint64(0)
        for i in range(place, end):
            word |= np.uint64(data[i]) << ((i - place) * eight)
    spaces = _spaces_in(word)
    if end - place < eight:
        spaces |= np.uint64(0x80) << ((end - place) * eight)
    if spaces == np.uint64(0):
        return word, eight
    before = ((spaces & (~spaces + np.uint64(1))) >> np.uint64(7)) - np.uint64(1)
    ones = before & np.uint64(0x0101010101010101)
    return word & before, (ones * np.uint64(0x0101010101010101)) >> np.uint64(56)


@njit(cache=True)
def find_words(
    data: np.ndarray, position: int, stop: int, cache: WordCache, found: np.ndarray, keys: np.ndarray
) -> tuple[np.int64, np.int64]:
    """Finds as many words of ``data[position:stop]`` as there is room for; returns how many, and where they end.

    Args:
      cache: its memory is asked for.
      found: int64 (words, 3), written: where a word starts and ends, and its slot.
      keys: uint64 (words, 4), written.
    """
    count, place, end = np.uint64(0), np.uint64(position), np.uint64(stop)  # unsigned as in _word_rows
    eight = np.uint64(8)
    memory, slots, stride = cache.memory, cache.slots, cache.stride
    while count < np.uint64(len(found)):
        while place < end and _is_space(data[place]):
            place += np.uint64(1)
        if place == end:
            break
        first = place
        key_1, key_2, key_3 = np.uint64(0), np.uint64(0), np.uint64(0)
        key_0, size = _key_part(data, place, end)
        place += size
        if size == eight:
            key_1, size = _key_part(data, place, end)
            place += size
            if size == eight:
                key_2, size = _key_part(data, place, end)
                place += size
                if size == eight:
                    key_3, size = _key_part(data, place, end)
                    place += size
                    while place < end and not _is_space(data[place]):
                        place += np.uint64(1)
        mixed = (key_0 ^ (key_1 * np.uint64(0x9E3779B97F4A7C15))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= (key_2 ^ (key_3 * np.uint64(0x9E3779B97F4A7C15))) * np.uint64(0x94D049BB133111EB)
        mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
        slot = np.int64(mixed >> np.uint64(40)) & (slots - 1)
        prefetch(memory, slot * stride)
        prefetch(memory, slot * stride + SUMS)
        found[count, 0], found[count, 1], found[count, 2] = first, place, slot
        keys[count, 0], keys[count, 1], keys[count, 2], keys[count, 3] = key_0, key_1, key_2, key_3
        count += np.uint64(1)
    return np.int64(count), np.int64(place)
