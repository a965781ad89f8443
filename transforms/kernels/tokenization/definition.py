"""What a Hugging Face ``tokenizer.json`` says, and what of it the pipeline takes: see ``tokenization``."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from tokenizers.pre_tokenizers import ByteLevel

_UNICODE_NORMALIZERS = ("NFC", "NFD", "NFKC", "NFKD")
BYTE_TOKENS = tuple(f"<0x{byte:02X}>" for byte in range(256))
"""How ``byte_fallback`` looks up the token of a byte."""


def parse(data: bytes) -> dict[str, Any]:
    """The tokenizer.json as a dict; ValueError if it isn't one."""
    try:
        definition = json.loads(data)
    except ValueError as error:
        raise ValueError(f"tokenizer: not a Hugging Face tokenizer.json, not even JSON: {error}") from error
    if not isinstance(definition, dict) or not isinstance(definition.get("model"), dict):
        raise ValueError("tokenizer: not a Hugging Face tokenizer.json: there is no `model` in it")
    return definition


def reachable_control_tokens(definition: dict[str, Any]) -> dict[str, int]:
    """The control tokens that the model itself could make of a text, and their ids.

    ``encode_special_tokens`` stops added tokens from being looked up in the text. It doesn't stop the model: where it
    finds whole pieces of text in its vocabulary (Unigram, WordPiece, WordLevel, BPE with ``ignore_merges``), or merges
    up to one, ``</s>`` in a text is ``</s>`` again.

    A token that is marked special is no control token if the definition itself makes it of ordinary text: the unknown
    token, the tokens of ``byte_fallback``, and what a normalizer or pre-tokenizer puts into the text. Nor is a token
    of one character, without which a model couldn't spell.
    """
    model = definition["model"]
    special = {t["content"] for t in definition.get("added_tokens") or [] if t.get("special") and len(t["content"]) > 1}
    made = _made_of_text(definition)
    control = {token for token in special if not any(token in text for text in made)}
    vocabulary, kind = model.get("vocab") or {}, model_type(model)
    if kind == "Unigram":
        return {piece: identifier for identifier, (piece, _) in enumerate(vocabulary) if piece in control}
    if kind == "BPE" and not model.get("ignore_merges"):
        control &= {"".join(merge) for merge in pairs(model.get("merges") or [])}
    return {token: vocabulary[token] for token in sorted(control & vocabulary.keys())}


def _made_of_text(definition: dict[str, Any]) -> set[str]:
    """The strings that the model refers to by name, or that a normalizer or pre-tokenizer writes into a text."""
    model = definition["model"]
    made = {value for key, value in model.items() if isinstance(value, str) and key not in ("type", "vocab", "merges")}
    if model_type(model) == "Unigram" and model.get("unk_id") is not None:
        made.add(model["vocab"][model["unk_id"]][0])
    if model.get("byte_fallback"):
        made.update(BYTE_TOKENS)
    return made.union(_written(definition.get("normalizer")), _written(definition.get("pre_tokenizer")))


def _written(part: Any) -> Iterator[str]:
    """What a normalizer or pre-tokenizer can put into a text; a pattern only reads it."""
    if isinstance(part, list):
        for item in part:
            yield from _written(item)
    elif isinstance(part, dict):
        for key, value in part.items():
            if key in ("content", "prepend", "replacement") and isinstance(value, str):
                yield value
            elif key != "pattern":
                yield from _written(value)


def with_unreachable(definition: dict[str, Any], control: dict[str, int], sha256: str) -> dict[str, Any]:
    """The definition with control tokens under names that no text holds; their ids stay.

    The model makes of them what else it has: ``</s>`` is spelled. Merges that lead to them or start from them go.
    """
    names = {content: f"\0{sha256} {i}" for i, content in enumerate(sorted(control))}
    model = dict(definition["model"])
    if model_type(model) == "Unigram":
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in model["vocab"]]
    else:
        model["vocab"] = {names.get(piece, piece): identifier for piece, identifier in model["vocab"].items()}
    if model_type(model) == "BPE":
        model["merges"] = [
            merge for merge in pairs(model.get("merges") or []) if not names.keys() & {*merge, "".join(merge)}
        ]
    added = [token | {"content": names.get(token["content"], token["content"])} for token in definition["added_tokens"]]
    # The post-processor names control tokens, and no document gets its template.
    return definition | {"model": model, "added_tokens": added, "post_processor": None}


def spells_everything(definition: dict[str, Any]) -> bool:
    """Whether no text can hold anything that the model has no token for: it has one for every byte."""
    model = definition["model"]
    vocabulary = model.get("vocab") or {}
    if model_type(model) == "Unigram":
        return bool(model.get("byte_fallback")) and {*BYTE_TOKENS} <= {piece for piece, _ in vocabulary}
    if model_type(model) != "BPE":
        return False
    if model.get("byte_fallback") and {*BYTE_TOKENS} <= vocabulary.keys():
        return True
    byte_level = any("ByteLevel" in _types(definition.get(part)) for part in ("pre_tokenizer", "normalizer"))
    return byte_level and {*ByteLevel.alphabet()} <= vocabulary.keys()


def unknown_token(definition: dict[str, Any]) -> int | None:
    """The id that stands for what the model has no token for; None if it has none, or needs none."""
    model = definition["model"]
    if spells_everything(definition):
        return None
    if model_type(model) == "Unigram":
        identifier: int | None = model.get("unk_id")
        return identifier
    return (model.get("vocab") or {}).get(model.get("unk_token"))


def with_unknown_token(definition: dict[str, Any], identifier: int) -> dict[str, Any]:
    """The definition with an unknown token, which it lacks, under a name that no text holds."""
    model = dict(definition["model"])
    name = "\0unknown"
    if model_type(model) == "Unigram":
        # The ids of a Unigram are places in its list; what lies between is never found in a text.
        missing = identifier - len(model["vocab"])
        model["vocab"] = [*model["vocab"], *([f"\0{i}", 0.0] for i in range(missing)), [name, 0.0]]
        model["unk_id"] = identifier
    else:
        name = name if model_type(model) == "BPE" else model.get("unk_token") or name
        model["vocab"] = model["vocab"] | {name: identifier}
        model |= {"unk_token": name} | ({"fuse_unk": False} if model_type(model) == "BPE" else {})
    return definition | {"model": model}


def _types(part: Any) -> set[str]:
    """The types of a normalizer or pre-tokenizer and of those within it."""
    if isinstance(part, list):
        return set().union(*map(_types, part))
    if not isinstance(part, dict):
        return set()
    return {str(part.get("type"))}.union(*(_types(value) for value in part.values()))


def model_type(model: dict[str, Any]) -> str:
    """The model's type; old files leave it out, and then the vocabulary tells, as it does for `tokenizers`."""
    if "type" in model:
        return str(model["type"])
    if isinstance(model.get("vocab"), list):
        return "Unigram"
    return "BPE" if "merges" in model else "WordPiece"


def pairs(merges: list[Any]) -> list[list[str]]:
    """Merges as pairs, in whichever of the two ways they are written."""
    return [merge.split(" ", 1) if isinstance(merge, str) else merge for merge in merges]


def without_control_tokens(definition: dict[str, Any]) -> bytes:
    """The definition as the fast engine needs it: it has no switch, so what it must not look for mustn't be there.

    Of a merge that is listed twice the reference takes the last, the fast engine the first: only the last is left.
    """
    added = [token for token in definition.get("added_tokens") or [] if not token.get("special")]
    plain = {"truncation": None, "padding": None, "post_processor": None, "added_tokens": added}
    model = copy.copy(definition["model"])
    if "dropout" in model:
        model["dropout"] = None
    listed = (model.get("merges") or []) if model_type(model) == "BPE" else []
    merges = [merge if isinstance(merge, str) else tuple(merge) for merge in listed]
    if len(set(merges)) < len(merges):
        model["merges"] = [*reversed(dict.fromkeys(reversed(merges)))]
    return json.dumps({**definition, **plain, "model": model}).encode()


def unicode_normalizers(normalizer: dict[str, Any] | None) -> tuple[str, ...]:
    """The Unicode normalization forms that a normalizer applies, nested ones included."""
    if normalizer is None:
        return ()
    found = {normalizer["type"]} & {*_UNICODE_NORMALIZERS}
    for part in normalizer.get("normalizers") or []:
        found.update(unicode_normalizers(part))
    return tuple(sorted(found))
