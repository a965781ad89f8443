"""What a Hugging Face ``tokenizer.json`` says, and what of it the pipeline takes: see ``tokenization``."""

from __future__ import annotations

import json
from typing import Any

_UNICODE_NORMALIZERS = ("NFC", "NFD", "NFKC", "NFKD")


def parse(data: bytes) -> dict[str, Any]:
    """The tokenizer.json as a dict; ValueError if it isn't one."""
    try:
        definition = json.loads(data)
    except ValueError as error:
        raise ValueError(f"tokenizer: not a Hugging Face tokenizer.json, not even JSON: {error}") from error
    if not isinstance(definition, dict) or not isinstance(definition.get("model"), dict):
        raise ValueError("tokenizer: not a Hugging Face tokenizer.json: there is no `model` in it")
    return definition


def separate_control_tokens(definition: dict[str, Any], sha256: str) -> dict[str, str]:
    """Makes control tokens that the model itself could produce unreachable from text, in place.

    ``encode_special_tokens`` stops added tokens from being looked up in the text. It doesn't stop the model: where it
    finds whole pieces of text in its vocabulary (Unigram, WordPiece, WordLevel, BPE with ``ignore_merges``), or merges
    up to one, ``</s>`` in a text is ``</s>`` again. There the token gets a name that no text holds, and keeps its id.
    Left alone are tokens of one character, without which a model couldn't spell.

    Returns:
      The old and new names, empty if the definition could stay as it is (it then was not touched).
    """
    model = definition["model"]
    control = {t["content"] for t in definition.get("added_tokens") or [] if t.get("special") and len(t["content"]) > 1}
    vocabulary = model.get("vocab") or {}
    kind = _model_type(model)
    if kind == "Unigram":
        reachable = control & {piece for piece, _ in vocabulary}
    elif kind == "BPE" and not model.get("ignore_merges"):
        reachable = control & {
            merge.replace(" ", "", 1) if isinstance(merge, str) else "".join(merge)
            for merge in model.get("merges") or []
        }
    else:
        reachable = control & vocabulary.keys()
    names = {content: f"\0{sha256} {i}" for i, content in enumerate(sorted(reachable))}
    if not names:
        return {}
    if kind == "Unigram":
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in vocabulary]
    else:
        model["vocab"] = {names.get(piece, piece): identifier for piece, identifier in vocabulary.items()}
    if model.get("merges"):
        merges = [merge.split(" ", 1) if isinstance(merge, str) else merge for merge in model["merges"]]
        model["merges"] = [merge for merge in merges if not names.keys() & {*merge, "".join(merge)}]
    if model.get("unk_token") in names:
        model["unk_token"] = names[model["unk_token"]]
    for token in definition["added_tokens"]:
        token["content"] = names.get(token["content"], token["content"])
    definition["post_processor"] = None  # it names control tokens, and no document gets its template
    return names


def _model_type(model: dict[str, Any]) -> str:
    """The model's type; old files leave it out, and then the vocabulary tells, as it does for `tokenizers`."""
    if "type" in model:
        return str(model["type"])
    if isinstance(model.get("vocab"), list):
        return "Unigram"
    return "BPE" if "merges" in model else "WordPiece"


def without_control_tokens(definition: dict[str, Any]) -> bytes:
    """The definition as the fast engine needs it: it has no switch, so what it must not look for mustn't be there."""
    added = [token for token in definition.get("added_tokens") or [] if not token.get("special")]
    plain = {"truncation": None, "padding": None, "post_processor": None, "added_tokens": added}
    model = definition["model"]
    return json.dumps(
        {**definition, **plain, "model": {**model, "dropout": None} if "dropout" in model else model}
    ).encode()


def unicode_normalizers(normalizer: dict[str, Any] | None) -> tuple[str, ...]:
    """The Unicode normalization forms that a normalizer applies, nested ones included."""
    if normalizer is None:
        return ()
    found = {normalizer["type"]} & {*_UNICODE_NORMALIZERS}
    for part in normalizer.get("normalizers") or []:
        found.update(unicode_normalizers(part))
    return tuple(sorted(found))
