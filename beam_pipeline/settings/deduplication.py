"""Settings of duplicate removal."""

from __future__ import annotations

import functools
from typing import Annotated, Any, Self

import pydantic

from beam_pipeline.settings.fields import Part, of, options_of, setting
from transforms.kernels.deduplication.options import MAX_PARTITIONS, Deduplication, MinHash, Scope, partitions_for
from transforms.options import names

_of_minhash = functools.partial(of, "deduplication", MinHash)
_of_pass_2 = functools.partial(of, "deduplication", Deduplication)

OF_NEAR_DUPLICATES = ("min_similarity", "keep_duplicate", *names(MinHash))
"""Settings without effect where only exact copies are looked for, of which the first stays."""

OF_PASS_2 = names(Deduplication)
"""Settings by which duplicates can be decided on again, from what a run has stored."""


def _one_line(value: Any) -> Any:
    """``{best: edu}`` of YAML as ``best: edu``, as a flag has it."""
    if isinstance(value, dict) and len(value) == 1:
        [(word, name)] = value.items()
        value = f"{word}:{name}"
    if isinstance(value, str) and ":" in value:
        word, _, name = value.partition(":")
        value = f"{word.strip()}: {name.strip()}"
    return value


class DeduplicationSettings(Part):
    """How duplicates are found, and which one stays: the options of ``MinHash`` and of ``Deduplication``."""

    near_duplicates: bool = setting(
        "deduplication",
        True,
        description="drop near-duplicates, too; with --no-near_duplicates only exact copies, in less time, and with a "
        "tenth of the fingerprints",
    )
    shingle_size: int = _of_minhash("shingle_size")
    bands: int = _of_minhash("bands")
    rows: int = _of_minhash("rows")
    signature_size: int = _of_minhash("signature_size", ge=16)
    min_similarity: float = _of_pass_2("min_similarity")
    duplicates_within: Scope = _of_pass_2("duplicates_within")
    keep_duplicate: Annotated[str, pydantic.BeforeValidator(_one_line)] = _of_pass_2("keep_duplicate")
    fold_digits: bool = _of_minhash("fold_digits")
    fold_accents: bool = _of_minhash("fold_accents")
    partitions: int = _of_pass_2(
        "partitions", default=0, ge=0, le=MAX_PARTITIONS, description="hash ranges of the shuffles; 0: by the documents"
    )
    bucket_cap: int = _of_pass_2("bucket_cap")
    max_open_edges: int = _of_pass_2("max_open_edges")

    @pydantic.model_validator(mode="after")
    def _check_deduplication(self) -> Self:
        self.minhash(), self.deduplication()
        fields = type(self).model_fields
        unused = [name for name in OF_NEAR_DUPLICATES if getattr(self, name) != fields[name].default]
        if unused and not self.near_duplicates:
            raise ValueError(
                f"{unused[0]}: has no effect with near_duplicates off, as only hashes are compared; leave it out, or "
                "leave near_duplicates on"
            )
        return self

    def minhash(self) -> MinHash | None:
        """How documents are made comparable; None: only exact copies are looked for."""
        return options_of(self, MinHash) if self.near_duplicates else None

    def deduplication(self, documents: int = 0) -> Deduplication:
        """How duplicates are found and resolved among about so many documents."""
        return options_of(
            self,
            Deduplication,
            partitions=self.partitions or partitions_for(documents),
            band_bins=self.bands * self.rows,
            near_duplicates=self.near_duplicates,
        )
