"""Every setting of a run, with its default and what it means: one flag and one YAML key each.

Each setting says which objects it decides. One that decides nothing can change how a run is carried out, never what it
produces. All others go into the hash under which objects are stored, and a run is continued only with the same ones.

A setting that is an option of a step is declared in the step's options class; here it only gets its group and its type.
"""

from __future__ import annotations

from typing import Self

import pydantic

from beam_pipeline.settings.costs import CostSettings, LineageSettings
from beam_pipeline.settings.deduplication import OF_NEAR_DUPLICATES, OF_PASS_2, DeduplicationSettings
from beam_pipeline.settings.fields import Part, decides, group_of, metavar_of
from beam_pipeline.settings.filters import FilterSettings, LanguageSettings
from beam_pipeline.settings.inputs import InputSettings, own_columns
from beam_pipeline.settings.normalization import NormalizationSettings
from beam_pipeline.settings.tokens import NO_EOS, TokenSettings

__all__ = [
    "GROUPS",
    "NO_EOS",
    "OF_NEAR_DUPLICATES",
    "OF_PASS_2",
    "NormalizationSettings",
    "Part",
    "Settings",
    "decides",
    "group_of",
    "metavar_of",
    "own_columns",
]

GROUPS = {
    "input and output": "Where the text is and where everything goes. Paths or URIs (docs/storage.md).",
    "normalization": "What is changed in texts; the defaults change no meaning (docs/normalization.md).",
    "language": "Language identification with a fastText model.",
    "filters": "Which documents stay. Every drop carries its filter's reason.",
    "deduplication": "Exact and near-duplicate removal; the defaults find a pair at similarity 0.8 with p = 0.92.",
    "tokens": "What is written of the documents kept.",
    "cost": "Prices for the cost in run.json, in any one currency; the defaults are AWS S3 Standard's in dollars.",
    "lineage": "Where PostgreSQL is. Credentials come from libpq's environment (PGPASSWORD, PGPASSFILE, ...).",
}


class Settings(  # the last base's fields come first
    LineageSettings,
    CostSettings,
    TokenSettings,
    DeduplicationSettings,
    FilterSettings,
    LanguageSettings,
    InputSettings,
    NormalizationSettings,
):
    """The resolved settings of a run.

    Raises:
      pydantic.ValidationError: a value is out of range, of the wrong type, or unknown.
    """

    @pydantic.model_validator(mode="after")
    def _check_tokens(self) -> Self:
        if self.tokens and not self.tokenizer:
            raise ValueError("--tokenizer is missing; --no-tokens writes normalized text without one")
        if self.tokens and self.text_jsonl:
            raise ValueError("text_jsonl: is for runs that write text; give --no-tokens, too")
        if not self.tokens and self.max_unknown_tokens is not None:
            raise ValueError("max_unknown_tokens: with --no-tokens there is no tokenizer that could count them")
        return self
