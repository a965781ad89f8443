from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import models, normalizers, pre_tokenizers, trainers

from beam_pipeline.training import train_tokenizer
from transforms.kernels.tokenization import engines as tokenizer_engines
from transforms.kernels.tokenization.disputed_code_points import disputed_code_points, documents_holding
from transforms.kernels.tokenization.engines import Bytes, Ids, Offsets
from transforms.kernels.tokenization.tokenizer import Conformance, Tokenizer, _text_buffers, encode_reference

CORPUS = [
    "The quick brown fox doesn't jump over 1234 lazy dogs.\n\n  It can't.",
    "Der schnelle braune Fuchs springt über den faulen Hund, größer als zuvor.",
    "Быстрая коричневая лиса прыгает через ленивую собаку.",
    "敏捷的棕色狐狸跳过了懒狗。素早い茶色の狐。",
    "तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर कूदती है।",
    "[CLS] the [SEP] </s> the control words of others <|endoftext|>",
] * 8
SPECIAL = "<|endoftext|>"
NEW_IN_UNICODE_17 = "\U0003288e"  # a letter to one engine, nothing to the other
NEW_IN_UNICODE_15 = "\U0001fa77"


def edit(data: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    definition = json.loads(data)
    change(definition)
    return json.dumps(definition).encode()


def added(identifier: int, content: str, *, special: bool) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": identifier, "content": content, "special": special, **flags}


def trained(model: Any, trainer: Any, pre_tokenizer: Any) -> bytes:
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.train_from_iterator(CORPUS, trainer)
    return str(tokenizer.to_str()).encode()


BYTE_LEVEL = train_tokenizer(iter(CORPUS), 500, [SPECIAL])
WITH_NFC = edit(BYTE_LEVEL, lambda d: d.update(normalizer={"type": "NFC"}))
WITH_PLAIN_ADDED_TOKEN = edit(BYTE_LEVEL, lambda d: d["added_tokens"].append(added(500, "<tool>", special=False)))
WORD_PIECE = trained(
    models.WordPiece(unk_token="[UNK]"),
    trainers.WordPieceTrainer(vocab_size=400, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False),
    pre_tokenizers.WhitespaceSplit(),
)
UNIGRAM = trained(
    models.Unigram(),
    trainers.UnigramTrainer(
        vocab_size=200, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False
    ),
    pre_tokenizers.Metaspace(),
)
WORD_LEVEL = trained(
    models.WordLevel(unk_token="[UNK]"),
    trainers.WordLevelTrainer(special_tokens=["[UNK]", "[CLS]"], show_progress=False),
    pre_tokenizers.WhitespaceSplit(),
)
ALL = {"byte-level": BYTE_LEVEL, "nfc": WITH_NFC, "added": WITH_PLAIN_ADDED_TOKEN} | {
    "word-piece": WORD_PIECE,
    "unigram": UNIGRAM,
    "word-level": WORD_LEVEL,
}
FAST = ["byte-level", "nfc", "added"]


def plain_tokenizers(data: bytes, text: str) -> list[int]:
    """What anybody gets from `tokenizers`, special tokens encoded as text."""
    tokenizer = tokenizers.Tokenizer.from_buffer(data)
    tokenizer.encode_special_tokens = True
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


def calibrated(data: bytes, **options: Any) -> Tokenizer:
    tokenizer = Tokenizer.from_json(data, **options)
    tokenizer.calibrate(pa.array(CORPUS))
    return tokenizer


CALIBRATED = {name: calibrated(data) for name, data in ALL.items()}
PIECES = st.one_of(
    st.text(max_size=8),
    st.sampled_from([SPECIAL, "<tool>", "[CLS]", "</s>", " ", "\n\n", "can't", "e\u0301", NEW_IN_UNICODE_17, "\u1df6"]),
    st.sampled_from(CORPUS),
)
TEXTS = st.lists(PIECES, max_size=5).map("".join)


class WrongEngine:
    """The fast engine with one wrong id in one document."""

    def __init__(self, engine: Any, document: int) -> None:
        self.engine, self.document = engine, document

    def encode(self, data: Bytes, offsets: Offsets) -> tuple[Ids, Offsets]:
        ids, bounds = self.engine.encode(data, offsets)
        ids = ids.copy()
        if len(offsets) - 1 == len(CORPUS):
            ids[bounds[self.document]] ^= 1
        return ids, bounds


class TestEncode:
    @pytest.mark.parametrize("name", ALL)
    def test_engine(self, name: str) -> None:
        assert CALIBRATED[name].engine == ("gigatoken" if name in FAST else "tokenizers")

    @pytest.mark.parametrize("name", ALL)
    @settings(max_examples=40, deadline=None)
    @given(texts=st.lists(st.none() | TEXTS, max_size=6), cut=st.integers(0, 3))
    @example(texts=[f"a{NEW_IN_UNICODE_17}.", "ab", f" {NEW_IN_UNICODE_17}1", None, ""], cut=1)
    @example(texts=[f"<tool>{SPECIAL}</s>[CLS]", "a\u0301\u0327\u1df6\u0301"], cut=0)
    def test_ids_are_those_of_the_reference(self, name: str, texts: list[str | None], cut: int) -> None:
        expected = [None if text is None else encode_reference(ALL[name], text) for text in texts][cut:]
        for kind in (pa.string(), pa.large_string()):
            encoded = CALIBRATED[name].encode(pa.array(texts, kind).slice(cut))
            encoded.validate(full=True)
            assert encoded.type == pa.list_(pa.uint16())
            assert encoded.to_pylist() == expected

    @pytest.mark.parametrize("name", ALL)
    @settings(max_examples=25, deadline=None)
    @given(text=st.lists(st.text(max_size=9) | st.sampled_from(CORPUS[:5])).map("".join))
    def test_reference_is_plain_tokenizers_on_text_without_control_tokens(self, name: str, text: str) -> None:
        assert encode_reference(ALL[name], text) == plain_tokenizers(ALL[name], text)

    @pytest.mark.parametrize("name", ALL)
    def test_text_never_becomes_a_control_token(self, name: str) -> None:
        definition = json.loads(ALL[name])
        unknown = {"[UNK]", "<unk>"}
        control = {t["content"]: t["id"] for t in definition["added_tokens"] if t["special"]}
        text = " ".join(f"a {token} {token}{token}b x{token}" for token in control)
        ids = {*CALIBRATED[name].encode(pa.array([text]))[0].as_py(), *encode_reference(ALL[name], text)}
        assert not ids & {identifier for token, identifier in control.items() if token not in unknown}

    def test_a_control_token_that_merges_lead_to_stays_text(self) -> None:
        vocabulary = json.loads(BYTE_LEVEL)["model"]["vocab"]
        word, identifier = max(((w, i) for w, i in vocabulary.items() if w.isalpha()), key=lambda item: len(item[0]))
        data = edit(BYTE_LEVEL, lambda d: d["added_tokens"].append(added(identifier, word, special=True)))
        text = tokenizers.Tokenizer.from_buffer(BYTE_LEVEL).decode([identifier])
        assert identifier in plain_tokenizers(BYTE_LEVEL, text)
        tokenizer = calibrated(data)
        ids = tokenizer.encode(pa.array([text]))[0].as_py()
        assert identifier not in ids
        assert ids == encode_reference(data, text)
        assert tokenizers.Tokenizer.from_buffer(BYTE_LEVEL).decode(ids) == text

    @pytest.mark.parametrize("name", ALL)
    def test_does_not_depend_on_batches(self, name: str) -> None:
        texts = pa.array([*CORPUS, f"x{NEW_IN_UNICODE_17}y", "", "end"])
        whole = CALIBRATED[name].encode(texts).to_pylist()
        assert [CALIBRATED[name].encode(texts.slice(i, 1))[0].as_py() for i in range(len(texts))] == whole

    def test_ignores_template_truncation_padding_and_dropout(self) -> None:
        def spoil(definition: dict[str, Any]) -> None:
            definition["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
            definition["padding"] = {"strategy": {"Fixed": 99}, "direction": "Right", "pad_to_multiple_of": None}
            definition["padding"] |= {"pad_id": 0, "pad_type_id": 0, "pad_token": SPECIAL}
            single = [{"SpecialToken": {"id": SPECIAL, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
            tokens = {SPECIAL: {"id": SPECIAL, "ids": [0], "tokens": [SPECIAL]}}
            template = {"type": "TemplateProcessing", "single": single, "pair": single, "special_tokens": tokens}
            definition["post_processor"] = template
            definition["model"]["dropout"] = 0.5

        data = edit(BYTE_LEVEL, spoil)
        expected = [plain_tokenizers(BYTE_LEVEL, text) for text in CORPUS]
        assert [encode_reference(data, text) for text in CORPUS] == expected
        slow, fast = Tokenizer.from_json(data, allow_fast=False), calibrated(data)
        assert fast.engine == "gigatoken"
        assert slow.encode(pa.array(CORPUS)).to_pylist() == fast.encode(pa.array(CORPUS)).to_pylist() == expected

    def test_nothing_in_nothing_out(self) -> None:
        for tokenizer in CALIBRATED.values():
            for texts in ([], [None, None], ["", None, ""]):
                expected = [None if text is None else [] for text in texts]
                assert tokenizer.encode(pa.array(texts, pa.string())).to_pylist() == expected

    def test_what_lies_under_a_null_is_not_encoded(self) -> None:
        under = pa.array(["abc", "def"])
        buffers = [pa.py_buffer(b"\x01"), *under.buffers()[1:]]
        assert (
            CALIBRATED["byte-level"].encode(pa.StringArray.from_buffers(2, *buffers[1:], buffers[0]))[1].as_py() is None
        )
        texts = pa.StringArray.from_buffers(2, buffers[1], buffers[2], buffers[0])
        assert len(CALIBRATED["byte-level"].encode(texts).values) == len(encode_reference(BYTE_LEVEL, "abc"))

    @pytest.mark.parametrize("options", [{"bos": SPECIAL}, {"eos": SPECIAL}, {"bos": SPECIAL, "eos": "a"}])
    @pytest.mark.parametrize("name", ["byte-level", "unigram"])
    def test_bos_and_eos(self, name: str, options: dict[str, str]) -> None:
        options = {k: v if name == "byte-level" else {SPECIAL: "</s>", "a": "<s>"}[v] for k, v in options.items()}
        plain = tokenizers.Tokenizer.from_buffer(ALL[name])
        before, after = ([plain.token_to_id(options[k])] if k in options else [] for k in ("bos", "eos"))
        texts = ["one two", None, "", "three"]
        expected = [None if text is None else before + encode_reference(ALL[name], text) + after for text in texts]
        assert calibrated(ALL[name], **options).encode(pa.array(texts)).to_pylist() == expected

    @pytest.mark.parametrize("setting", ["bos", "eos"])
    def test_refuses_a_bos_or_eos_it_does_not_know(self, setting: str) -> None:
        with pytest.raises(ValueError, match=rf"{setting}: '<nowhere>'"):
            Tokenizer.from_json(BYTE_LEVEL, **{setting: "<nowhere>"})

    @pytest.mark.parametrize("data", [b"", b"[1]", b"{}", b'{"model": {}}', b"\xff", BYTE_LEVEL[:-9]])
    def test_refuses_what_is_not_a_tokenizer(self, data: bytes) -> None:
        with pytest.raises(ValueError, match=r"not a Hugging Face tokenizer\.json"):
            Tokenizer.from_json(data)

    def test_reference_sub_batches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = CALIBRATED["unigram"].encode(pa.array(CORPUS))
        monkeypatch.setattr(tokenizer_engines, "REFERENCE_BATCH_BYTES", 150)
        assert CALIBRATED["unigram"].encode(pa.array(CORPUS)).equals(whole)

    def test_fast_engine_is_made_anew_when_it_has_grown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tokenizer = calibrated(BYTE_LEVEL)
        whole, first = tokenizer.encode(pa.array(CORPUS)), tokenizer._fast._engine
        assert tokenizer._fast._engine is first
        monkeypatch.setattr(tokenizer_engines, "FAST_CACHE_BYTES", -1)
        assert tokenizer.encode(pa.array(CORPUS)).equals(whole)
        assert tokenizer._fast._engine is not first

    def test_ids_are_not_copied_without_need(self) -> None:
        wide = calibrated(edit(BYTE_LEVEL, lambda d: d["added_tokens"].append(added(500, "<x>", special=True))))
        wide.id_type, wide._id_dtype = pa.uint32(), np.uint32
        seen: list[Ids] = []
        engine = wide._fast

        class Watch:
            def encode(self, data: Bytes, offsets: Offsets) -> tuple[Ids, Offsets]:
                seen.append(engine.encode(data, offsets)[0])
                return seen[0], engine.encode(data, offsets)[1]

        wide._fast = Watch()
        assert wide.encode(pa.array(CORPUS)).values.buffers()[1].address == seen[0].ctypes.data


class TestDescription:
    def test_size_and_type(self) -> None:
        tokenizer = CALIBRATED["added"]
        assert (tokenizer.vocab_size, tokenizer.id_type) == (501, pa.uint16())
        assert tokenizer.sha256 == hashlib.sha256(WITH_PLAIN_ADDED_TOKEN).hexdigest()

    @pytest.mark.parametrize(("size", "expected"), [(2**16, pa.uint16()), (2**16 + 1, pa.uint32())])
    def test_sixteen_bits_if_every_id_fits(self, size: int, expected: pa.DataType) -> None:
        vocabulary = {"[UNK]": 0, "last": size - 1}
        model = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"}
        data = edit(WORD_LEVEL, lambda d: d.update(model=model, added_tokens=[]))
        tokenizer = Tokenizer.from_json(data)
        assert (tokenizer.vocab_size, tokenizer.id_type) == (size, expected)
        assert tokenizer.encode(pa.array(["last"])).to_pylist() == [[size - 1]]


class TestCalibrate:
    def test_the_reference_works_until_equality_was_seen(self) -> None:
        tokenizer = Tokenizer.from_json(BYTE_LEVEL)
        assert tokenizer.engine == "tokenizers"
        assert "not been compared" in tokenizer.engine_reason
        tokenizer._fast = WrongEngine(tokenizer._fast, 0)
        assert tokenizer.encode(pa.array(CORPUS))[0].as_py() == encode_reference(BYTE_LEVEL, CORPUS[0])

    def test_equality_switches_to_the_fast_engine(self) -> None:
        tokenizer = Tokenizer.from_json(BYTE_LEVEL)
        found = tokenizer.calibrate(pa.array([*CORPUS, None]))
        assert (found.engine, found.documents, found.differing) == ("gigatoken", len(CORPUS), 0)
        assert found.bytes == sum(len(text.encode()) for text in CORPUS)
        assert tokenizer.engine == "gigatoken"
        assert f"{len(CORPUS)} documents" in tokenizer.engine_reason

    @pytest.mark.parametrize("document", [0, len(CORPUS) - 1])
    def test_one_wrong_id_switches_to_the_reference(self, document: int, caplog: pytest.LogCaptureFixture) -> None:
        tokenizer = Tokenizer.from_json(BYTE_LEVEL)
        tokenizer._fast = WrongEngine(tokenizer._fast, document)
        with caplog.at_level(logging.WARNING):
            found = tokenizer.calibrate(pa.array(CORPUS))
        assert (found.engine, found.differing, tokenizer.engine) == ("tokenizers", 1, "tokenizers")
        assert "different ids for 1" in caplog.text
        assert "different ids for 1" in tokenizer.engine_reason
        assert tokenizer.encode(pa.array(CORPUS)).equals(CALIBRATED["byte-level"].encode(pa.array(CORPUS)))
        assert tokenizer.calibrate(pa.array(CORPUS)).engine == "tokenizers"

    def test_an_added_token_treated_differently_is_found_without_being_in_the_sample(self) -> None:
        token = added(500, "<tool>", special=False) | {"lstrip": True, "rstrip": True, "single_word": True}
        data = edit(BYTE_LEVEL, lambda d: d["added_tokens"].append(token))
        tokenizer = calibrated(data)
        for text in ("a <tool> b", "a<tool>b", "<tool>"):
            assert tokenizer.encode(pa.array([text]))[0].as_py() == encode_reference(data, text)

        class Blind:
            def encode(self, data: Bytes, offsets: Offsets) -> tuple[Ids, Offsets]:
                return CALIBRATED["byte-level"]._fast.encode(data, offsets)

        tokenizer = Tokenizer.from_json(data)
        tokenizer._fast = Blind()
        assert tokenizer.calibrate(pa.array(CORPUS)).engine == "tokenizers"

    def test_a_sample_with_nothing_to_compare_shows_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        for sample in ([], [None], [NEW_IN_UNICODE_17]):
            tokenizer = Tokenizer.from_json(BYTE_LEVEL)
            found = tokenizer.calibrate(pa.array(sample, pa.string()))
            assert (found.engine, found.documents, tokenizer.engine) == ("tokenizers", 0, "tokenizers")
        assert "no document to compare" in caplog.text

    def test_sample_hash_is_that_of_the_documents(self) -> None:
        hashes = [
            Tokenizer.from_json(BYTE_LEVEL).calibrate(pa.array(sample)).sample_sha256
            for sample in (["ab", "c"], ["x", "ab", None, "c"], ["a", "bc"])
        ]
        sliced = Tokenizer.from_json(BYTE_LEVEL).calibrate(pa.array(["x", "ab", None, "c"]).slice(1)).sample_sha256
        assert hashes[0] == sliced
        assert len({*hashes}) == 3

    def test_without_a_fast_engine(self) -> None:
        for name in ("word-piece", "unigram", "word-level"):
            tokenizer = Tokenizer.from_json(ALL[name])
            assert "gigatoken can't" in tokenizer.engine_reason
            assert tokenizer.calibrate(pa.array(CORPUS)).documents == 0
        off = Tokenizer.from_json(BYTE_LEVEL, allow_fast=False)
        assert off.calibrate(pa.array(CORPUS)).engine == "tokenizers"
        assert off.engine_reason == "the fast engine is switched off"

    def test_a_worker_adopts_what_the_driver_found(self) -> None:
        found = Tokenizer.from_json(BYTE_LEVEL).calibrate(pa.array(CORPUS))
        worker = Tokenizer.from_json(BYTE_LEVEL)
        worker.adopt(found)
        assert worker.engine == "gigatoken"
        worker.adopt(dataclasses.replace(found, engine="tokenizers", differing=1))
        assert worker.engine == "tokenizers"
        for change in ({"tokenizer_sha256": "0"}, {"versions": "gigatoken 0.0.0"}):
            with pytest.raises(ValueError, match="conformance"):
                Tokenizer.from_json(BYTE_LEVEL).adopt(dataclasses.replace(found, **change))
        assert isinstance(found, Conformance)


class TestDisputedCodePoints:
    @settings(deadline=None)
    @given(st.lists(st.text(max_size=80) | st.sampled_from(["a" * 100, "ä" * 40, NEW_IN_UNICODE_15, "\ufffe"])))
    def test_finds_unassigned_code_points(self, texts: list[str]) -> None:
        texts = [*texts, "".join(texts), "x" * 70 + "".join(texts)]
        expected = [any(unicodedata.category(character) == "Cn" for character in text) for text in texts]
        data, offsets = _text_buffers(pa.array(texts))
        assert documents_holding(data, offsets, disputed_code_points(())).tolist() == expected

    def test_every_code_point(self) -> None:
        characters = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
        data, offsets = _text_buffers(pa.array(characters))
        found = documents_holding(data, offsets, disputed_code_points(()))
        assert found.tolist() == [unicodedata.category(character) == "Cn" for character in characters]
        assert found[ord("\ufffe") - 0x800] and not found[ord("a")]

    def test_holds_what_the_reference_normalizes_by_older_tables(self) -> None:
        plain, composed = (np.unpackbits(disputed_code_points(forms), bitorder="little") for forms in ((), ("NFC",)))
        beyond = np.flatnonzero(composed > plain)
        assert {0x1DF6, 0x1AC5} <= {*beyond.tolist()}
        assert len(beyond) < 400
        normalize = normalizers.NFC().normalize_str
        for code_point in (0x301, 0x327, 0xE9, 0x1E69, 0x3099, 0xAC00, 0x5D0):
            assert code_point not in beyond
            text = f"a\u0327{chr(code_point)}\u0301"
            assert normalize(text) == unicodedata.normalize("NFC", text)


def test_starts_no_threads() -> None:
    program = f"""
import os, pathlib
import pyarrow as pa
from transforms.kernels.tokenization.tokenizer import Tokenizer
data = pathlib.Path("/dev/stdin").read_bytes()
tokenizer = Tokenizer.from_json(data)
before = len(os.listdir("/proc/self/task"))
tokenizer.calibrate(pa.array({CORPUS!r}))
tokenizer.encode(pa.array({CORPUS!r}))
Tokenizer.from_json(data).encode(pa.array({CORPUS!r}))
print(tokenizer.engine, len(os.listdir("/proc/self/task")) - before)
"""
    environment = {name: value for name, value in os.environ.items() if name != "TOKENIZERS_PARALLELISM"}
    done = subprocess.run([sys.executable, "-c", program], input=BYTE_LEVEL, capture_output=True, env=environment)
    assert (done.stdout, done.stderr) == (b"gigatoken 0\n", b"")
