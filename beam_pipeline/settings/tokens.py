"""Settings of what is written of the documents kept."""

from __future__ import annotations

import functools
from typing import Annotated

import pydantic

from beam_pipeline.settings.fields import Part, setting, split_commas

_setting = functools.partial(setting, "tokens", decides="tokens")

NO_EOS = "none"
"""The value of ``eos`` that puts no token after documents."""


class TokenSettings(Part):
    """What is written of the documents kept."""

    tokens: bool = _setting(
        True,
        description="tokenize what is kept; with --no-tokens its normalized text is written to text/, without a "
        "tokenizer",
    )
    text_jsonl: bool = _setting(
        False, description="with --no-tokens, write the rows of text/ as JSON Lines, too, to jsonl/*.jsonl.zst"
    )
    bos: str | None = _setting(None, metavar="TOKEN", description="token put before each document")
    eos: str | None = _setting(
        None,
        metavar="TOKEN",
        description=f"token put after each document, or {NO_EOS}; without it, the tokenizer's own "
        "(docs/tokenizers.md), and if that isn't known, the run asks for it",
    )
    max_unknown_tokens: float | None = _setting(
        None,
        decides="fingerprints",
        ge=0,
        le=1,
        metavar="SHARE",
        description="a document of which more tokens than this share are unknown to the tokenizer is invalid, and one "
        "without tokens too; if it isn't given, both are kept and counted",
    )
    with_text: bool = _setting(False, description="write the normalized text beside its tokens")
    token_columns: Annotated[list[str], pydantic.BeforeValidator(split_commas)] = _setting(
        [], metavar="A,B", description="kept columns and attributes that are written beside the tokens"
    )
    fast_tokenizer: bool = _setting(
        True, decides="nothing", description="use gigatoken where it gives the same ids as tokenizers"
    )
