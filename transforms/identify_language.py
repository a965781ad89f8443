"""IdentifyLanguage: a fastText label and its probability for every document."""

from __future__ import annotations

import dataclasses

from transforms.batches import Batch
from transforms.box import Box
from transforms.io.pinned_files import DEFAULT_LANGUAGE_MODEL, PinnedFile
from transforms.kernels.language import identification as language


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


@dataclasses.dataclass
class IdentifyLanguage(Box):
    """From ``Batch``: the same with ``language`` (dictionary of strings) and ``language_score`` (float32).

    Both are null where a document is not active.

    Attributes:
      model: a fastText model; by default lid.176, which comes with the package.
    """

    model: PinnedFile = dataclasses.field(default_factory=lambda: PinnedFile.pin(DEFAULT_LANGUAGE_MODEL))
    options: LanguageIdentification = LanguageIdentification()

    def setup(self) -> None:
        """Loads the model once a worker."""
        self._model = language.load(self.model.local_path())

    def apply(self, batch: Batch) -> Batch:
        """The label and score of each document."""
        with batch.at_work("IdentifyLanguage"):
            labels, scores = self._model.identify(
                batch.data.column("text"), window=self.options.language_window, min_letters=self.options.min_letters
            )
        return batch.with_columns(language=labels, language_score=scores)
