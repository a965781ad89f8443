"""The annotator ``fasttext``: what a fastText classifier says of whole texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.io.shared_files import shared_file
from transforms.kernels.language.identification import WHOLE, LanguageModel
from transforms.kernels.language.scripts import languages_and_scripts, scripts_of

TYPES = {"float16": pa.float16(), "float32": pa.float32(), "uint8": pa.uint8()}


@dataclasses.dataclass
class FastText:
    """Adds probabilities of labels, or the most probable labels and their probabilities, by a fastText classifier.

    Any supervised model that the fasttext library reads (``.bin``, ``.ftz``): word n-grams, subwords, and every loss.
    The probabilities are the library's, within 1e-4 before they are rounded to ``type``. All workers of a machine map
    one copy of the model.

    Attributes:
      model: path or ``s3://`` URI.
      labels: whose probabilities become attributes, without ``__label__``. Without them the attributes are ``label``
        and ``score``, of the most probable one.
      top: how many labels there are attributes of, the most probable first: ``label_2`` and ``score_2`` are of the
        second.
      languages: the labels are languages: ``label_script`` (``deu_Latn``) is each label as ISO 639-3 and, where it
        names no script, with that of the text, and ``script`` the text's.
      window: how many characters of a text are looked at, from its start; 0: all.
      newlines: what the library is shown in place of a newline: a blank, as DCLM does, or nothing, as datatrove does.
      type: of the probabilities: ``float16`` (two bytes, 3 digits), ``float32``, or ``uint8`` (one byte: the
        probability times 255, rounded).
      sha256: of the model; if it is given, the model must have this hash.

    Raises:
      ValueError: an argument can't be used; in ``setup``, the model isn't the one that is meant, or lacks a label.
    """

    model: str
    labels: Sequence[str] = ()
    top: int = 1
    languages: bool = False
    window: int = 0
    newlines: Literal["blank", "nothing"] = "blank"
    type: str = "float16"
    sha256: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.labels, str):
            raise ValueError(f"labels: a list is wanted, such as [{self.labels}]")
        if len(set(self.labels)) < len(self.labels):
            raise ValueError(f"labels: one is named twice: {', '.join(self.labels)}")
        if self.labels and (self.top != 1 or self.languages):
            raise ValueError("labels: their probabilities are wanted, so top and languages can't be; use a second step")
        if self.top < 1:
            raise ValueError(f"top: {self.top} labels; at least 1 is needed")
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
        if self.labels:
            return dict.fromkeys(self.labels, kind)
        columns: dict[str, pa.DataType] = {}
        for end in self._ends:
            columns |= {f"label{end}": pa.string(), f"score{end}": kind}
            columns |= {f"label_script{end}": pa.string()} if self.languages else {}
        return columns | ({"script": pa.string()} if self.languages else {})

    @property
    def _ends(self) -> list[str]:
        return ["", *(f"_{place}" for place in range(2, self.top + 1))]

    def setup(self) -> None:
        """Maps the model, once a worker."""
        with shared_file(self.model) as shared:
            if self.sha256 and shared.sha256() != self.sha256:
                raise ValueError(f"fasttext: {self.model} has SHA-256 {shared.sha256()}, not {self.sha256}")
            self._model = LanguageModel.from_file(shared.path, shared.rows)
        missing = [label for label in self.labels if label not in self._model.labels]
        if missing:
            some = ", ".join(self._model.labels[:20])
            raise ValueError(f"fasttext: {self.model} has no label {missing[0]!r}; it has {some}")
        if self.top > len(self._model.labels):
            raise ValueError(f"fasttext: top: {self.top}, but {self.model} has {len(self._model.labels)} labels")

    def __call__(self, documents: pa.RecordBatch) -> Mapping[str, pa.Array]:
        """The attributes of each document; null where the model knows nothing of a text."""
        text = documents["text"]
        if self.newlines == "nothing":
            text = pc.replace_substring(text, "\n", "")
        window = self.window or WHOLE
        if self.labels:
            found = self._model.score(text, self.labels, window)
            return {name: self._rounded(found[:, i], np.isnan(found[:, i])) for i, name in enumerate(self.labels)}
        answer: dict[str, pa.Array] = {}
        scripts = scripts_of(text) if self.languages else None
        for end, (labels, scores) in zip(self._ends, self._best(text, window), strict=True):
            answer |= {f"label{end}": labels, f"score{end}": scores}
            if scripts is not None:
                answer[f"label_script{end}"] = languages_and_scripts(labels, scripts)
        return answer if scripts is None else answer | {"script": scripts.cast(pa.string())}

    def _best(self, text: pa.StringArray, window: int) -> list[tuple[pa.StringArray, pa.Array]]:
        """The most probable labels and their probabilities, the most probable ones of all texts first."""
        if self.top == 1:
            labels, scores = self._model.identify(text, window, 0)
            known = pc.greater(scores, 0)
            named = pc.if_else(known, labels.dictionary_decode(), pa.scalar(None, pa.string()))
            unknown = ~known.to_numpy(zero_copy_only=False)
            return [(named, self._rounded(scores.to_numpy(zero_copy_only=False), unknown))]
        chosen, found = self._model.best(text, self.top, window)
        names = pa.array(self._model.labels, pa.string())
        return [
            (
                names.take(pa.array(chosen[:, place], mask=np.isnan(found[:, place]))),
                self._rounded(found[:, place], np.isnan(found[:, place])),
            )
            for place in range(self.top)
        ]

    def _rounded(self, scores: np.ndarray, unknown: np.ndarray) -> pa.Array:
        if self.type == "uint8":  # a probability can exceed 1 by 1e-4
            return pa.array(np.rint(np.nan_to_num(scores).clip(0, 1) * 255).astype(np.uint8), mask=unknown)
        return pa.array(scores.astype(self.type), mask=unknown)
