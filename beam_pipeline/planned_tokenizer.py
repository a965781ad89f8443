"""The tokenizer of a run, and the token that ends each document (EOS).

A trainer packs documents into sequences. Without a token between them, the end of one document runs into the beginning
of the next. So a run needs to know its EOS token, from the first of these that says it:

1. the setting ``eos``: a token, or ``none``;
2. ``eos_token`` in ``tokenizer_config.json`` or ``special_tokens_map.json``, beside the tokenizer;
3. ``eos_token_id`` in ``config.json`` or ``generation_config.json`` beside it, if it is a single id;
4. the one special added token of the tokenizer whose name is in ``KNOWN``.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from typing import Any

from beam_pipeline.planned_sources import PlanError
from beam_pipeline.settings import NO_EOS, Settings
from transforms.io import storage
from transforms.io.pinned_files import PinnedFile
from transforms.kernels.tokenization.definition import parse
from transforms.tokenize import Tokenization

LOGGER = logging.getLogger(__name__)

KNOWN = (
    "<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<EOS>", "<|eos|>", "[EOS]", "<|end▁of▁sentence|>",
    "<｜end▁of▁sentence｜>", "<|end_of_document|>", "<eod>", "<|eod|>", "<EOD>",
)  # fmt: skip
"""Names under which tokenizers have a token for the end of a document."""

_NAMED_IN = ("tokenizer_config.json", "special_tokens_map.json")
_NUMBERED_IN = ("config.json", "generation_config.json")


def plan_tokenization(settings: Settings) -> Tokenization | None:
    """How a run makes tokens of texts: its tokenizer as it is now, and its EOS token; None if it writes text.

    Raises:
      PlanError: the EOS token isn't known, or the file isn't a tokenizer.json.
      StorageError: the tokenizer can't be read.
    """
    if not settings.tokens:
        return None
    pinned = PinnedFile.pin(settings.tokenizer)
    given = Tokenization(pinned, settings.bos, settings.eos, settings.with_text, settings.fast_tokenizer)
    if settings.eos == NO_EOS:
        return dataclasses.replace(given, eos=None)
    if settings.eos is not None:
        return given
    try:
        eos = _own_eos(settings.tokenizer, parse(pinned.read()))
        if eos is None:
            given.load()  # that it can't be used at all is said first
    except ValueError as error:
        raise PlanError(f"tokenizer {settings.tokenizer}: {error}") from error
    if eos is None:
        raise PlanError(
            f"eos: the tokenizer {settings.tokenizer} doesn't say which token ends a document. "
            f"Name it by --eos TOKEN, or give --eos {NO_EOS} to put nothing between documents"
        )
    return dataclasses.replace(given, eos=eos)


def _own_eos(uri: str, definition: dict[str, Any]) -> str | None:
    """The EOS token that the tokenizer names as its own; None if it names none or several."""
    added = {int(token["id"]): token for token in definition.get("added_tokens") or []}
    for name in _NAMED_IN:
        token = _read_beside(uri, name).get("eos_token")
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str) and token:
            return _found(token, name)
    for name in _NUMBERED_IN:
        number = _read_beside(uri, name).get("eos_token_id")
        if isinstance(number, int) and number in added:
            return _found(str(added[number]["content"]), name)
    special = [str(token["content"]) for token in added.values() if token.get("special")]
    known = [token for token in special if token in KNOWN]
    return _found(known[0], "its added tokens") if len(known) == 1 else None


def _found(token: str, where: str) -> str:
    LOGGER.info("each document ends with %s, by %s (--eos %s: with nothing)", token, where, NO_EOS)
    return token


def _read_beside(tokenizer: str, name: str) -> dict[str, Any]:
    """A JSON file in the tokenizer's folder; empty if it isn't there or isn't a JSON object."""
    try:
        found = json.loads(storage.read_bytes(storage.join(tokenizer.rpartition("/")[0], name)))
    except (storage.NotFound, storage.AccessDenied, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
