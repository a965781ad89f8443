"""Tokenizers that can't spell: what they lose is counted and told, and can make a document invalid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from tests import runs
from tests.kernels.test_tokenization import BYTE_LEVEL, calibrated, edit
from tests.kernels.test_tokenizer_definition import KINDS
from transforms.check_spelling import Spelled
from transforms.kernels.tokenization.tokenizer import Tokenizer
from transforms.tokenize import lengths_and_unknown, spelling_of

ENGLISH = [
    f"the quick brown fox jumps over the lazy dog and rests by the {place} until the evening comes again"
    for place in ("river", "harbour", "garden", "market")
]


def trained(model: Any, trainer: type, **options: Any) -> bytes:
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = options.pop("pre_tokenizer", pre_tokenizers.Whitespace())
    tokenizer.train_from_iterator(ENGLISH, trainer(vocab_size=120, show_progress=False, **options))
    return str(tokenizer.to_str()).encode()


BPE_WITHOUT_UNKNOWN = trained(models.BPE(), trainers.BpeTrainer)
BYTES_MISSING = trained(
    models.BPE(), trainers.BpeTrainer, pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=False)
)
BPE_WITH_UNKNOWN = trained(models.BPE(unk_token="<unk>"), trainers.BpeTrainer, special_tokens=["<unk>"])
UNIGRAM = trained(models.Unigram(), trainers.UnigramTrainer, special_tokens=["<unk>"], unk_token="<unk>")
UNIGRAM_WITHOUT_UNKNOWN = edit(UNIGRAM, lambda d: d["model"].update(unk_id=None))
WORDS = trained(models.WordLevel(unk_token="<unk>"), trainers.WordLevelTrainer, special_tokens=["<unk>"])
WORDS_WITHOUT_UNKNOWN = edit(WORDS, lambda d: (d["model"]["vocab"].pop("<unk>"), d.update(added_tokens=[])))
LOSSY = {
    "BPE": BPE_WITH_UNKNOWN,
    "BPE without an unknown token": BPE_WITHOUT_UNKNOWN,
    "byte-level, bytes missing": BYTES_MISSING,
    "Unigram": UNIGRAM,
    "Unigram without an unknown token": UNIGRAM_WITHOUT_UNKNOWN,
    "words": WORDS,
    "words without an unknown token": WORDS_WITHOUT_UNKNOWN,
}


class TestCounts:
    @pytest.mark.parametrize("name", LOSSY)
    def test_what_is_lost(self, name: str) -> None:
        tokenizer = calibrated(LOSSY[name])
        texts = pa.array(["the quick fox", "the ж fox", "ж", "", "жж ж"])
        ids = tokenizer.encode(texts)
        lengths, unknown, share = lengths_and_unknown(tokenizer, texts, ids)
        assert (unknown[0], share[0]) == (0, 0)
        assert unknown[1] > 0 and unknown[2] > 0 and unknown[4] > unknown[1]
        assert 0 < share[1] < 1
        assert share[2] == 1 and share[4] > 0.8  # the blank has a token in byte-level vocabularies
        if "without" in name or "missing" in name:
            assert lengths[2] == 0 and lengths[4] <= 1

    @pytest.mark.parametrize(
        "name", ["BPE", "BPE without an unknown token", "byte-level, bytes missing", "Unigram", "words"]
    )
    def test_ids_are_those_of_the_library(self, name: str) -> None:
        plain = tokenizers.Tokenizer.from_buffer(LOSSY[name])
        plain.encode_special_tokens = True
        texts = ["the quick fox", "thжe foжx", "ж", "brжown"]
        assert Tokenizer.from_json(LOSSY[name]).encode(pa.array(texts)).to_pylist() == [
            plain.encode(text).ids for text in texts
        ]

    @pytest.mark.parametrize("name", ["Unigram without an unknown token", "words without an unknown token"])
    def test_what_the_library_refuses_is_left_out(self, name: str) -> None:
        plain = tokenizers.Tokenizer.from_buffer(LOSSY[name])
        with pytest.raises(Exception, match=r"[Uu]nk|UNK"):
            plain.encode("ж")
        encoded = Tokenizer.from_json(LOSSY[name]).encode(pa.array(["the fox", "the ж fox", "ж"])).to_pylist()
        assert encoded[0] == plain.encode("the fox").ids
        assert encoded[2] == []
        assert max(encoded[1]) < plain.get_vocab_size()

    @pytest.mark.parametrize(
        "data", [BYTE_LEVEL, *(KINDS[name] for name in KINDS if "byte" in name or "Llama" in name)]
    )
    def test_nothing_is_lost_by_what_has_a_token_for_every_byte(self, data: bytes) -> None:
        tokenizer = calibrated(data)
        texts = pa.array(["the ж\n", "\U0010ffff", "<unk>", ""])
        assert lengths_and_unknown(tokenizer, texts, tokenizer.encode(texts))[1].tolist() == [0] * 4

    def test_bos_and_eos_are_no_tokens_of_a_document(self) -> None:
        tokenizer = calibrated(UNIGRAM, bos="<unk>", eos="e")
        texts = pa.array(["", "the", None])
        noted = spelling_of(tokenizer, texts, tokenizer.encode(texts))
        assert noted["documents_without_tokens"] == 2
        tokenizer = calibrated(BPE_WITHOUT_UNKNOWN, eos="e")
        texts = pa.array(["ж", "the fox"])
        noted = spelling_of(tokenizer, texts, tokenizer.encode(texts))
        assert (noted["documents"], noted["documents_without_tokens"], noted["unknown_tokens"]) == (2, 1, 1)

    def test_which_documents_are_invalid(self) -> None:
        texts = pa.array(["the fox", "the жжж жжж", "жжж", "the fox the fox the fox the fox ж"])
        documents = pa.record_batch({"text": texts})
        tokenizer = calibrated(BPE_WITHOUT_UNKNOWN)
        assert Spelled(tokenizer, 1.0)(documents).to_pylist() == [None, None, "no_tokens", None]
        assert Spelled(tokenizer, 0.5)(documents).to_pylist() == [None, "unknown_tokens", "no_tokens", None]
        assert Spelled(tokenizer, 0.0)(documents).to_pylist() == [None, "unknown_tokens", "no_tokens", "unknown_tokens"]


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """English, Russian twice, and Russian within English."""
    russian = "река тихо течёт мимо старого города и никто не помнит как давно она здесь и куда уходит вода"
    rows = [*ENGLISH, russian, russian, f"{ENGLISH[0]} {russian}"]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    return tmp_path / "texts.jsonl"


def test_kept_and_told(texts: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(BPE_WITHOUT_UNKNOWN)
    flags = ("--tokenizer", tmp_path / "tokenizer.json", "--eos", "none", "--direct_num_workers", 1)
    done = runs.run(texts, tmp_path / "out", *flags)
    manifest = runs.manifest(tmp_path / "out")
    assert manifest["spelling"]["documents_without_tokens"] == 1
    assert manifest["spelling"]["documents_over_a_tenth_unknown"] == 2
    assert len(manifest["warnings"]) == 2
    last = done.stderr.splitlines()[-2:]
    assert last[0].startswith("WARNING: the tokenizer can't spell this text")
    assert last[1].startswith("WARNING: 1 of 6 documents were kept without any token")

    # The same command over what is done: the notes are in the lineage.
    runs.run(texts, tmp_path / "out", *flags)
    assert runs.manifest(tmp_path / "out")["spelling"] == manifest["spelling"]


def test_invalid_if_the_setting_says_so(texts: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(BPE_WITHOUT_UNKNOWN)
    flags = ("--tokenizer", tmp_path / "tokenizer.json", "--eos", "none", "--direct_num_workers", 1)
    flags += ("--max_unknown_tokens", 0.2)
    done = runs.run(texts, tmp_path / "out", *flags)
    counts = runs.manifest(tmp_path / "out")["counts"]
    assert counts["invalid"] == {"no_tokens": 2, "unknown_tokens": 1}
    assert counts["kept"] == 4 and counts["dropped"] == {}
    assert "WARNING" not in done.stderr
    answer = runs.ask("trace", "--output", tmp_path / "out", "--source", texts, "--row", 4)
    assert json.dumps(answer).count("no_tokens") >= 1
    table = pq.read_table(next((tmp_path / "out" / "fingerprints").glob("*.parquet")))
    assert table["content_hash"][4].as_py() is None

    # Another tokenizer, other fingerprints: the plan knows.
    (tmp_path / "tokenizer.json").write_bytes(BYTES_MISSING)
    assert "tokenizer_sha256" in runs.run(texts, tmp_path / "out", *flags, status=2).stderr
