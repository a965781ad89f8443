"""What a user must know of a run that is done: it kept nothing, a source is mostly invalid, letters were lost.

These sentences stand in ``run.json`` under ``warnings``, and last of all that the command prints.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from beam_pipeline.lineage.invalid_sources import MostlyInvalid

UNKNOWN_SHARE = 0.001
"""From this share of unknown tokens on, a tokenizer doesn't fit the text; a rare letter in a corpus is no news."""


def warnings_of(contents: Mapping[str, Any], invalid: MostlyInvalid) -> list[str]:
    """The sentences for a run.

    Args:
      contents: of its manifest.
      invalid: its sources that are mostly invalid.
    """
    sentences = [
        f"{documents:,} of {total:,} documents of {uri} can't be used: {reason}"
        for uri, reason, documents, total in invalid.examples
    ]
    if invalid.sources > len(invalid.examples):
        sentences.append(f"the same goes for {invalid.sources - len(invalid.examples):,} more sources")
    sentences += _spelling(contents["spelling"])
    if not contents["counts"]["kept"]:
        sentences.append(why_nothing(contents))
    return sentences


def _spelling(spelling: Mapping[str, int]) -> list[str]:
    """What the tokenizer lost of the documents kept."""
    sentences = []
    documents, unknown = spelling.get("documents", 0), spelling.get("unknown_tokens", 0)
    over = spelling.get("documents_over_a_tenth_unknown", 0)
    if over or unknown > UNKNOWN_SHARE * spelling.get("tokens", 0):
        sentences.append(
            f"the tokenizer can't spell this text: of {spelling['tokens']:,} tokens {unknown:,} are unknown, or letters"
            f" that were left out, in {spelling['documents_with_unknown_tokens']:,} of {documents:,} documents kept; in"
            f" {over:,} they are over a tenth. Take a byte-level tokenizer or one with byte fallback, or let"
            " --max_unknown_tokens make such documents invalid"
        )
    if empty := spelling.get("documents_without_tokens", 0):
        sentences.append(
            f"{empty:,} of {documents:,} documents were kept without any token: the tokenizer makes nothing of them."
            " --max_unknown_tokens 1 makes them invalid"
        )
    return sentences


def why_nothing(contents: Mapping[str, Any]) -> str:
    """Why a run has kept no document, the commonest reasons first."""
    counts, unreadable = contents["counts"], contents["unreadable"]
    reasons = [
        (count, f"{outcome}: {reason}")
        for outcome in ("invalid", "dropped")
        for reason, count in counts[outcome].items()
    ]
    said = [f"{count:,} {words}" for count, words in sorted(reasons, key=lambda item: -item[0])[:3]]
    if unreadable:
        count = contents["sources"]["count"]
        said.append(
            f"{len(unreadable):,} of {count:,} sources unreadable, the first because: {unreadable[0]['reason']}"
        )
    if counts["dropped"].get("language_not_wanted"):
        said.append(f"the languages kept are {', '.join(contents['settings']['languages'])}")
    if not said:
        said.append("the sources hold no documents")
    return f"nothing was kept of {counts['documents']:,} documents: {'; '.join(said)}"
