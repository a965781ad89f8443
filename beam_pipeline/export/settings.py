"""Every setting of an export: one flag each."""

from __future__ import annotations

import functools
from typing import Annotated, Any, Self

import pydantic
import yaml
from pydantic import Field

from beam_pipeline.settings.fields import Part, place, places, setting
from transforms.export.formats import FORMATS
from transforms.export.options import Boundaries
from transforms.io import storage
from transforms.io.yaml_file import read_yaml
from transforms.kernels.export.packing import Packing
from transforms.recipe.expressions import Expression

GROUPS = {
    "what": "Which runs, in which format, and where to. Local paths or URIs, such as s3:// (docs/storage.md).",
    "selection": "Which documents, how often (docs/export.md has mixtures).",
    "sequences": "How documents become sequences.",
}


_what = functools.partial(setting, "what", decides="files")
_selection = functools.partial(setting, "selection", decides="files")
_sequences = functools.partial(setting, "sequences", decides="files")


class Group(Part):
    """How much of a group of documents: exactly one of these.

    Attributes:
      epochs: so many copies of each document, on average; 0: none.
      tokens: a budget.
      share: of the mixture's ``tokens``, a budget too.
    """

    epochs: float | None = Field(None, ge=0, le=1000)
    tokens: float | None = Field(None, ge=0)
    share: float | None = Field(None, ge=0, le=1)

    @pydantic.model_validator(mode="after")
    def _one(self) -> Self:
        if sum(value is not None for value in (self.epochs, self.tokens, self.share)) != 1:
            raise ValueError("give one of epochs, tokens and share")
        return self


class Mixture(Part):
    """How much of what.

    Attributes:
      by: column of the token objects that says a document's group, or ``run`` for the position of its run.
      groups: by pattern of the value (``*`` and ``?`` as in file names); the first that matches counts, and a document
        that none matches is left out.
      tokens: of the whole, of which groups have shares.
      cluster_size: how often a document counts in an epoch, by the smallest ``cluster_size`` for which it holds.
    """

    by: str = ""
    groups: dict[str, Group] = Field(default_factory=lambda: {"*": Group.model_validate({"epochs": 1})}, min_length=1)
    tokens: float | None = Field(None, gt=0)
    cluster_size: dict[Annotated[int, Field(ge=1)], Annotated[float, Field(ge=0)]] = Field(default_factory=dict)

    @pydantic.model_validator(mode="after")
    def _shares(self) -> Self:
        shares = sum(group.share or 0 for group in self.groups.values())
        if any(group.share is not None for group in self.groups.values()) and self.tokens is None:
            raise ValueError("groups have a share: give the tokens of the whole, too")
        if shares > 1 + 1e-9:
            raise ValueError(f"the shares of the groups come to {shares}, more than 1")
        if len(self.groups) > 1 and not self.by:
            raise ValueError("there are several groups: `by` names the column that tells them apart")
        return self

    def budget(self, pattern: str) -> float | None:
        """Tokens of a group; None: it has epochs."""
        group = self.groups[pattern]
        return group.tokens if group.share is None else group.share * (self.tokens or 0)


def _read_mixture(value: Any) -> Any:
    """A mixture as it stands, or the one in the YAML file that a flag names."""
    if not isinstance(value, str):
        return value
    try:
        found = read_yaml(value)
    except (yaml.YAMLError, storage.StorageError) as error:
        raise ValueError(f"{value}: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{value}: expected `by`, `groups`, `tokens`, `cluster_size`")
    return found


def _condition(text: str) -> str:
    return Expression.parse(text).text if text else text


class ExportSettings(Part):
    """What an export is asked to be."""

    run: Annotated[list[str], pydantic.AfterValidator(places)] = _what(
        min_length=1, decides="nothing", metavar="URI", description="outputs of finished runs, or of dedup over them"
    )
    decisions: Annotated[list[str], pydantic.AfterValidator(places)] = _what(
        [],
        decides="nothing",
        metavar="URI",
        description="outputs of dedup over some of the runs: which of their documents stay",
    )
    output: Annotated[str, pydantic.AfterValidator(place)] = _what(
        metavar="URI", decides="nothing", description="folder or prefix for the export"
    )
    format: str = _what(metavar="NAME", description=f"one of {', '.join(FORMATS)}")
    shard_tokens: int = _what(
        1 << 26,
        ge=1,
        lt=1 << 40,
        metavar="N",
        description="tokens of a file, about; a worker holds a file in memory",
    )
    without: Annotated[str, pydantic.AfterValidator(place)] = _selection(
        "",
        decides="nothing",
        metavar="FILE",
        description="documents to leave out, a line each, as trace --list prints them",
    )
    seed: int = _selection(0, ge=0, lt=1 << 63, metavar="N", description="another seed, another order")
    mixture: Annotated[Mixture, pydantic.BeforeValidator(_read_mixture)] = _selection(
        Mixture,
        metavar="FILE",
        description="YAML that says how much of what is taken; without it, every document once",
    )
    where: Annotated[str, pydantic.AfterValidator(_condition)] = _selection(
        "",
        metavar="CONDITION",
        description="only documents whose columns fulfil this, e.g. \"language == 'de' and language_score > 0.8\"",
    )
    holdout: float = _selection(
        0.0, ge=0, lt=1, metavar="SHARE", description="share of the documents that goes into holdout/"
    )
    parts: int = _selection(
        1,
        ge=1,
        le=1024,
        metavar="N",
        description="into how many files the documents of a row group go: more mix better, and each is read so often",
    )
    packing: Packing = _sequences(
        "none",
        metavar="none|concatenate|best-fit",
        description="a sequence a document; all one after the other, cut; or whole documents put together",
    )
    sequence_length: int = _sequences(
        0, ge=0, lt=1 << 31, metavar="N", description="tokens of a sequence, with packing"
    )
    eos: str = _sequences(
        "", metavar="TOKEN", description="token (or its id) to end documents with, unless the run did"
    )
    bos: str = _sequences(
        "", metavar="TOKEN", description="token (or its id) to begin documents with, unless the run did"
    )
    pad: str = _sequences(
        "", metavar="TOKEN", description="token (or its id) to fill sequences up with; '': they stay short"
    )
    boundaries: Boundaries = _sequences(
        "none",
        metavar="none|cu_seqlens|position_ids",
        description="a column that tells the documents of a sequence apart",
    )

    @pydantic.field_validator("format")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in FORMATS:
            raise ValueError(f"there is no such format; there are {', '.join(FORMATS)}")
        return value

    @pydantic.model_validator(mode="after")
    def _together(self) -> Self:
        chosen = FORMATS[self.format]
        if self.packing != "none" and not self.sequence_length:
            raise ValueError(f"packing {self.packing} needs --sequence_length")
        if self.packing == "none" and (self.sequence_length or self.pad):
            raise ValueError("sequence_length and pad are for packed sequences: give --packing, too")
        if self.boundaries != "none" and not chosen.carries_boundaries:
            raise ValueError(f"format {self.format} has no place for {self.boundaries}; leave out --boundaries")
        if chosen.needs_end and self.packing == "best-fit" and not self.pad:
            raise ValueError(
                f"format {self.format} has no lengths: best-fit packing needs --pad, so that all are alike"
            )
        return self
