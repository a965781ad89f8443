from __future__ import annotations

import random
import sys
import unicodedata
from pathlib import Path

import pyarrow as pa
import tokenizers

from tests.conformance.conftest import Corpus
from transforms.kernels.tokenization.disputed_code_points import disputed_code_points, documents_holding
from transforms.kernels.tokenization.tokenizer import Tokenizer, _text_buffers

RANDOM_STRINGS = 200_000
SHOWN = 5


def reference(path: Path) -> tokenizers.Tokenizer:
    """What anybody gets from `tokenizers`, with special tokens in a text encoded as the characters they are."""
    engine = tokenizers.Tokenizer.from_file(str(path))
    engine.encode_special_tokens = True
    return engine


def ours(path: Path) -> Tokenizer:
    """With the fast engine, as a run has it after its sample."""
    engine = Tokenizer.from_json(path.read_bytes())
    engine.calibrate(
        pa.array(["The gate opens when both engines agree.", "Beide stimmen überein: ja.", "同じ結果です。"])
    )
    assert engine.engine == "gigatoken", engine.engine_reason
    return engine


def differing(engine: Tokenizer, expected: tokenizers.Tokenizer, texts: pa.StringArray) -> list[str]:
    strings = texts.to_pylist()
    encodings = expected.encode_batch_fast(strings, add_special_tokens=False)
    found = engine.encode(texts).to_pylist()
    return [text for text, ids, encoding in zip(strings, found, encodings, strict=True) if ids != encoding.ids]


def test_every_document(corpus: Corpus, tokenizer: Path) -> None:
    engine, expected = ours(tokenizer), reference(tokenizer)
    documents = size = 0
    wrong: list[str] = []
    for texts in corpus.clean():
        wrong += differing(engine, expected, texts)
        documents += len(texts)
        size += texts.get_total_buffer_size()
    print(f"{documents} documents, {size / 1e6:.0f} MB: {len(wrong)} differ")
    assert not wrong, [text[:200] for text in wrong[:SHOWN]]


def random_strings(special: list[str], count: int, seed: int = 1) -> list[str]:
    """Half over all of Unicode, half over what is assigned in it; a fifth with a special token somewhere."""
    generator = random.Random(seed)
    everything = [chr(c) for c in range(sys.maxunicode + 1) if not 0xD800 <= c < 0xE000]
    assigned = [c for c in everything if unicodedata.category(c) not in ("Cn", "Co")]
    frequent = [*"aAeE tT1 29.,'’-\n\t\r  \u00a0", "'s", "don't", "  ", "\n\n", "é", "e\u0301", "中", "\u200d", "🙂"]
    strings = []
    for number in range(count):
        alphabet = everything if number % 2 else assigned
        characters = [
            generator.choice(alphabet if generator.random() < 0.6 else frequent)
            for _ in range(generator.randint(1, 24))
        ]
        if special and generator.random() < 0.2:
            characters.insert(generator.randint(0, len(characters)), generator.choice(special))
        strings.append("".join(characters))
    return strings


def test_random_strings_over_all_of_unicode(tokenizer: Path) -> None:
    engine, expected = ours(tokenizer), reference(tokenizer)
    added = expected.get_added_tokens_decoder()
    control = {identifier for identifier, token in added.items() if token.special}
    texts = pa.array(random_strings([added[identifier].content for identifier in sorted(control)], RANDOM_STRINGS))
    wrong: list[str] = []
    for start in range(0, len(texts), 10_000):
        wrong += differing(engine, expected, texts[start : start + 10_000])
    by_the_fast = len(texts) - int(documents_holding(*_text_buffers(texts), disputed_code_points(())).sum())
    print(f"{len(texts)} strings, {by_the_fast} of assigned characters only: {len(wrong)} differ")
    assert not wrong, wrong[:SHOWN]
    assert by_the_fast > RANDOM_STRINGS // 4
    assert not control & {identifier for ids in engine.encode(texts).to_pylist() for identifier in ids}
