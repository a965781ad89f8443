"""The annotator ``script``: the script of a text, and its language with it (``deu_Latn``)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import pyarrow as pa

from transforms.kernels.language.scripts import languages_and_scripts, scripts_of


@dataclasses.dataclass(frozen=True)
class Script:
    """Adds ``script``, that of most letters (``Latn``), and ``language_script``, the language with it (``deu_Latn``).

    Whatever model the run's languages are from, ``language_script`` is ISO 639-3 and ISO 15924. Where the model's label
    names a script (``zho_Hans``), that one is taken.
    """

    columns: ClassVar[Mapping[str, pa.DataType]] = {"script": pa.string(), "language_script": pa.string()}

    def __call__(self, documents: pa.RecordBatch) -> Mapping[str, pa.Array]:
        """Both of each document; ``script`` is null where no letter is of a known one."""
        scripts = scripts_of(documents["text"])
        return {
            "script": scripts.cast(pa.string()),
            "language_script": languages_and_scripts(documents["language"], scripts),
        }
