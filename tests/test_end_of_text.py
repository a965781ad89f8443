"""Which token ends a document: the tokenizer's own where it is known, else the run asks before any work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from beam_pipeline.planned_sources import PlanError
from beam_pipeline.planned_tokenizer import plan_tokenization
from beam_pipeline.sample import tokenizer_path
from beam_pipeline.settings import Settings


def eos(folder: Path, tokens: list[str], special: bool = True, given: str | None = None, **beside: Any) -> str | None:
    """The EOS of a run whose tokenizer has these added tokens and these files beside it."""
    definition = json.loads(tokenizer_path().read_text())
    end = definition["added_tokens"].pop()
    definition["model"]["vocab"] = {
        piece: number for piece, number in definition["model"]["vocab"].items() if piece != end["content"]
    } | {token: number + len(definition["model"]["vocab"]) for number, token in enumerate(tokens)}
    definition["added_tokens"] = [
        end | {"id": definition["model"]["vocab"][token], "content": token, "special": special} for token in tokens
    ]
    (folder / "tokenizer.json").write_text(json.dumps(definition))
    for name, contents in beside.items():
        (folder / f"{name}.json").write_text(json.dumps(contents))
    settings = Settings(input=["in"], output="out", tokenizer=str(folder / "tokenizer.json"), eos=given)
    return plan_tokenization(settings).eos


@pytest.mark.parametrize("token", ["<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>"])
def test_an_added_token_with_a_known_name(tmp_path: Path, token: str) -> None:
    assert eos(tmp_path, ["<pad>", token]) == token


def test_what_stands_beside_the_tokenizer_goes_before_names(tmp_path: Path) -> None:
    tokens = ["</s>", "<stop>", "<end>"]
    assert eos(tmp_path, tokens, tokenizer_config={"eos_token": "<end>"}) == "<end>"
    assert eos(tmp_path, tokens, tokenizer_config={"eos_token": {"content": "<stop>", "lstrip": False}}) == "<stop>"
    first = len(json.loads(tokenizer_path().read_text())["model"]["vocab"])
    assert eos(tmp_path, tokens, tokenizer_config={"eos_token": None}, config={"eos_token_id": first + 1}) == "<stop>"


@pytest.mark.parametrize(
    ("tokens", "beside"),
    [
        ([], {}),
        (["<pad>"], {}),
        (["</s>", "<|endoftext|>"], {}),
        (["<a>", "<b>"], {"config": {"eos_token_id": [0, 1]}}),
        (["<a>"], {"tokenizer_config": "no object"}),
    ],
    ids=["no tokens", "none known", "two known", "two ids", "damaged"],
)
def test_what_is_not_known_is_asked_for(tmp_path: Path, tokens: list[str], beside: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match=r"eos: .*tokenizer\.json doesn't say .*--eos TOKEN, or give --eos none"):
        eos(tmp_path, tokens, **beside)
    assert eos(tmp_path, tokens, given="none", **beside) is None


def test_a_token_of_ordinary_text_is_not_taken(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="eos:"):
        eos(tmp_path, ["</s>"], special=False)


def test_what_is_given_goes_before_all(tmp_path: Path) -> None:
    assert eos(tmp_path, ["</s>", "<end>"], given="<end>", tokenizer_config={"eos_token": "</s>"}) == "<end>"
