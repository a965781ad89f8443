"""The options of fingerprints and of pass 2, apart from the kernels: whoever only lists settings compiles nothing."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

from transforms.options import check, option

MAX_BINS = 1 << 15  # rounds, of which each bin has one of its own, are counted in 16 bits
MAX_PARTITIONS = 2**16  # so that a partition's number sorts as 16 bits, by radix
BEST = "best: "
"""Before the name of the attribute that decides which of a pair stays."""

_DOCUMENTS_A_PARTITION = 200_000
_MIN_PARTITIONS = 8

Scope = Literal["global", "language"]


@dataclasses.dataclass(frozen=True)
class MinHash:
    """How texts are made comparable.

    Attributes:
      shingle_size: words in a shingle.
      bands, rows: LSH; a pair at similarity s shares a bucket with probability 1 - (1 - s**rows)**bands.
      signature_size: bytes for the estimate of similarity; its standard error is sqrt(J (1 - J) / signature_size).
      fold_digits: whether all digits are alike.
      fold_accents: whether marks are dropped.

    Raises:
      ValueError: an option is out of range; the message names it.
    """

    shingle_size: int = option(5, "words in a shingle", metavar="N", ge=1)
    bands: int = option(14, "LSH bands", metavar="N", ge=1)
    rows: int = option(8, "MinHash values in a band", metavar="N", ge=1)
    signature_size: int = option(256, "bytes of the signature that verifies a pair", metavar="N", ge=1)
    fold_digits: bool = option(False, "match documents that differ in digits only")
    fold_accents: bool = option(False, "match documents that differ in accents only")

    def __post_init__(self) -> None:
        check(self)
        if self.bins > MAX_BINS:
            raise ValueError(
                f"signature_size: bands * rows + signature_size is {self.bins}, but may be {MAX_BINS} at most; "
                "lower signature_size, bands or rows"
            )

    @property
    def bins(self) -> int:
        """Bins of the whole sketch."""
        return self.bands * self.rows + self.signature_size

    @property
    def listed_shingles(self) -> int:
        """A text of so many shingles at most, repeated ones counted, has them all stored in place of a signature.

        A quarter more than there are bytes in a signature, which is an estimate from as many shingles as it has bytes:
        so if the shorter of two texts has no more, and the longer is not under 0.8 like it, both have them.
        """
        return self.signature_size * 5 // 4


DEFAULT = MinHash()


@dataclasses.dataclass(frozen=True)
class Deduplication:
    """What counts as a duplicate, which one stays, and how the work is cut.

    Attributes:
      min_similarity: Jaccard similarity, estimated of long documents, from which a candidate pair is verified. 0.8 is
        what the default bands find with probability 0.92.
      duplicates_within: ``"global"``, or ``"language"``: documents of two languages are never duplicates of each other.
      keep_duplicate: ``"first"``: of a pair the smaller id stays; ``"longest"``: the one with more bytes, then the
        smaller id; ``"best: NAME"``: the one with the higher numeric attribute, as float32, then the smaller id. The
        last two cost 4 bytes a band in the shuffle.
      partitions: hash ranges of the shuffles (``partitions_for``). More make each smaller and the number of blocks,
        one a (shard, partition), larger. Never changes the result.
      bucket_cap: buckets with more documents are counted and logged. They are handled like any other.
      max_open_edges: how many verified pairs may be left to the last step of the resolution, which one worker holds in
        memory (``transforms.kernels.deduplication.resolution.BYTES_PER_OPEN_EDGE`` each); more are an error.
      always_kept: documents with a smaller id are of earlier runs: they drop others and are never dropped.
      band_bins: how many bins of a sketch make the bands, bands * rows; those of the signature come after them.
      near_duplicates: False: only exact copies are duplicates, and only hashes are read.

    Raises:
      ValueError: an option is out of range; the message names it.
    """

    min_similarity: float = option(
        0.8, "Jaccard similarity from which a pair is duplicates", decides="tokens", metavar="J", gt=0, le=1
    )
    duplicates_within: Scope = option(
        "global", "compare all documents, or only those of one language", decides="tokens", choices=get_args(Scope)
    )
    keep_duplicate: str = option(
        "first",
        "which document of a pair stays; 'best: NAME': the one with the higher numeric attribute",
        decides="tokens",
        metavar="first|longest|best: NAME",
    )
    partitions: int = option(
        _MIN_PARTITIONS, "hash ranges of the shuffles", decides="nothing", metavar="N", ge=1, le=MAX_PARTITIONS
    )
    bucket_cap: int = option(10_000, "buckets over this size are reported", decides="nothing", metavar="N", ge=2)
    max_open_edges: int = option(
        50_000_000, "pairs the last step of the resolution may hold in memory", decides="nothing", metavar="N", ge=1
    )
    always_kept: int = 0
    band_bins: int = DEFAULT.bands * DEFAULT.rows
    near_duplicates: bool = True

    def __post_init__(self) -> None:
        check(self)
        best = self.keep_duplicate.startswith(BEST) and self.keep_duplicate.removeprefix(BEST)
        if self.keep_duplicate not in ("first", "longest") and not best:
            raise ValueError(f"keep_duplicate: must be first, longest or '{BEST}NAME', not {self.keep_duplicate!r}")
        if self.band_bins < 1:
            raise ValueError(f"band_bins: must be at least 1, not {self.band_bins}")


def partitions_for(documents: int) -> int:
    """How many hash ranges suit a number of documents: 200,000 documents each.

    With 14 bands such a partition is 34 MB of band records (45 with ``keep_duplicate="longest"``), which Beam's runners
    hand to a worker in one piece. Eight at least, so that a small run spreads over its cores; as many as there can be
    at most.
    """
    return min(MAX_PARTITIONS, max(_MIN_PARTITIONS, -(-documents // _DOCUMENTS_A_PARTITION)))
