"""Steps of your own: a filter, a score and an edit, each a function on one text.

In a run they are named by their import path, here `own_steps:no_questions`, in the recipe of the settings.

python examples/own_steps.py [TEXTS]
"""

import sys
from typing import Literal

import beam_pipeline as bp
from beam_pipeline.sample import documents_path


def no_questions(text: str) -> bool:
    """A filter: true keeps, and its name is the reason."""
    return "?" not in text


def openness(text: str) -> float:
    """A score: an attribute of every document."""
    return sum(text.count(vowel) for vowel in "aeiou") / len(text)


@bp.per_document(reasons=["shouts", "whispers"])
def loudness(text: str, openness: float, language: str) -> Literal["shouts", "whispers"] | None:
    """A filter with two reasons, which sees an attribute of an earlier step and the language."""
    if text.isupper():
        return "shouts"
    return "whispers" if language == "en" and openness < 0.2 else None


def without_commas(text: str) -> str:
    """An editor: the text as it shall be."""
    return text.replace(",", "")


if __name__ == "__main__":
    table = bp.read_documents(sys.argv[1] if len(sys.argv) > 1 else str(documents_path()))
    table = bp.identify_language(bp.normalize(table))
    table = bp.apply_recipe(table, no_questions, openness, loudness, without_commas)
    print(table["reason"].value_counts().to_pylist())
