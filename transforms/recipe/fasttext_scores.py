"""The annotator ``fasttext``: what a fastText classifier says of whole texts."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.io.shared_files import shared_file
from transforms.kernels.language.identification import WHOLE, LanguageModel

TYPES = {"float16": pa.float16(), "float32": pa.float32()}


@dataclasses.dataclass
class FastText:
    """Adds probabilities of labels, or the most probable label and its probability, by a fastText classifier.

    Any supervised model that the fasttext library reads (``.bin``, ``.ftz``): word n-grams, subwords, and every loss.
    The probabilities are the library's, within 1e-4 before they are rounded to ``type``. All workers of a machine map
    one copy of a model that isn't quantized.

    Attributes:
      model: path or ``s3://`` URI.
      labels: whose probabilities become attributes, without ``__label__``. Without them the attributes are ``label``
        and ``score``, of the most probable one.
      window: how many characters of a text are looked at, from its start; 0: all.
      newlines: what the library is shown in place of a newline: a blank, as DCLM does, or nothing, as datatrove does.
      type: of the probabilities: ``float16`` (two bytes, 3 digits), or ``float32``.
      sha256: if it is given, the model must have this hash.

    Raises:
      ValueError: an argument can't be used; in ``setup``, the model isn't the one that is meant, or lacks a label.
    """

    model: str
    labels: Sequence[str] = ()
    window: int = 0
    newlines: Literal["blank", "nothing"] = "blank"
    type: str = "float16"
    sha256: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.labels, str):
            raise ValueError(f"labels: a list is wanted, such as [{self.labels}]")
        if len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels: one is named twice: {', '.join(self.labels)}")
        if self.window < 0:
            raise ValueError(f"window: {self.window} characters; 0 is the whole text")
        if self.newlines not in ("blank", "nothing"):
            raise ValueError(f"newlines: blank or nothing, not {self.newlines!r}")
        if self.type not in TYPES:
            raise ValueError(f"type: one of {', '.join(TYPES)}, not {self.type!r}")

    @property
    def columns(self) -> dict[str, pa.DataType]:
        """The attributes with their types."""
        kind = TYPES[self.type]
        return dict.fromkeys(self.labels, kind) if self.labels else {"label": pa.string(), "score": kind}

    def setup(self) -> None:
        """Maps the model, once a worker."""
        with shared_file(self.model) as (path, rows):
            if self.sha256:
                with path.open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
                if found != self.sha256:
                    raise ValueError(f"fasttext: {self.model} has SHA-256 {found}, not {self.sha256}")
            self._model = LanguageModel.from_file(path, rows)
        missing = [label for label in self.labels if label not in self._model.labels]
        if missing:
            some = ", ".join(self._model.labels[:20])
            raise ValueError(f"fasttext: {self.model} has no label {missing[0]!r}; it has {some}")

    def __call__(self, documents: pa.RecordBatch) -> Mapping[str, pa.Array]:
        """The attributes of each document; null where the model knows nothing of a text."""
        text = documents["text"]
        if self.newlines == "nothing":
            text = pc.replace_substring(text, "\n", "")
        window = self.window or WHOLE
        if not self.labels:
            labels, scores = self._model.identify(text, window, 0)
            known = pc.greater(scores, 0)
            nothing = pa.scalar(None, pa.string())
            return {
                "label": pc.if_else(known, labels.dictionary_decode(), nothing),
                "score": self._rounded(scores.to_numpy(zero_copy_only=False), ~known.to_numpy(zero_copy_only=False)),
            }
        found = self._model.score(text, self.labels, window)
        return {name: self._rounded(found[:, i], np.isnan(found[:, i])) for i, name in enumerate(self.labels)}

    def _rounded(self, scores: np.ndarray, unknown: np.ndarray) -> pa.Array:
        return pa.array(scores.astype(self.type), mask=unknown)
