"""What can become of a document, as one printable byte each, or two bytes where a run has many reasons.

Every document of a run ends with exactly one outcome: kept, dropped for a reason, or invalid for a reason. Lower-case
letters are the pipeline's own; a filter's reasons get the other printable characters, in the order of the settings,
and the run's table says which is which (``Outcomes``). After 68 reasons the characters begin again on the next page: a
code is ``PAGE * page + character``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

KEPT = ord("k")
EXACT_DUPLICATE = ord("x")
NEAR_DUPLICATE = ord("n")
NULL_TEXT = ord("z")
EMPTY_TEXT = ord("e")
INVALID_UTF8 = ord("u")
INVALID_JSON = ord("j")
MISSING_TEXT = ord("m")
TEXT_NOT_A_STRING = ord("t")
NO_TOKENS = ord("o")
UNKNOWN_TOKENS = ord("s")
BROKEN_RECORD = ord("r")
TRUNCATED_RECORD = ord("c")
TOO_LARGE = ord("l")
NOT_A_PAGE = ord("w")
HTTP_STATUS = ord("h")
NOT_TEXT = ord("b")
NOT_EXTRACTED = ord("p")
UNKNOWN_CHARSET = ord("v")

OWN = {
    KEPT: ("kept", ""),
    EXACT_DUPLICATE: ("dropped", "exact_duplicate"),  # the normalized text of an earlier document
    NEAR_DUPLICATE: ("dropped", "near_duplicate"),  # a verified pair with an earlier document that is kept
    NULL_TEXT: ("invalid", "null_text"),
    EMPTY_TEXT: ("invalid", "empty_text"),  # no text, or none that can be seen
    INVALID_UTF8: ("invalid", "invalid_utf8"),  # not UTF-8, or a lone surrogate in JSON
    INVALID_JSON: ("invalid", "invalid_json"),  # the line isn't a JSON object
    MISSING_TEXT: ("invalid", "missing_text"),  # a JSON object without the text field
    TEXT_NOT_A_STRING: ("invalid", "text_not_a_string"),
    NO_TOKENS: ("invalid", "no_tokens"),  # the tokenizer makes nothing of it; if max_unknown_tokens is set
    UNKNOWN_TOKENS: ("invalid", "unknown_tokens"),  # more of its tokens are unknown than max_unknown_tokens says
    BROKEN_RECORD: ("invalid", "broken_record"),  # of a WARC file: damaged, or its length is wrong
    TRUNCATED_RECORD: ("invalid", "truncated_record"),  # the file ends, or another record begins, in its midst
    TOO_LARGE: ("invalid", "too_large"),  # a record or page over the limit of its reader
    NOT_A_PAGE: ("invalid", "not_a_page"),  # warcinfo, request, metadata, revisit: nothing to read in it
    HTTP_STATUS: ("invalid", "http_status"),  # another status than 200
    NOT_TEXT: ("invalid", "not_text"),  # a picture, a PDF file and so on
    NOT_EXTRACTED: ("invalid", "not_extracted"),  # HTML: `extract` makes text of it
    UNKNOWN_CHARSET: ("invalid", "unknown_charset"),  # the bytes are text in no charset
}
NOT_DROPPED = frozenset(code for code, (outcome, _) in OWN.items() if outcome != "dropped")
"""Codes of what is kept or invalid; all others are drops."""
FILTER_CODES = [code for code in range(0x21, 0x7F) if not chr(code).islower()]
PAGE = 128
MAX_REASONS = len(FILTER_CODES) * PAGE

EDITS = ("removed", "replaced", "added")
"""What is counted of every editor: characters of a document, in the columns ``STEP.removed`` and so on."""


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """The outcomes of one run: code -> (outcome, reason)."""

    table: dict[int, tuple[str, str]]

    @classmethod
    def with_filters(cls, reasons: Iterable[str]) -> Outcomes:
        """The pipeline's own outcomes and one code for each filter reason, in order.

        Raises:
          ValueError: a reason is named twice, or like one of the pipeline's own, or there are too many.
        """
        reasons = list(reasons)
        if len(reasons) > MAX_REASONS:
            raise ValueError(f"filters: {len(reasons)} reasons, but a run can have {MAX_REASONS} at most")
        own = {reason for _, reason in OWN.values()}
        for i, reason in enumerate(reasons):
            if not reason or reason in own or reason in reasons[:i]:
                raise ValueError(f"filters: the reason {reason!r} is empty, taken by the pipeline, or given twice")
        pages = [(PAGE * (i // len(FILTER_CODES)), i % len(FILTER_CODES)) for i in range(len(reasons))]
        codes = [page + FILTER_CODES[place] for page, place in pages]
        return cls(OWN | {code: ("dropped", reason) for code, reason in zip(codes, reasons, strict=True)})

    @classmethod
    def from_json(cls, table: Mapping[str, list[str]]) -> Outcomes:
        """Those that ``as_json`` has stored."""
        return cls({ord(letter): (outcome, reason) for letter, (outcome, reason) in table.items()})

    @property
    def wide(self) -> bool:
        """Whether a code needs two bytes."""
        return max(self.table) >= PAGE

    def as_json(self) -> dict[str, list[str]]:
        """The table as it is stored with a run: code as a character -> outcome and reason."""
        return {chr(code): list(named) for code, named in sorted(self.table.items())}

    def code(self, reason: str) -> int:
        """The code of a reason; KeyError if no filter of the run has declared it."""
        for code, (_, known) in self.table.items():
            if known == reason:
                return code
        raise KeyError(reason)
