"""IdentifyLanguage: a fastText label and its probability for every document."""

from __future__ import annotations

import dataclasses

import apache_beam as beam

from transforms.batches import Batch
from transforms.io.pinned_files import PinnedFile
from transforms.kernels.language import identification as language


@dataclasses.dataclass(frozen=True)
class LanguageIdentification:
    """How languages are identified.

    Attributes:
      window: characters of a document that are looked at.
      min_letters: with fewer letters in the window the label is ``und``.

    Raises:
      ValueError: an option is out of range.
    """

    window: int = 1000
    min_letters: int = 10

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"language_window must be at least 1, not {self.window}")
        if self.min_letters < 0:
            raise ValueError(f"min_letters can't be negative: {self.min_letters}")


class _Identify(beam.DoFn):
    def __init__(self, model: PinnedFile, options: LanguageIdentification) -> None:
        self._pinned, self._options = model, options

    def setup(self) -> None:
        """Loads the model once a worker."""
        self._model = language.load(self._pinned.local_path())

    def process(self, batch: Batch) -> list[Batch]:
        with batch.at_work("IdentifyLanguage"):
            labels, scores = self._model.identify(
                batch.data.column("text"), window=self._options.window, min_letters=self._options.min_letters
            )
        return [batch.with_columns(language=labels, language_score=scores)]


@dataclasses.dataclass
class IdentifyLanguage(beam.PTransform):
    """From ``Batch``: the same with ``language`` (dictionary of strings) and ``language_score`` (float32).

    Both are null where a document is not active.
    """

    model: PinnedFile
    options: LanguageIdentification

    def expand(self, batches: beam.PCollection[Batch]) -> beam.PCollection[Batch]:
        """One model a worker."""
        return batches | beam.ParDo(_Identify(self.model, self.options)).with_output_types(Batch)
