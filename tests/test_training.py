from __future__ import annotations

import json
import logging
import subprocess
import sys

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.training import in_sample, train_tokenizer

WORDS = ["lower", "lowest", "newer", "wider", "größer", "новый", "新しい", "नया"]
TEXTS = [f"{a} {b}\nand {b}{a} 12 times" for a in WORDS for b in WORDS]
IDS = np.arange(100_000, dtype=np.uint64) | np.uint64(7 << 32)


def splitmix64_reference(value: int) -> int:
    value = (value + 0x9E3779B97F4A7C15) % 2**64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) % 2**64
    return value ^ (value >> 31)


class TestInSample:
    @given(st.lists(st.integers(0, 2**64 - 1)), st.floats(0, 1, exclude_max=True), st.integers(-5, 2**64))
    def test_is_the_seeded_hash_of_each_id(self, ids: list[int], fraction: float, seed: int) -> None:
        salt = splitmix64_reference(seed % 2**64)
        expected = [splitmix64_reference(i ^ salt) < int(fraction * 2**64) for i in ids]
        assert in_sample(np.array(ids, np.uint64), fraction, seed).tolist() == expected

    def test_does_not_depend_on_order_or_batching(self) -> None:
        whole = in_sample(IDS, 0.3, 1)
        assert np.array_equal(np.concatenate([in_sample(part, 0.3, 1) for part in np.array_split(IDS, 7)]), whole)
        assert np.array_equal(in_sample(IDS[::-1], 0.3, 1)[::-1], whole)

    def test_takes_about_the_fraction_and_nests(self) -> None:
        small, large = in_sample(IDS, 0.01, 1), in_sample(IDS, 0.2, 1)
        assert abs(small.mean() - 0.01) < 0.002
        assert abs(large.mean() - 0.2) < 0.01
        assert (large | ~small).all()

    def test_bounds_and_seeds(self) -> None:
        assert not in_sample(IDS, 0, 1).any()
        assert in_sample(IDS, 1, 1).all()
        assert 0.02 < (in_sample(IDS, 0.2, 1) & in_sample(IDS, 0.2, 2)).mean() < 0.06

    @pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
    def test_refuses_a_fraction_out_of_range(self, fraction: float) -> None:
        with pytest.raises(ValueError, match="fraction"):
            in_sample(IDS, fraction, 1)


class TestTrainTokenizer:
    def test_makes_a_tokenizer_that_spells_any_text(self) -> None:
        data = train_tokenizer(iter(TEXTS), 300)
        tokenizer = tokenizers.Tokenizer.from_buffer(data)
        tokenizer.encode_special_tokens = True
        assert tokenizer.get_vocab_size() == 300
        assert tokenizer.token_to_id("<|endoftext|>") == 0
        for text in [*TEXTS, "\0\x7f \u00a0\U0010ffff<|endoftext|> e\u0301"]:
            ids = tokenizer.encode(text).ids
            assert tokenizer.decode(ids, skip_special_tokens=False) == text
            assert 0 not in ids

    def test_is_compact_json_without_a_normalizer(self) -> None:
        data = train_tokenizer(iter(TEXTS), 300)
        assert b"\n" not in data
        assert json.loads(data)["normalizer"] is None

    def test_same_bytes_in_any_order_and_process(self) -> None:
        data = train_tokenizer(iter(TEXTS), 320)
        assert train_tokenizer(iter(reversed(TEXTS)), 320) == data
        program = (
            "import sys; from beam_pipeline.training import train_tokenizer; from tests.test_training import TEXTS;"
            "sys.stdout.buffer.write(train_tokenizer(iter(TEXTS), 320))"
        )
        assert subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout == data

    def test_special_tokens_get_the_first_ids_and_are_not_learnt_from_text(self) -> None:
        special = ["<a>", "<b>"]
        with_them = train_tokenizer((text.replace("and", "<a>") for text in TEXTS), 300, special)
        tokenizer = tokenizers.Tokenizer.from_buffer(with_them)
        assert [tokenizer.token_to_id(token) for token in special] == [0, 1]
        assert all("".join(merge) != "<a>" for merge in json.loads(with_them)["model"]["merges"])

    def test_says_so_if_there_is_too_little_text(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING):
            train_tokenizer(iter(["a b"]), 5000)
        assert "of 5000 tokens" in caplog.text

    def test_refuses_bad_settings(self) -> None:
        with pytest.raises(ValueError, match="vocab_size: 256 "):
            train_tokenizer(iter(TEXTS), 256)
        with pytest.raises(ValueError, match="special_tokens"):
            train_tokenizer(iter(TEXTS), 300, ["<a>", "<a>"])
        with pytest.raises(ValueError, match="no text"):
            train_tokenizer(iter(["", ""]), 300)
