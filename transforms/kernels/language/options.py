"""What can be set of language identification."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class LanguageIdentification:
    """How languages are identified.

    Attributes:
      language_window: characters of a document that are looked at.
      min_letters: with fewer letters in the window the label is ``und``.

    Raises:
      ValueError: an option is out of range.
    """

    language_window: int = 1000
    min_letters: int = 10

    def __post_init__(self) -> None:
        if self.language_window < 1:
            raise ValueError(f"language_window must be at least 1, not {self.language_window}")
        if self.min_letters < 0:
            raise ValueError(f"min_letters can't be negative: {self.min_letters}")


DEFAULT = LanguageIdentification()
