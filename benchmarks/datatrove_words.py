"""The peer's words: how datatrove 0.10.1 cuts texts.

Run with the interpreter of datatrove's environment; imports nothing of the project.

    python datatrove_words.py DOCUMENTS.parquet WORDS.parquet

From columns id, text, lang to id, words, and symbols: for each word whether it is only punctuation.
"""

from __future__ import annotations

import sys

import pyarrow as pa
import pyarrow.parquet as pq
from datatrove.utils.text import PUNCTUATION_SET, split_into_words
from datatrove.utils.typeshelper import Languages

LANGUAGES = {
    "en": Languages.english, "de": Languages.german, "fr": Languages.french, "es": Languages.spanish,
    "ru": Languages.russian, "tr": Languages.turkish,
}  # fmt: skip


def main(source: str, target: str) -> None:
    """All documents of a file."""
    rows = []
    for row in pq.read_table(source, columns=["id", "text", "lang"]).to_pylist():
        words = split_into_words(row["text"], LANGUAGES[row["lang"]])
        symbols = [all(character in PUNCTUATION_SET for character in word) for word in words]
        rows.append({"id": row["id"], "words": words, "symbols": symbols})
    pq.write_table(pa.Table.from_pylist(rows), target)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
