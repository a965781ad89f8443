"""Tokens of texts, estimated: by a tokenizer on some of them, or by their bytes."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from beam_pipeline.settings import Settings
from beam_pipeline.trial.result import ShownText
from transforms.io import storage
from transforms.kernels.tokenization.tokenizer import Tokenizer

BYTES_A_TOKEN = 4.0
"""Without a tokenizer: what vocabularies of 100,000 and more need for most languages, within a third."""


class TokenRate:
    """Tokens a byte of text, by language.

    Attributes:
      said: how they are estimated, in words.

    Raises:
      ValueError: the tokenizer can't be used.
      StorageError: it can't be read.
    """

    def __init__(self, settings: Settings) -> None:
        self._tokenizer: Tokenizer | None = None
        self.said = f"estimated, one for {BYTES_A_TOKEN:g} bytes; --tokenizer FILE counts them"
        if settings.tokenizer:
            self._tokenizer = Tokenizer.from_json(
                storage.read_bytes(settings.tokenizer), bos=None, eos=None, allow_fast=False
            )
            self.said = f"by {settings.tokenizer}, measured on some texts of each language"
        self._rates: dict[str, float] = {}

    def of(self, language: str, texts: Sequence[ShownText]) -> float:
        """Tokens a byte in a language, measured on the texts of that language that are shown, else on all of them."""
        if self._tokenizer is None:
            return 1 / BYTES_A_TOKEN
        if language not in self._rates:
            mine = [text.text for text in texts if text.language == language] or [text.text for text in texts[:50]]
            size = sum(len(text.encode()) for text in mine)
            if not size:
                return 1 / BYTES_A_TOKEN
            encoded = self._tokenizer.encode(pa.array(mine, pa.string()))
            self._rates[language] = len(encoded.flatten()) / size
        return self._rates[language]
