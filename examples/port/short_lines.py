"""A filter in plain Python, as a researcher tries it: for each document one call.

It drops what isn't prose: documents most of whose lines have few words, and documents without one sentence.
"""

from typing import Literal

FEWEST_WORDS = 4
SENTENCE_WORDS = 8
ENDS = (".", "!", "?", "。")


def short_lines(text: str) -> Literal["short_lines", "no_sentence"] | None:
    """``short_lines``: over half of the lines have fewer than 4 words; ``no_sentence``: no line of 8 words ends one.

    Words are what blanks separate. Lines that are empty or only blanks don't count.
    """
    lines = [line.rstrip(" ") for line in text.split("\n")]
    lines = [line for line in lines if line]
    words = [sum(word != "" for word in line.split(" ")) for line in lines]
    if 2 * sum(count < FEWEST_WORDS for count in words) > len(lines):
        return "short_lines"
    if not any(count >= SENTENCE_WORDS and line.endswith(ENDS) for line, count in zip(lines, words, strict=True)):
        return "no_sentence"
    return None
