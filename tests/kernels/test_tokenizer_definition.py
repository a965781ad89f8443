"""The ids are those of the definition as it stands, whatever is marked special in it; no text is a control token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from tests.kernels.test_tokenization import CORPUS, added, calibrated, edit, plain_tokenizers
from transforms.kernels.tokenization.definition import BYTE_TOKENS, parse, reachable_control_tokens
from transforms.kernels.tokenization.probes import PROBES
from transforms.kernels.tokenization.tokenizer import Tokenizer, encode_reference

OWN = ["<unk>", "<s>", "</s>"]


def trained(model: Any, trainer: Any, **parts: Any) -> bytes:
    tokenizer = tokenizers.Tokenizer(model)
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return str(tokenizer.to_str()).encode()


def byte_fallback_unigram() -> bytes:
    """As sentencepiece's converters make it, the 256 byte tokens marked special."""
    trainer = trainers.UnigramTrainer(
        vocab_size=500, special_tokens=[*OWN, *BYTE_TOKENS], unk_token="<unk>", show_progress=False
    )
    data = trained(models.Unigram(), trainer, pre_tokenizer=pre_tokenizers.Metaspace())
    return edit(data, lambda d: d["model"].update(byte_fallback=True))


def byte_fallback_bpe(special: bool) -> bytes:
    """As Llama 2's and Mistral's: no pre-tokenizer, spaces written as U+2581."""
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=[*OWN, *BYTE_TOKENS], limit_alphabet=30, show_progress=False
    )
    parts = {
        "normalizer": normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]),
        "decoder": decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]),
    }
    data = trained(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True), trainer, **parts)
    if special:
        return data
    return edit(data, lambda d: d.update(added_tokens=d["added_tokens"][:3]))


def newline_token_unigram() -> bytes:
    """The normalizer writes a special token where a newline is."""
    special = [*OWN, "<n>", "<mask>"]
    trainer = trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="<unk>", show_progress=False)
    return trained(
        models.Unigram(),
        trainer,
        normalizer=normalizers.Replace("\n", " <n> "),
        pre_tokenizer=pre_tokenizers.Metaspace(),
    )


def whole_words(kind: str) -> bytes:
    special = ["[UNK]", "[CLS]", "[SEP]"]
    if kind == "WordPiece":
        model, trainer = models.WordPiece(unk_token="[UNK]"), trainers.WordPieceTrainer
    else:
        model, trainer = models.WordLevel(unk_token="[UNK]"), trainers.WordLevelTrainer
    return trained(
        model,
        trainer(vocab_size=400, special_tokens=special, show_progress=False),
        pre_tokenizer=pre_tokenizers.WhitespaceSplit(),
    )


KINDS: dict[str, bytes] = {
    "unigram, byte tokens special": byte_fallback_unigram(),
    "BPE, byte tokens special": byte_fallback_bpe(True),
    "BPE as Llama 2": byte_fallback_bpe(False),
    "normalizer writes a special token": newline_token_unigram(),
    "WordPiece, unknown token special": whole_words("WordPiece"),
    "WordLevel, unknown token special": whole_words("WordLevel"),
}
KINDS["unigram, not its first piece unknown"] = edit(
    KINDS["unigram, byte tokens special"],
    lambda d: (d["model"]["vocab"].__setitem__(slice(0, 2), d["model"]["vocab"][1::-1]), d["model"].update(unk_id=1)),
)
KINDS["BPE with ignore_merges, byte tokens special"] = edit(
    KINDS["BPE, byte tokens special"], lambda d: d["model"].update(ignore_merges=True)
)
TEXTS = [*PROBES, *CORPUS[:6], "".join(chr(code_point) for code_point in range(0x100)), "\n".join(CORPUS[:3])]
TEXTS += [
    f"{before}{token}{after}"
    for token in (*OWN, "[CLS]", "<n>", "<mask>")
    for before in ("", "x ")
    for after in ("", "y\n")
]


@pytest.mark.parametrize("name", KINDS)
def test_ids_are_those_of_the_definition_as_it_stands(name: str) -> None:
    data = KINDS[name]
    control = {*reachable_control_tokens(parse(data)).values()}
    tokenizer = calibrated(data)
    plain = tokenizers.Tokenizer.from_buffer(data)
    plain.encode_special_tokens = True
    found = tokenizer.encode(pa.array(TEXTS)).to_pylist()
    assert [encode_reference(data, text) for text in TEXTS[-4:]] == found[-4:]
    compared = 0
    for text, ids in zip(TEXTS, found, strict=True):
        expected = list(plain.encode(text, add_special_tokens=False).ids)
        if control & {*expected}:
            assert any(token in text for token in (*OWN, "[CLS]", "<mask>")), text
            assert not control & {*ids}
            assert ids
        else:
            assert ids == expected, text
            compared += 1
    assert compared > len(PROBES) - 20


@pytest.mark.parametrize("name", [name for name in KINDS if "byte" in name or "Llama" in name])
def test_byte_fallback_spells_everything(name: str) -> None:
    unknown = parse(KINDS[name])["model"].get("unk_id") or 0
    for ids in Tokenizer.from_json(KINDS[name]).encode(pa.array([t for t in TEXTS if "<unk>" not in t])).to_pylist():
        assert unknown not in ids


def test_what_is_a_control_token() -> None:
    assert reachable_control_tokens(parse(KINDS["unigram, byte tokens special"])) == {"<s>": 1, "</s>": 2}
    assert reachable_control_tokens(parse(KINDS["unigram, not its first piece unknown"])) == {"<s>": 0, "</s>": 2}
    assert reachable_control_tokens(parse(KINDS["BPE as Llama 2"])) == {}
    assert [*reachable_control_tokens(parse(KINDS["normalizer writes a special token"]))] == ["<s>", "</s>", "<mask>"]
    assert [*reachable_control_tokens(parse(KINDS["WordLevel, unknown token special"]))] == ["[CLS]", "[SEP]"]


def test_a_pattern_that_only_reads_control_tokens_makes_none() -> None:
    data = edit(
        KINDS["unigram, byte tokens special"],
        lambda d: d.update(normalizer={"type": "Replace", "pattern": {"String": "</s>x"}, "content": "y"}),
    )
    assert "</s>" in reachable_control_tokens(parse(data))


def test_of_a_merge_listed_twice_the_last_counts_as_for_tokenizers() -> None:
    """gigatoken takes the first: 5 % of a corpus had other ids, and a sample may hold none of them."""

    def repeat(definition: dict[str, Any]) -> None:
        merges = definition["model"]["merges"]
        definition["model"]["merges"] = merges + merges[::-1]

    data = edit(KINDS["BPE as Llama 2"], repeat)
    tokenizer = calibrated(data)
    assert tokenizer.engine == "gigatoken", tokenizer.engine_reason
    assert tokenizer.encode(pa.array(CORPUS)).to_pylist() == [plain_tokenizers(data, text) for text in CORPUS]
    assert [plain_tokenizers(data, text) for text in CORPUS] != [
        plain_tokenizers(KINDS["BPE as Llama 2"], text) for text in CORPUS
    ]


class Deaf:
    """A fast engine that loses what a sample of plain text doesn't have."""

    def __init__(self, engine: Any, lost: str) -> None:
        self.engine, self.lost = engine, lost

    def encode(self, data: Any, offsets: Any) -> Any:
        texts = [bytes(data[offsets[i] : offsets[i + 1]]).decode() for i in range(len(offsets) - 1)]
        kept = pa.array([text.replace(self.lost, "") for text in texts])
        buffers = kept.buffers()
        bounds = np.frombuffer(buffers[1], np.int32)[: len(kept) + 1].astype(np.int64)
        return self.engine.encode(np.frombuffer(buffers[2] or b"", np.uint8), bounds)


@pytest.mark.parametrize("lost", ["\n", "\t", "\x7f", "é", "\ud000", "\U000e0067", "🙂", "<0x0A>", "</s>"])
@pytest.mark.parametrize("change", [None, lambda d: d["added_tokens"].append(added(600, "<x>", special=True))])
def test_the_gate_finds_what_the_sample_lacks(lost: str, change: Callable[[dict[str, Any]], object] | None) -> None:
    data = KINDS["BPE as Llama 2"] if change is None else edit(KINDS["BPE as Llama 2"], change)
    tokenizer = Tokenizer.from_json(data)
    sample = pa.array(["the quick brown fox", "it jumps"])
    assert tokenizer.calibrate(sample).engine == "gigatoken"
    tokenizer = Tokenizer.from_json(data)
    tokenizer._fast = Deaf(tokenizer._fast, lost)
    found = tokenizer.calibrate(sample)
    assert (found.engine, found.differing > 0) == ("tokenizers", True)
    assert tokenizer.calibrate(sample).engine == "tokenizers"
