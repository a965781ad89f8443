"""Options stand once: a step's class has default, bounds and words; settings and their flags have them from there."""

from __future__ import annotations

import dataclasses
from typing import Any

import pydantic
import pytest

from beam_pipeline.prices import Prices
from beam_pipeline.settings import OF_NEAR_DUPLICATES, OF_PASS_2, Settings, decides
from transforms.io.read_options import ReadOptions
from transforms.kernels.deduplication.options import Deduplication, MinHash
from transforms.kernels.language.options import LanguageIdentification
from transforms.kernels.text.options import Normalization
from transforms.options import about, check, names, option
from transforms.recipe.built_in import Languages, Length

PLACES = {"input": ["/in"], "output": "/out", "tokenizer": "/tokenizer.json"}
OWN_NAMES = {
    "minimum": "min_characters",
    "maximum": "max_characters",
    "keep": "languages",
    "min_score": "min_language_score",
    "min_scores": "min_language_scores",
}
"""Settings of steps that are named otherwise in a recipe."""
PREFIXES = {Normalization: "normalize_", Prices: "price_"}
CLASSES = (ReadOptions, Normalization, LanguageIdentification, MinHash, Deduplication, Prices, Length, Languages)
ALL = [(options, name) for options in CLASSES for name in about(options)]


def setting_of(options: type[Any], name: str) -> str:
    return PREFIXES.get(options, "") + (OWN_NAMES.get(name, name) if options in (Length, Languages) else name)


@pytest.mark.parametrize(("options", "name"), ALL)
def test_every_option_of_a_step_is_a_setting_with_its_default_and_words(options: type[Any], name: str) -> None:
    default, said = about(options)[name]
    field = Settings.model_fields[setting_of(options, name)]
    assert decides(setting_of(options, name), Settings) == said.decides
    if name != "partitions":  # of which 0 means: by the documents
        assert field.description == said.help
        found = field.get_default(call_default_factory=True)
        assert (tuple(found) if isinstance(found, list) else found) == default


@pytest.mark.parametrize(("options", "name"), [each for each in ALL if about(each[0])[each[1]][1].bounds])
def test_step_and_setting_refuse_the_same_values(options: type[Any], name: str) -> None:
    for kind, bound in about(options)[name][1].bounds.items():
        wrong: Any = {"ge": bound - 1, "gt": bound, "le": bound + 1, "lt": bound, "min_length": ""}[kind]
        with pytest.raises(ValueError, match=f"^{name}: "):
            options(**{name: wrong})
        if (name, kind) != ("partitions", "ge"):
            with pytest.raises(pydantic.ValidationError) as refused:
                Settings(**PLACES, **{setting_of(options, name): wrong})
            assert setting_of(options, name) in str(refused.value)


def test_what_an_option_can_be_is_checked() -> None:
    @dataclasses.dataclass(frozen=True)
    class Options:
        flag: bool = option(False, "a flag")
        number: int = option(3, "a number", gt=2, lt=9)
        share: float = option(0.5, "a share", le=1)
        word: str = option("a", "a word", choices=("a", "b"), decides="tokens")
        words: tuple[str, ...] = option((), "words", choices=("a", "b"))
        table: dict[str, int] = option({}, "a table")
        inner: int = 0

        def __post_init__(self) -> None:
            check(self)

    assert names(Options) == ("flag", "number", "share", "word", "words", "table")
    assert names(Options, "tokens") == ("word",)
    assert about(Options)["word"][1].metavar == "a|b"
    assert Options().table is not Options().table
    Options(flag=True, number=8, share=1, word="b", words=("b", "a"), inner=-1)
    wrong: dict[str, list[Any]] = {
        "flag": [1, None, "no"], "number": [2, 9, 3.5, True, "3"], "share": [1.5, float("nan"), "1"],
        "word": ["c", 1, None], "words": [("a", "c")],
    }  # fmt: skip
    for name, values in wrong.items():
        for value in values:
            with pytest.raises(ValueError, match=f"^{name}: must be "):
                Options(**{name: value})


def test_lists_of_settings_follow_from_the_classes() -> None:
    assert set(OF_PASS_2) == {*names(Deduplication, "tokens"), *names(Deduplication, "nothing")}
    assert set(OF_NEAR_DUPLICATES) == {*names(MinHash), "min_similarity", "keep_duplicate"}


def test_settings_make_the_options_that_steps_take() -> None:
    given = {"normalize_drop": "directions,nul", "normalize_max_blanks": 3, "bands": 20, "rows": 5, "min_letters": 2}
    settings = Settings(**PLACES, **given, keep_duplicate={"best": "edu"}, shard_bytes="1MiB", price_put=7)  # type: ignore[arg-type]
    assert settings.normalization() == Normalization(drop=("nul", "directions"), max_blanks=3)
    assert settings.minhash() == MinHash(bands=20, rows=5)
    assert settings.language_identification() == LanguageIdentification(min_letters=2)
    assert settings.reading() == ReadOptions(shard_bytes=2**20)
    assert settings.prices() == Prices(put=7)
    assert settings.deduplication(10**9) == Deduplication(keep_duplicate="best: edu", partitions=5000, band_bins=100)
