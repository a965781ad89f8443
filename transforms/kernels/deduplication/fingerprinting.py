"""Fingerprints of texts: a content hash, a MinHash signature and LSH band hashes, straight from Arrow's buffers.

**Shingles.** The text is folded and cut into words (`transforms.kernels.deduplication.folding`); every run of
``shingle_size`` words is a shingle, and a document is the set of its shingles.

**Short texts.** Of a text with few shingles these are stored themselves: sorted, distinct hashes of 32 bits. Two such
texts are compared exactly, but for collisions: one pair in 20,000 of 300 words has one, which counts as one common
shingle.

**Signature.** Fast Similarity Sketching (`transforms.kernels.deduplication.sketching`) fills bands * rows +
signature_size bins. The same bin of two documents agrees with probability J, their Jaccard similarity, without bias,
however short they are. The first bands * rows bins make the band hashes and the others give one byte each, so the
candidates and the estimate that verifies them come from different bins. ``docs/minhash.md`` compares this with the
other schemes.
"""

from __future__ import annotations

import itertools
import math
import unicodedata
from typing import NamedTuple, overload

import mmh3
import numpy as np
import pyarrow as pa

from schemas.columns import CONTENT_HASH_BYTES
from transforms.kernels.deduplication import folding, sketching
from transforms.kernels.deduplication.folding import MASK64, MULTIPLIER, mix64
from transforms.kernels.deduplication.options import MinHash

BAND_HASH_BYTES = 8
SHINGLE_BYTES = 4


def content_hashes(text: pa.StringArray | pa.LargeStringArray) -> pa.FixedSizeBinaryArray:
    """``Fingerprints.content_hash`` of n texts, at 2 GB/s a core and more: all that exact copies need."""
    offsets, data = offsets_and_data(text)
    return _fixed_size_binary(_content_hashes(data, offsets), CONTENT_HASH_BYTES, _validity(text))


class Fingerprints(NamedTuple):
    """Arrays of n rows. Null text is null in all; text with fewer words than a shingle has a content hash only.

    Attributes:
      content_hash: binary(16), MurmurHash3 x64 128, seed 0, of the whole text's bytes, as ``mmh3.hash_bytes``.
      signature: binary(signature_size), one byte a bin, of texts with more than ``listed_shingles``.
      shingles: binary, sorted distinct hashes of all shingles of the other texts, 4 bytes each, little-endian.
      bands: binary(8 * bands), one little-endian 64-bit hash a band.
    """

    content_hash: pa.FixedSizeBinaryArray
    signature: pa.FixedSizeBinaryArray
    shingles: pa.LargeBinaryArray
    bands: pa.FixedSizeBinaryArray


def fingerprint(
    text: pa.StringArray | pa.LargeStringArray, options: MinHash, words_held: int = sketching.WORDS_HELD
) -> Fingerprints:
    """What identifies each text and what is compared of it, at 130 to 150 MB/s a core, whatever its length.

    Args:
      text: n texts, valid UTF-8, already normalized; sliced, empty or null as they may be.
      options: how texts are compared.
      words_held: of how many words a text is read in pieces; never changes the result.

    Raises:
      TypeError: `text` is not an array of strings.
    """
    if not isinstance(text, pa.StringArray | pa.LargeStringArray):
        raise TypeError(f"text: must be a pyarrow array of string or large_string, not {getattr(text, 'type', text)!r}")
    table = folding.fold_table(options.fold_digits, options.fold_accents)
    valid = _validity(text)
    offsets, data = offsets_and_data(text)
    signatures, listed, counts, bands = sketching.fingerprint_texts(
        data,
        offsets,
        valid,
        table.codes,
        table.addends,
        table.powers,
        table.sequences,
        options.shingle_size,
        options.bands,
        options.rows,
        options.signature_size,
        options.listed_shingles,
        words_held,
    )
    return Fingerprints(
        _fixed_size_binary(_content_hashes(data, offsets), CONTENT_HASH_BYTES, valid),
        _fixed_size_binary(signatures, options.signature_size, counts < 0),
        _binary(listed.astype("<u4", copy=False), np.maximum(counts, 0) * SHINGLE_BYTES, counts > 0),
        _fixed_size_binary(bands.astype("<u8", copy=False), BAND_HASH_BYTES * options.bands, counts != 0),
    )


def estimate_similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Estimated Jaccard similarity of n pairs of documents, as ``sketches.similarities`` has it.

    The share m/k of equal bytes, without those that are equal by chance, one in 256: (m/k - 1/256) / (1 - 1/256).

    Args:
      a, b: uint8[n, signature_size], the signatures of the pairs' two sides.

    Returns:
      float32[n], 0 to 1. Unbiased but for the cut at 0.

    Raises:
      ValueError: the shapes differ or are not two-dimensional.
    """
    if a.ndim != 2 or a.shape != b.shape:
        raise ValueError(f"signatures: both sides must be [pairs, signature_size], not {a.shape} and {b.shape}")
    equal = np.count_nonzero(a == b, axis=1) / a.shape[1]
    return np.maximum((equal - 1 / 256) / (1 - 1 / 256), 0).astype(np.float32)


@overload
def s_curve(options: MinHash, similarity: float) -> float: ...
@overload
def s_curve(options: MinHash, similarity: np.ndarray) -> np.ndarray: ...
def s_curve(options: MinHash, similarity: float | np.ndarray) -> float | np.ndarray:
    """Probability that a pair at that similarity shares at least one bucket."""
    return 1 - (1 - similarity**options.rows) ** options.bands


def verification_curve(options: MinHash, min_similarity: float, similarity: float) -> float:
    """Probability that the estimate of a pair at that similarity reaches ``min_similarity``.

    Each of the signature's bytes agrees with probability s + (1 - s)/256, so their number is binomial.
    """
    size = options.signature_size
    needed = math.ceil(size * (min_similarity * (1 - 1 / 256) + 1 / 256) - 1e-3)
    agree = similarity + (1 - similarity) / 256
    if agree >= 1:
        return 1.0
    terms = (
        math.lgamma(size + 1) - math.lgamma(equal + 1) - math.lgamma(size - equal + 1)
        + equal * math.log(agree) + (size - equal) * math.log1p(-agree)
        for equal in range(needed, size + 1)
    )  # fmt: skip
    return min(1.0, math.fsum(map(math.exp, terms)))


def words_reference(text: str, options: MinHash) -> list[str]:
    """The words of a text, in order: slow and obvious."""
    words: list[str] = []
    word = ""
    word_is_unspaced = False
    folded = "".join(folding.fold_character(c, options.fold_digits, options.fold_accents) for c in text)
    for character in folded:
        is_mark = unicodedata.category(character)[0] == "M"
        alone = folding.is_unspaced(character) and not is_mark
        after_alone = word_is_unspaced and not is_mark
        if word and (alone or after_alone or not folding.is_word_character(character)):
            words.append(word)
            word = ""
        if not word:
            word_is_unspaced = alone
        if folding.is_word_character(character):
            word += character
    return [_with_sorted_marks(w) for w in [*words, word] if w]


def shingles_reference(text: str, options: MinHash) -> set[tuple[str, ...]]:
    """The set of shingles whose Jaccard similarity is estimated: slow and obvious."""
    words = words_reference(text, options)
    return {tuple(words[i : i + options.shingle_size]) for i in range(len(words) - options.shingle_size + 1)}


def sketch_reference(text: str, options: MinHash) -> tuple[bytes, bytes, bytes] | None:
    """Signature, listed shingles and bands that a text can have, None if it is too short: slow and obvious."""
    hashes = sorted({shingle_hash_reference(shingle) for shingle in shingles_reference(text, options)})
    if not hashes:
        return None
    t = options.bins
    sketch: list[int | None] = [None] * t
    for i in range(sketching.ROUNDS + t):
        throws = [mix64((h + i * sketching.ROUND_STEP) & MASK64) for h in hashes]
        for throw in throws:
            chosen = ((throw >> 32) * t) >> 32 if i < sketching.ROUNDS else i - sketching.ROUNDS
            value = i << sketching.VALUE_BITS | throw & ((1 << sketching.VALUE_BITS) - 1)
            smallest = sketch[chosen]
            if smallest is None or value < smallest:
                sketch[chosen] = value
    values = [value for value in sketch if value is not None]
    bands = b""
    for band in range(options.bands):
        band_hash = mix64(band)
        for value in values[band * options.rows : (band + 1) * options.rows]:
            band_hash = mix64((band_hash * MULTIPLIER + value) & MASK64)
        bands += band_hash.to_bytes(BAND_HASH_BYTES, "little")
    signature = bytes(value & 0xFF for value in values[options.bands * options.rows :])
    return signature, b"".join(value.to_bytes(SHINGLE_BYTES, "little") for value in hashes), bands


def word_hash_reference(word: str) -> int:
    """The hash of a folded word, unmixed: slow and obvious."""
    word_hash = 0
    for c in word:
        factor = 1 if unicodedata.combining(c) else MULTIPLIER
        word_hash = (word_hash * factor + folding.letter_hash(ord(c))) & MASK64
    return word_hash


def shingle_hash_reference(shingle: tuple[str, ...]) -> int:
    """The hash of a shingle of folded words, 32 bits: slow and obvious."""
    shingle_hash = 0
    for word in shingle:
        shingle_hash = (shingle_hash * MULTIPLIER + mix64(word_hash_reference(word))) & MASK64
    return mix64(shingle_hash) >> sketching.SHINGLE_BITS


def _with_sorted_marks(word: str) -> str:
    """The word with each run of combining marks in one order, whatever order they came in."""
    runs = itertools.groupby(word, lambda c: unicodedata.combining(c) != 0)
    return "".join("".join(sorted(run)) if combining else "".join(run) for combining, run in runs)


def _validity(array: pa.Array) -> np.ndarray:
    """bool[n], False where the array is null."""
    return array.is_valid().to_numpy(zero_copy_only=False)


def offsets_and_data(text: pa.StringArray | pa.LargeStringArray) -> tuple[np.ndarray, np.ndarray]:
    """int64[n + 1] and uint8[bytes]: text i is data[offsets[i]:offsets[i + 1]]. Not to be written to."""
    _, offset_buffer, data_buffer = text.buffers()
    offsets: np.ndarray
    width = np.int64 if pa.types.is_large_string(text.type) else np.int32
    if len(text) == 0 or offset_buffer is None:
        offsets = np.zeros(len(text) + 1, np.int64)
    else:
        offsets = np.frombuffer(offset_buffer, width, len(text) + 1, text.offset * np.dtype(width).itemsize)
        offsets = offsets.astype(np.int64)
    data = np.empty(0, np.uint8) if data_buffer is None else np.frombuffer(data_buffer, np.uint8)
    data.flags.writeable = False  # Arrow's buffers are now writable and now not; numba would compile for both
    return offsets, data


def _fixed_size_binary(values: np.ndarray, width: int, valid: np.ndarray) -> pa.FixedSizeBinaryArray:
    """An array of values of `width` bytes, null where not `valid`."""
    bitmap = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(valid), [bitmap, pa.py_buffer(values)])


def _content_hashes(data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """uint8[n, 16]. One call a document costs 0.2 µs more than hashing; compiled code would save under 1 % of a run."""
    view = memoryview(data)  # type: ignore[arg-type]  # numpy says so from version 2.3 on
    digests = [mmh3.mmh3_x64_128_digest(view[begin:end]) for begin, end in itertools.pairwise(offsets.tolist())]
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, CONTENT_HASH_BYTES)


def _binary(values: np.ndarray, lengths: np.ndarray, valid: np.ndarray) -> pa.LargeBinaryArray:
    """An array of values of different lengths (bytes), null where not `valid`."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    bitmap = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(pa.large_binary(), len(valid), [bitmap, pa.py_buffer(offsets), pa.py_buffer(values)])
