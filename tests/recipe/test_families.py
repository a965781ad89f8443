"""Families of rules: what they need is put in front of them, and their rules are the published ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from transforms.recipe.fineweb2 import language_of, published
from transforms.recipe.spec import PlannedRecipe, StepSpec
from transforms.recipe.steps import apply_step

PROSE = (
    "The river ran high that spring, and the people of the valley had to move their sheep to the hills.\n"
    "They came back in May. What they found was mud, and a few trees that had been brought with the flood. "
    "Nobody had died. The mill was gone, but its stones lay where they had always lain, and so it was built again "
    "by the same men who had built it the first time. It took them all summer, and it has stood ever since!\n"
    "That is the story of the mill as it was told to me, and I have no reason to doubt a word of it."
)


def planned(*steps: Any) -> PlannedRecipe:
    return PlannedRecipe.of([StepSpec.model_validate(step) for step in steps])


def reasons(recipe: PlannedRecipe, texts: list[str], language: str = "en") -> list[str | None]:
    data = pa.record_batch(
        {
            "text": pa.array(texts),
            "id": pa.nulls(len(texts), pa.string()),
            "outcome": pa.nulls(len(texts), pa.uint8()),
            "language": pa.array([language] * len(texts)).dictionary_encode(),
            "language_score": pa.array([0.9] * len(texts), pa.float32()),
        }
    )
    for spec in recipe.steps:
        data = apply_step(data, spec.load(), recipe.outcomes)
    return [None if code is None else recipe.outcomes.table[code][1] for code in data["outcome"].to_pylist()]


def test_statistics_are_computed_once() -> None:
    recipe = planned("gopher_quality", "gopher_repetition", "fineweb", "c4")
    assert [spec.label for spec in recipe.steps] == [
        "text_statistics", "gopher_quality", "gopher_repetition", "fineweb", "c4_statistics", "c4"
    ]  # fmt: skip
    assert recipe.steps[0].arguments == {"repetition": True}
    assert len(recipe.reasons) == 10 + 13 + 4 + 3


def test_statistics_are_computed_again_behind_an_editor() -> None:
    recipe = planned("gopher_quality", "c4_lines", "fineweb", {"rule": {"reason": "x", "keep": "words > 1"}})
    assert [spec.label for spec in recipe.steps] == [
        "text_statistics", "gopher_quality", "c4_lines", "text_statistics_2", "fineweb", "x"
    ]  # fmt: skip
    assert "text_statistics_2.terminal_lines" in recipe.steps[4].load().function.reads
    long_lines = PROSE + "\n" + "\n".join(f"The thing called {chr(97 + n)}x" for n in range(26))
    assert reasons(recipe, [PROSE, long_lines]) == [None, None]
    assert reasons(planned("gopher_quality", "fineweb"), [long_lines]) == ["fineweb_few_ended_lines"]


def test_a_recipe_can_name_the_statistics_itself() -> None:
    for named in (["text_statistics", "repetition"], [{"text_statistics": {"repetition": True}}]):
        recipe = planned(*named, "gopher_repetition")
        assert [spec.use for spec in recipe.steps] == [
            *(StepSpec.model_validate(n).use for n in named),
            "gopher_repetition",
        ]
    for named in (["text_statistics"], [{"text_statistics": {"repetition": True}}], ["repetition"]):
        recipe = planned("gopher_quality", *named, "gopher_repetition", {"rule": {"reason": "x", "keep": "words > 1"}})
        assert [spec.label for spec in recipe.steps] == [
            "text_statistics", "gopher_quality", "gopher_repetition", "x"
        ]  # fmt: skip
    assert planned("gopher_quality", {"text_statistics": {"repetition": True}}).steps[0].arguments == {
        "repetition": True
    }
    with pytest.raises(ValueError, match=r"two steps are called text_statistics \(families of rules bring"):
        planned("gopher_quality", "c4_lines", "text_statistics")
    recipe = planned({"use": "text_statistics", "name": "mine"}, "gopher_quality")
    assert [spec.label for spec in recipe.steps] == ["mine", "gopher_quality"]
    assert reasons(recipe, ["Too short."]) == ["gopher_few_words"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (PROSE, None),
        ("Few words.", "gopher_few_words"),
        ("a b " * 60, "gopher_short_words"),
        ("incomprehensibilities " * 60, "gopher_long_words"),
        (PROSE + " #" * 20, "gopher_hashes"),
        (PROSE + " ... " * 20, "gopher_ellipses"),
        ("- " + PROSE.replace("\n", " ").replace(". ", "\n- "), "gopher_bullet_lines"),
        (PROSE.replace("\n", "...\n"), "gopher_ellipsis_lines"),
        (PROSE + " 1234" * 30, "gopher_few_letters"),
        ("Lorem sit amet dolor ipsum. " * 20, "gopher_few_stop_words"),
    ],
)
def test_gopher_quality(text: str, reason: str | None) -> None:
    assert reasons(planned("gopher_quality"), [text]) == [reason]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (PROSE, None),
        (f"{PROSE}\n\n{PROSE}", "gopher_duplicate_paragraphs"),
        ("a\n" * 4 + PROSE, "gopher_duplicate_lines"),
        ("of the " * 30 + PROSE, "gopher_top_2gram"),
        ((PROSE + " " + PROSE).replace("\n", " "), "gopher_duplicate_5gram"),
    ],
)
def test_gopher_repetition(text: str, reason: str | None) -> None:
    assert reasons(planned("gopher_repetition"), [text]) == [reason]


def test_a_threshold_is_an_argument_and_can_be_taken_away() -> None:
    assert reasons(
        planned({"gopher_quality": {"min_words": 1, "min_stop_words": 0}}), ["Some words here and there, by all means."]
    ) == [None]
    assert "gopher_hashes" not in planned({"gopher_quality": {"max_hashes": None}}).reasons
    strict = planned({"gopher_repetition": {"max_top_ngrams": {"2": 0.01}, "max_duplicate_ngrams": None}})
    assert reasons(strict, [PROSE]) == ["gopher_top_2gram"]
    with pytest.raises(ValueError, match="max_top_ngrams: 7 isn't one of 2, 3, 4"):
        planned({"gopher_repetition": {"max_top_ngrams": {7: 0.1}}})
    with pytest.raises(ValueError, match="doesn't take"):
        planned({"gopher_quality": {"min_wrods": 1}})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (PROSE, None),
        (PROSE + "\nlorem ipsum is a text.", "c4_lorem_ipsum"),
        (PROSE + "\nAn object { is it.", "c4_curly_bracket"),
        (PROSE.partition("\n")[0], "c4_few_sentences"),
    ],
)
def test_c4(text: str, reason: str | None) -> None:
    assert reasons(planned("c4"), [text]) == [reason]


def test_dclm() -> None:
    counters = "\n".join(f"{n} likes" for n in range(20))
    assert reasons(planned("dclm"), [PROSE, PROSE + "\n" + counters]) == [None, "dclm_removed_words"]


GERMAN = (
    "Der Fluss stand in diesem Frühjahr hoch, und die Leute im Tal mussten mit den Schafen auf die Hügel ziehen. "
    "Im Mai kamen sie zurück. Was sie fanden, war Schlamm und das Holz der Bäume, die von dem Wasser gebracht worden "
    "waren. Niemand war gestorben. Die Mühle war fort, aber ihre Steine lagen noch immer an derselben Stelle, und so "
    "wurde sie von denselben Männern wieder aufgebaut."
)


def test_fineweb2_asks_with_the_thresholds_of_the_language() -> None:
    recipe = planned("fineweb2")
    assert reasons(recipe, [GERMAN], "de") == [None]
    assert reasons(recipe, [GERMAN], "deu_Latn") == [None]
    assert reasons(recipe, [PROSE], "de") == ["fineweb2_few_stop_words"]
    assert reasons(recipe, [PROSE, "Short."], "und") == [None, "fineweb2_few_words"]
    listed = GERMAN.replace(". ", ".\n").replace(", ", ",\n")
    assert reasons(recipe, [listed], "de") == [None]
    assert reasons(recipe, [listed.replace(" die ", "\ndie ").replace(" und ", "\nund ")], "de") == [
        "fineweb2_newlines"
    ]


def test_thresholds_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "thresholds.yaml"
    file.write_text("deu_Latn: {new_line_ratio: 0.001, stopwords: [der]}\n")
    recipe = planned({"fineweb2": {"thresholds": str(file), "min_stop_words": 1}})
    assert reasons(recipe, [GERMAN + "\nUnd so weiter."], "de") == ["fineweb2_newlines"]
    assert recipe.read_in["fineweb2"]["thresholds"]["deu_Latn"]["new_line_ratio"] == 0.001
    assert not planned("fineweb2").read_in
    for text, message in (
        ("deu_Latn: {new_lines: 1}", "deu_Latn: there is no threshold 'new_lines'"),
        ("- a", "expected a mapping"),
        ("nob_Latn: {stopwords: [no]}", "quote 'no'"),
        ("deu_Latn: {dup_n_grams: [[2, 0.1]]}", "dup_n_grams must be pairs"),
        ("deu_Latn: {new_line_ratio: a}", "new_line_ratio must be a number"),
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match=message):
            planned({"fineweb2": {"thresholds": str(file)}})
    with pytest.raises(ValueError, match=r"fineweb2: thresholds: .*nothing.yaml"):
        planned({"fineweb2": {"thresholds": str(tmp_path / "nothing.yaml")}})


def test_labels_of_any_model_name_a_language() -> None:
    known = frozenset(published())
    assert len(known) == 31
    labels = ("de", "deu", "deu_Latn", "zh", "ar", "no", "nb", "fa", "und", "ceb")
    assert [language_of(label, known) for label in labels] == [
        "deu_Latn", "deu_Latn", "deu_Latn", "cmn_Hani", "arb_Arab", "nob_Latn", "nob_Latn", "fas_Arab", None, None
    ]  # fmt: skip
    assert language_of("deu_Cyrl", known) is None
