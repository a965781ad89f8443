"""Settings of normalization, also those of ``train-tokenizer``."""

from __future__ import annotations

import functools
from typing import Annotated, Self

import pydantic

from beam_pipeline.settings.fields import Part, of, options_of, split_commas
from transforms.kernels.text.options import DROPPABLE, LineEnds, Normalization

_of = functools.partial(of, "normalization", Normalization)


def _in_one_order(names: list[str]) -> list[str]:
    """The classes of characters, so that the order in which they are given changes nothing."""
    return [name for name in DROPPABLE if name in names] + [name for name in names if name not in DROPPABLE]


class NormalizationSettings(Part):
    """How texts are normalized: the options of ``Normalization``."""

    normalize_drop: Annotated[
        list[str], pydantic.BeforeValidator(split_commas), pydantic.AfterValidator(_in_one_order)
    ] = _of("drop")
    normalize_trim: bool = _of("trim")
    normalize_line_ends: LineEnds = _of("line_ends")
    normalize_nfc: bool = _of("nfc")
    normalize_strip_lines: bool = _of("strip_lines")
    normalize_max_blanks: int = _of("max_blanks")
    normalize_max_blank_lines: int = _of("max_blank_lines")

    @pydantic.model_validator(mode="after")
    def _check_normalization(self) -> Self:
        self.normalization()
        return self

    def normalization(self) -> Normalization:
        """How texts are normalized."""
        return options_of(self, Normalization, "normalize_")
