"""How our rules agree with datatrove's decisions on the same documents, by family and language, and where they differ.

    python -m benchmarks.rules_agreement DATA [--peer DATATROVE_PYTHON]

With datatrove's interpreter its own words are given to our rules, too (test only): what then differs isn't of words.
``DATA/rules/datatrove.parquet`` has what datatrove 0.10.1 decides about 5,000 documents of
``DATA/corpus/part-0.parquet``: in the columns of its families nothing where a document stays, else a reason;
``c4_text_sha1`` of what C4 leaves.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.kernels.statistics.reference import text_statistics_reference
from transforms.kernels.statistics.repetition import repetition_reference
from transforms.kernels.statistics.words import Token
from transforms.recipe.spec import PlannedRecipe, StepSpec

FAMILIES = {
    "gopher_quality": {"gopher_quality": {}},
    "gopher_repetition": {"gopher_repetition": {}},
    "fineweb": {"fineweb": {}},
    "c4": {"c4": {}},
}
SAME = {
    "gopher_short_doc": "gopher_few_words", "gopher_long_doc": "gopher_many_words",
    "gopher_below_avg_threshold": "gopher_short_words", "gopher_above_avg_threshold": "gopher_long_words",
    "gopher_too_many_hashes": "gopher_hashes", "gopher_too_many_ellipsis": "gopher_ellipses",
    "gopher_too_many_bullets": "gopher_bullet_lines", "gopher_too_many_end_ellipsis": "gopher_ellipsis_lines",
    "gopher_below_alpha_threshold": "gopher_few_letters", "gopher_enough_stop_words": "gopher_few_stop_words",
    "dup_para_frac": "gopher_duplicate_paragraphs", "dup_para_char_frac": "gopher_duplicate_paragraph_characters",
    "dup_line_frac": "gopher_duplicate_lines", "dup_line_char_frac": "gopher_duplicate_line_characters",
    **{f"top_{n}_gram": f"gopher_top_{n}gram" for n in (2, 3, 4)},
    **{f"duplicated_{n}_n_grams": f"gopher_duplicate_{n}gram" for n in range(5, 11)},
    "line_punct_ratio": "fineweb_few_ended_lines", "short_line_ratio": "fineweb_short_lines",
    "char_dup_ratio": "fineweb_duplicate_characters", "list_ratio": "fineweb_newlines",
    "lorem_ipsum": "c4_lorem_ipsum", "curly_bracket": "c4_curly_bracket", "too_few_sentences": "c4_few_sentences",
}  # fmt: skip
"""The reasons of datatrove's filters and ours."""


def documents(texts: list[str], languages: list[str]) -> pa.RecordBatch:
    """Documents as steps get them."""
    return pa.RecordBatch.from_pydict(
        {
            "id": pa.nulls(len(texts), pa.string()),
            "text": pa.array(texts, pa.string()),
            "language": pa.array(languages).dictionary_encode(),
            "language_score": pa.array([1.0] * len(texts), pa.float32()),
        }
    )


def reasons(data: pa.RecordBatch, family: dict[str, Any]) -> list[str]:
    """What a family of rules says of each document, "" where it stays."""
    recipe = PlannedRecipe.of([StepSpec.model_validate(family)])
    for spec in recipe.steps:
        function = spec.load().function
        answer = function(data)
        if not isinstance(answer, dict):
            return [reason or "" for reason in answer.to_pylist()]
        for name, values in answer.items():
            data = data.append_column(name, values)
    raise AssertionError("a family ends with a filter")


def reasons_with_words(data: pa.RecordBatch, family: str, words: list[list[Token]]) -> list[str]:
    """What a family of rules says if texts are cut into these words, "" where a document stays; by the references."""
    columns: dict[str, list[int]] = collections.defaultdict(list)
    for text, tokens in zip(data["text"].to_pylist(), words, strict=True):
        for name, value in (text_statistics_reference(text, tokens) | repetition_reference(text, tokens)).items():
            columns[name].append(value)
    for name, values in columns.items():
        data = data.append_column(name, pa.array(values, pa.uint32()))
    return [reason or "" for reason in StepSpec(use=family).load().function(data).to_pylist()]


def words_of(peer: Path, rows: list[dict[str, Any]], texts: dict[str, str]) -> dict[str, list[Token]]:
    """How datatrove cuts the texts."""
    with tempfile.TemporaryDirectory() as folder:
        given = [{"id": row["id"], "text": texts[row["id"]], "lang": row["lang"]} for row in rows]
        pq.write_table(pa.Table.from_pylist(given), f"{folder}/documents.parquet")
        script = Path(__file__).with_name("datatrove_words.py")
        subprocess.run([peer, script, f"{folder}/documents.parquet", f"{folder}/words.parquet"], check=True)
        return {
            row["id"]: [Token(word, not symbol) for word, symbol in zip(row["words"], row["symbols"], strict=True)]
            for row in pq.read_table(f"{folder}/words.parquet").to_pylist()
        }


def main() -> None:
    """Prints the table, and for each way of differing how often and an example."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--peer", type=Path, help="the interpreter of datatrove's environment")
    args = parser.parse_args()
    theirs = pq.read_table(args.data / "rules" / "datatrove.parquet").to_pylist()
    corpus = pq.read_table(args.data / "corpus" / "part-0.parquet", columns=["id", "text"]).to_pydict()
    texts = dict(zip(corpus["id"], corpus["text"], strict=True))
    by_language = collections.defaultdict(list)
    for row in theirs:
        by_language[row["lang"]].append(row)
    print("| language | documents |", " | ".join(FAMILIES), "| C4's text |\n|---|---|" + "---|" * (len(FAMILIES) + 1))
    differing: dict[tuple[str, str, str], collections.Counter[str]] = collections.defaultdict(collections.Counter)
    examples: dict[tuple[str, str, str], str] = {}
    for language, rows in by_language.items():
        data = documents([texts[row["id"]] for row in rows], [language] * len(rows))
        cells = []
        for family, step in FAMILIES.items():
            ours = reasons(data, step)
            same = 0
            for row, mine in zip(rows, ours, strict=True):
                known = row[family] or ""
                if bool(known) == bool(mine):
                    same += 1
                else:
                    key = (family, SAME.get(known, known) or "kept", mine or "kept")
                    differing[key][language] += 1
                    examples.setdefault(key, row["id"])
            cells.append(f"{same / len(rows):.2%}")
        left = StepSpec(use="c4_lines").load().function(data).to_pylist()
        kept = [(text, row) for text, row in zip(left, rows, strict=True) if not row["c4"]]
        equal = sum(hashlib.sha1(text.encode()).hexdigest() == row["c4_text_sha1"] for text, row in kept)
        print(f"| {language} | {len(rows)} |", " | ".join(cells), f"| {equal / max(len(kept), 1):.2%} |", flush=True)
    _print_differing(differing, examples)
    if args.peer:
        words = words_of(args.peer, theirs, texts)
        print("\nWith datatrove's own words:\n")
        differing.clear()
        for language, rows in by_language.items():
            data = documents([texts[row["id"]] for row in rows], [language] * len(rows))
            given = [words[row["id"]] for row in rows]
            for family in ("gopher_quality", "gopher_repetition", "fineweb"):
                for row, mine in zip(rows, reasons_with_words(data, family, given), strict=True):
                    known = SAME.get(row[family] or "", row[family] or "")
                    if known != mine:
                        differing[family, known or "kept", mine or "kept"][language] += 1
                        examples[family, known or "kept", mine or "kept"] = row["id"]
        _print_differing(differing, examples)


def _print_differing(
    differing: dict[tuple[str, str, str], collections.Counter[str]], examples: dict[tuple[str, str, str], str]
) -> None:
    print("\n| family | datatrove | here | documents | example |\n|---|---|---|---|---|")
    for key, counts in sorted(differing.items(), key=lambda item: -item[1].total()):
        where = ", ".join(f"{language} {count}" for language, count in counts.most_common())
        print("|", " | ".join(key), f"| {counts.total()} ({where}) | {examples[key]} |")


if __name__ == "__main__":
    main()
