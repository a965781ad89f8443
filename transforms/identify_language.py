"""IdentifyLanguage: a fastText label and its probability for every document."""

from __future__ import annotations

import dataclasses

from transforms.batches import Batch
from transforms.box import Box
from transforms.io.pinned_files import DEFAULT_LANGUAGE_MODEL, PinnedFile
from transforms.kernels.language import identification as language
from transforms.kernels.language.options import DEFAULT, LanguageIdentification

__all__ = ["IdentifyLanguage", "LanguageIdentification"]


@dataclasses.dataclass
class IdentifyLanguage(Box):
    """From ``Batch``: the same with ``language`` (dictionary of strings) and ``language_score`` (float32).

    Both are null where a document is not active.

    Attributes:
      model: a fastText model; by default lid.176, which comes with the package.
    """

    model: PinnedFile = dataclasses.field(default_factory=lambda: PinnedFile.pin(DEFAULT_LANGUAGE_MODEL))
    options: LanguageIdentification = DEFAULT

    def setup(self) -> None:
        """Loads the model once a worker; the workers of a machine share the rows of a large one."""
        with self.model.shared() as (path, rows):
            self._model = language.load(path, rows)

    def apply(self, batch: Batch) -> Batch:
        """The label and score of each document."""
        with batch.at_work("IdentifyLanguage"):
            labels, scores = self._model.identify(
                batch.data.column("text"), window=self.options.language_window, min_letters=self.options.min_letters
            )
        return batch.with_columns(language=labels, language_score=scores)
