"""What can be set of language identification."""

from __future__ import annotations

import dataclasses

from transforms.options import check, option


@dataclasses.dataclass(frozen=True)
class LanguageIdentification:
    """How languages are identified.

    Raises:
      ValueError: an option is out of range; the message names it.
    """

    language_window: int = option(1000, "characters of a document that are looked at", metavar="N", ge=1)
    min_letters: int = option(10, "with fewer letters the language is und (undetermined)", metavar="N", ge=0)

    def __post_init__(self) -> None:
        check(self)


DEFAULT = LanguageIdentification()
