"""Fingerprints: equal to the slow references, blind to form, unbiased and as accurate as theory says."""

from __future__ import annotations

import itertools
import unicodedata

import mmh3
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transforms.kernels.deduplication import folding, sketching
from transforms.kernels.deduplication.fingerprinting import (
    estimate_similarity,
    fingerprint,
    s_curve,
    shingles_reference,
    sketch_reference,
    word_hash_reference,
    words_reference,
)
from transforms.kernels.deduplication.options import MAX_BINS, MinHash

SMALL = MinHash(shingle_size=2, bands=3, rows=2, signature_size=10)
WORDS_SMALL = MinHash(shingle_size=1, bands=2, rows=1, signature_size=20)
WORDS = MinHash(shingle_size=1)  # the shingles of a text are its words, so a set of shingles is easily made

# All of Unicode, with what the table treats differently made likely: separators, marks, unspaced scripts, expansions.
CHARACTERS = st.one_of(
    st.characters(exclude_categories=["Cs"]),
    st.sampled_from(" \n.-_'’abcABC019éÉßıİﬁﷺ½㎏㍿ſΣςᾴ각글ｶﾞガｱ゛漢字ไทยำខ្មែរﬔ་བོད"),
    st.sampled_from("\u0301\u0323\u0345\u3099\u200b\u00ad\u2065\uffa0"),
)
TEXTS = st.text(CHARACTERS, max_size=60)
PROSE = (
    "Das Ägyptische Museum, «so sagt man», öffnet um ½ 10 Uhr. L'été à Nîmes coûte 35 € – Ελλάδα και ΣΊΣΥΦΟΣ! "
    "Привет, мир: ещё раз. 東京タワーは高い。ガラスとパン. ภาษาไทยไม่เว้นวรรค "
    "हिन्दी में लिखा हुआ 한국어 문장입니다 số điện thoại"
)


def as_lists(text: list[str | None], options: MinHash) -> list[list[bytes | None]]:
    return [array.to_pylist() for array in fingerprint(pa.array(text, pa.string()), options)]


def signatures(text: list[str], options: MinHash) -> np.ndarray:
    """Stored, or made of the stored shingles."""
    found = fingerprint(pa.array(text, pa.string()), options)
    made = np.empty((len(text), options.signature_size), np.uint8)
    sketch = np.empty(options.bins, np.uint64)
    for row, (signature, shingles) in enumerate(
        zip(found.signature.to_pylist(), found.shingles.to_pylist(), strict=True)
    ):
        if signature is None:
            sketching.signature_of(np.frombuffer(shingles, np.uint32), sketch, made[row])
        else:
            made[row] = np.frombuffer(signature, np.uint8)
    return made


def expected_sketch(text: str | None, options: MinHash) -> tuple[bytes | None, bytes | None, bytes | None]:
    """Signature, shingles and bands as they should be stored."""
    made = None if text is None else sketch_reference(text, options)
    if text is None or made is None:
        return None, None, None
    signature, shingles, bands = made
    repeated = len(words_reference(text, options)) - options.shingle_size + 1
    return (None, shingles, bands) if repeated <= options.listed_shingles else (signature, None, bands)


def jaccard(a: set, b: set) -> float:
    return len(a & b) / len(a | b)


@given(st.lists(st.none() | TEXTS, max_size=4), st.booleans(), st.booleans(), st.integers(1, 4), st.integers(1, 30))
@example([PROSE, None, "", "a b"], False, False, 2, 10)
@example([PROSE, None, "", "a b"], True, True, 1, 200)
@settings(max_examples=150, deadline=None)
def test_equals_the_references(texts, fold_digits, fold_accents, shingle_size, signature_size):
    options = MinHash(
        shingle_size=shingle_size,
        bands=3,
        rows=2,
        signature_size=signature_size,
        fold_digits=fold_digits,
        fold_accents=fold_accents,
    )
    content_hash, *sketches = as_lists(texts, options)
    for i, text in enumerate(texts):
        assert content_hash[i] == (None if text is None else mmh3.hash_bytes(text))
        assert tuple(column[i] for column in sketches) == expected_sketch(text, options)


@given(st.text(st.sampled_from("ab "), min_size=200, max_size=600))
@settings(max_examples=20, deadline=None)
def test_repeated_shingles_count_once(text):
    """Few distinct shingles among many are found out and thrown once; the reference works on the set."""
    signature, shingles, bands = as_lists([text], SMALL)[1:]
    assert (signature[0], shingles[0], bands[0]) == expected_sketch(text, SMALL)


@given(st.lists(TEXTS, min_size=1, max_size=3), st.integers(1, 40), st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_a_text_read_in_pieces_is_as_one_read_whole(texts, repeats, cut):
    """Pieces of some dozen words, which end anywhere: in a word, before its marks, within what one letter folds to."""
    options = MinHash(shingle_size=3, bands=2, rows=2, signature_size=1)
    texts = [(text * repeats)[cut % (1 + len(text)) :] for text in texts]
    array = pa.array(texts, pa.string())
    assert fingerprint(array, options, words_held=1) == fingerprint(array, options)
    for i, text in enumerate(texts):
        stored = tuple(column[i].as_py() for column in fingerprint(array, options, words_held=1)[1:])
        assert stored == expected_sketch(text, options)


def test_every_code_point_is_folded_as_the_reference_says():
    """The table against the definition, for each assigned code point between two letters."""
    options = MinHash(shingle_size=1, bands=1, rows=1, signature_size=1)
    table = folding.fold_table()
    words = np.empty(64, np.uint64)
    rng = np.random.default_rng(1)
    special = np.flatnonzero(~np.isin(table.codes & folding.KIND_MASK, [folding.SEPARATOR, folding.UNSPACED]))
    chosen = itertools.chain(
        special[special < 0xAC00], rng.integers(0, 0xD800, 1000), rng.integers(0xE000, 0x110000, 1000)
    )
    for code_point in chosen:
        text = f"a{chr(code_point)}b"
        data = np.frombuffer(text.encode(), np.uint8)
        state = np.zeros(5, np.uint64)
        n = sketching.hash_words(
            data, 0, len(data), table.codes, table.addends, table.powers, table.sequences, state, words, 0
        )
        words[n] = state[0]
        n += state[1] != folding.SEPARATOR
        expected = words_reference(text, options)
        assert words[:n].tolist() == [word_hash_reference(word) for word in expected], f"U+{code_point:04X}"
        assert n <= 2 * len(data), f"U+{code_point:04X}: the buffer for words would be too small"


def test_folding_is_a_fixed_point():
    for code_point in itertools.chain(range(0xD800), range(0xE000, 0x32400)):
        folded = folding.fold_character(chr(code_point))
        assert "".join(map(folding.fold_character, folded)) == folded, f"U+{code_point:04X}"


def test_words():
    assert words_reference("The 2nd cafe\u0301, d’été_1", MinHash()) == [
        "the",
        "2nd",
        "cafe\u0301",
        "d",
        "e\u0301te\u0301",
        "1",
    ]
    assert words_reference("ab漢字cd", MinHash()) == ["ab", "漢", "字", "cd"]
    assert words_reference("ガラ", MinHash()) == ["カ\u3099", "ラ"]
    assert words_reference("ที่", MinHash()) == ["ที่"]
    assert words_reference("हिन्दी में", MinHash()) == ["हिन्दी", "में"]
    assert words_reference("soft\u00adhyphen zero\u200bwidth", MinHash()) == ["softhyphen", "zerowidth"]
    assert words_reference("12 ３٤", MinHash(fold_digits=True)) == ["00", "00"]
    assert words_reference("É cafe\u0301", MinHash(fold_accents=True)) == ["e", "cafe"]


def test_shingles_are_a_set_of_runs_of_words():
    assert shingles_reference("a b a b a", SMALL) == {("a", "b"), ("b", "a")}
    assert shingles_reference("a", SMALL) == set()


@pytest.mark.parametrize(
    "variant",
    [
        pytest.param(str.upper, id="upper case"),
        pytest.param(str.swapcase, id="swapped case"),
        pytest.param(lambda t: unicodedata.normalize("NFC", t), id="NFC"),
        pytest.param(lambda t: unicodedata.normalize("NFD", t), id="NFD"),
        pytest.param(lambda t: unicodedata.normalize("NFKC", t), id="NFKC"),
        pytest.param(lambda t: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in t), id="full width"),
        pytest.param(lambda t: t.replace("ガラスとパン", "ｶﾞﾗｽとﾊﾟﾝ"), id="half width"),
        pytest.param(lambda t: t.replace("'", "’").replace("«", "“").replace("»", "”"), id="quotes"),
        pytest.param(lambda t: "\n \u00a0" + t.replace(" ", " \t\u3000\n") + "\r\n", id="white space"),
        pytest.param(lambda t: "\u200b".join(t) + "\ufeff", id="zero width"),
        pytest.param(lambda t: t.replace(",", ";").replace(".", " … "), id="punctuation"),
    ],
)  # fmt: skip
def test_form_does_not_count(variant):
    options = MinHash()
    changed = variant(PROSE)
    content_hash, _, shingles, bands = as_lists([PROSE, changed], options)
    assert (content_hash[0] == content_hash[1]) == (changed == PROSE)
    assert shingles[0] == shingles[1] is not None
    assert bands[0] == bands[1] is not None


@given(TEXTS)
@settings(max_examples=150, deadline=None)
def test_compatibility_forms_of_normalized_text_agree(text):
    normalized = unicodedata.normalize("NFC", text)
    for column in as_lists([normalized, unicodedata.normalize("NFKC", normalized)], WORDS_SMALL)[1:]:
        assert column[0] == column[1]


def test_content_differs_where_words_do():
    options = MinHash(shingle_size=1)
    _, _, shingles, bands = as_lists(["a b", "b a", "ab", "a b c", "a 1", "a 2", "cafe", "café"], options)
    assert shingles[0] == shingles[1]  # a set of single words
    assert len(set(shingles)) == len(set(bands)) == 7
    digits = as_lists(["a 1", "a 2"], MinHash(shingle_size=1, fold_digits=True))[2]
    accents = as_lists(["cafe", "café"], MinHash(shingle_size=1, fold_accents=True))[2]
    assert digits[0] == digits[1]
    assert accents[0] == accents[1]
    _, _, ordered, _ = as_lists(["a b", "b a"], SMALL)
    assert ordered[0] != ordered[1]


@pytest.mark.parametrize("string_type", [pa.string(), pa.large_string()])
def test_slices_and_order_do_not_matter(string_type):
    texts = [None, PROSE, "", "too short", PROSE[50:], None, PROSE * 20, "one two three four five"]
    whole = pa.array(texts, string_type)
    options = MinHash()
    expected = [array.to_pylist() for array in fingerprint(whole, options)]
    assert [v is None for v in expected[0]] == [t is None for t in texts]
    assert [v is None for v in expected[1]] == [True, True, True, True, True, True, False, True]
    assert [v is None for v in expected[2]] == [True, False, True, True, False, True, True, False]
    assert [v is None for v in expected[3]] == [True, False, True, True, False, True, False, False]
    for begin, end in itertools.combinations(range(len(texts) + 1), 2):
        for whole_column, part in zip(expected, fingerprint(whole.slice(begin, end - begin), options), strict=True):
            part.validate(full=True)
            assert part.to_pylist() == whole_column[begin:end]
    backwards = fingerprint(pa.array(texts[::-1], string_type), options)
    assert [array.to_pylist()[::-1] for array in backwards] == expected


@pytest.mark.parametrize("texts", [[], [None], [None] * 9, [""], ["", None]])
def test_nothing_to_fingerprint(texts):
    for array in (pa.array(texts, pa.string()), pa.array([*texts, "x"], pa.string()).slice(0, len(texts))):
        content_hash, signature, shingles, bands = fingerprint(array, MinHash())
        assert content_hash.to_pylist() == [None if t is None else mmh3.hash_bytes(t) for t in texts]
        assert signature.to_pylist() == shingles.to_pylist() == bands.to_pylist() == [None] * len(texts)
        assert (content_hash.type, signature.type, bands.type) == (pa.binary(16), pa.binary(256), pa.binary(112))
        assert shingles.type == pa.large_binary()


def test_all_of_a_long_text_counts():
    """Two texts of 200,000 words that share half of their shingles: at the beginning, at the end, in the middle."""
    numbers = np.random.default_rng(0).integers(0, 2**40, 400_000).tolist()
    words = [f"w{n}" for n in numbers]
    whole = " ".join(words[:200_000])
    for other in (
        words[:134_000] + words[200_000:266_000],
        words[200_000:266_000] + words[66_000:200_000],
        words[200_000:233_000] + words[33_000:167_000] + words[233_000:266_000],
    ):
        a, b = signatures([whole, " ".join(other)], MinHash())
        assert estimate_similarity(a[None], b[None])[0] == pytest.approx(134 / 266, abs=4 * 0.5 / 16)


def test_one_shingle_repeated_half_a_million_times_is_no_trap():
    signature, shingles, bands = as_lists(["a " * 500_000], MinHash())[1:]
    assert (shingles[0], bands) == (None, as_lists(["a a a a a"], MinHash())[3])
    assert signature[0] == signatures(["a a a a a"], MinHash())[0].tobytes()


def test_a_long_text_without_words_or_with_a_single_one():
    for text in ("-" * 500_000, "a" * 500_000, "\u0301" * 250_000, "語" * 4, "。" * 300_000):
        assert as_lists([text], MinHash())[1:] == [[None]] * 3


def test_bytes_that_are_not_utf8_read_nothing_beyond_the_text():
    """Upstream refuses such text; a kernel must still not read past its end."""
    for tail in (b"\xc3", b"\xe6\xbc", b"\xf0\x9f\x98", b"\xff\xff\xff\xff", b"\x80"):
        cut = pa.StringArray.from_buffers(
            2,
            pa.py_buffer(np.array([0, 2 + len(tail), 4 + len(tail)], np.int32)),
            pa.py_buffer(b"a " + tail + b"\xbcz"),
        )
        assert fingerprint(cut, SMALL)[0].to_pylist()[0] == mmh3.hash_bytes(b"a " + tail)


def pairs_of_documents(similarity: float, union: int, pairs: int, seed: int) -> tuple[list[str], list[str], float]:
    """Pairs of texts of single-word shingles, `union` in both together, at the nearest Jaccard similarity there is."""
    rng = np.random.default_rng(seed)
    common = min(round(similarity * union), union - 1)
    left, right = [], []
    for _ in range(pairs):
        words = [f"w{v}" for v in rng.choice(2**40, union, replace=False)]
        alone = words[common:]
        left.append(" ".join(words[:common] + alone[: len(alone) // 2]))
        right.append(" ".join(words[:common] + alone[len(alone) // 2 :]))
    return left, right, common / union


@pytest.mark.parametrize("union", [6, 12, 25, 40, 500])
def test_estimates_are_unbiased_and_as_accurate_as_theory(union):
    """For each decile of similarity: bias within three standard errors, error at most 10 % over independent hashes."""
    pairs = 400
    k = WORDS.signature_size
    ratios = []
    for decile in range(1, 10):
        left, right, similarity = pairs_of_documents((decile + 0.5) / 10, union, pairs, seed=decile)
        estimates = estimate_similarity(signatures(left, WORDS), signatures(right, WORDS)).astype(np.float64)
        agreement = similarity + (1 - similarity) / 256
        theory = np.sqrt(agreement * (1 - agreement) / k) / (1 - 1 / 256)
        errors = estimates - similarity
        assert abs(errors.mean()) < 3 * theory / np.sqrt(pairs), f"bias at {similarity}"
        ratios.append(np.sqrt((errors**2).mean()) / theory)
        # What 400 pairs show of the error scatters by 3.5 % around it.
        assert ratios[-1] < 1.1 + 2 * 0.035, f"error at {similarity}"
    assert 0.5 < np.mean(ratios) < 1.05  # without replacement, so that long documents do better than theory


@pytest.mark.parametrize("union", [10, 200])
def test_buckets_are_shared_as_the_s_curve_says(union):
    pairs = 500
    for similarity in (0.5, 0.7, 0.8, 0.9):
        left, right, actual = pairs_of_documents(similarity, union, pairs, seed=7)
        bands = [
            np.frombuffer(fingerprint(pa.array(side), WORDS).bands.buffers()[1], "<u8").reshape(pairs, -1)
            for side in (left, right)
        ]
        share = (bands[0] == bands[1]).any(axis=1).mean()
        expected = s_curve(WORDS, actual)
        assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / pairs) + 0.02


def test_disjoint_documents_are_estimated_at_nothing():
    left, right, _ = pairs_of_documents(0, 40, 300, seed=3)
    a, b = signatures(left, WORDS), signatures(right, WORDS)
    assert estimate_similarity(a, b).max() < 0.03
    assert abs((a == b).mean() - 1 / 256) < 4 * np.sqrt(1 / 256 / a.size)


def test_real_shingles_are_estimated():
    """The estimate is of the similarity that the reference's shingles have."""
    changed = PROSE.replace("Museum", "Haus").replace("раз", "два")
    options = MinHash(signature_size=2048)
    true = jaccard(shingles_reference(PROSE, options), shingles_reference(changed, options))
    a, b = signatures([PROSE, changed], options)
    assert 0.5 < true < 0.95
    assert estimate_similarity(a[None], b[None])[0] == pytest.approx(true, abs=4 * np.sqrt(true * (1 - true) / 2048))


def test_estimate_similarity():
    a = np.zeros((3, 256), np.uint8)
    b = a.copy()
    b[1, :] = 1
    b[2, :128] = 1
    estimates = estimate_similarity(a, b)
    assert estimates.dtype == np.float32
    np.testing.assert_allclose(estimates, [1, 0, (0.5 - 1 / 256) / (255 / 256)], rtol=1e-6)
    assert estimate_similarity(a[:0], b[:0]).shape == (0,)
    with pytest.raises(ValueError, match="signature_size"):
        estimate_similarity(a, b[:2])
    with pytest.raises(ValueError, match="signature_size"):
        estimate_similarity(a[0], b[0])


def test_s_curve():
    assert s_curve(MinHash(), 0.8) == pytest.approx(0.9236, abs=1e-4)
    np.testing.assert_allclose(s_curve(MinHash(bands=1, rows=2), np.array([0, 0.5, 1])), [0, 0.25, 1])


@pytest.mark.parametrize("name", ["shingle_size", "bands", "rows", "signature_size"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "5", True, None])
def test_numbers_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=f"^{name}: "):
        MinHash(**{name: value})


@pytest.mark.parametrize("name", ["fold_digits", "fold_accents"])
def test_what_is_not_a_truth_value_is_refused(name):
    with pytest.raises(ValueError, match=f"^{name}: "):
        MinHash(**{name: 1})


def test_too_many_bins_are_refused():
    MinHash(bands=1, rows=1, signature_size=MAX_BINS - 1)
    with pytest.raises(ValueError, match="signature_size"):
        MinHash(bands=1, rows=1, signature_size=MAX_BINS)


def test_what_is_not_text_is_refused():
    for wrong in (pa.array([1]), pa.array([b"a"]), pa.array(["a"]).dictionary_encode(), ["a"]):
        with pytest.raises(TypeError, match="text"):
            fingerprint(wrong, MinHash())
