"""What became of a shard's documents, and the lineage segment that records it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.outcomes import EXACT_DUPLICATE, KEPT, NEAR_DUPLICATE, PAGE
from schemas.segments import Segment
from schemas.shards import Census, Shard, split_document_id
from transforms.costs import Costs, costs_as_json

FINGERPRINT_COLUMNS = ["outcome", "language", "language_score", "text_bytes", "already_normalized", "content_hash"]
"""What ``decide`` needs of a shard's fingerprints."""
ROW_GROUP_BYTES, ROW_GROUP_ROWS = 16 * 2**20, 2**16
"""Text in a row group of a token object, and its rows."""


@dataclasses.dataclass(frozen=True)
class ShardOutcomes:
    """The outcome of every document of a shard; arrays have one entry a document, in row order.

    Attributes:
      outcomes: codes of ``schemas.outcomes``.
      languages: indices into ``language_names``, -1 where no language was identified.
      language_scores: float32.
      cluster_sizes: 1 + documents dropped with this one as witness; 0 for those not kept.
      text_bytes: UTF-8 bytes of the normalized text, 0 if there is none.
      already_normalized: whether the text was normalized as it came.
      content_hashes: binary(16), of the text that was fingerprinted; null where there is none.
      duplicates: one entry a dropped duplicate, by the names of pass 2;
        ``transforms.deduplication.deduplicate.DECISIONS``.
      census: of a packed shard, what each of its sources has.
      notes: what the boxes of pass 1 had to say, such as how much editors have changed.
      reused: in a run that decides again, mask of the kept documents whose token rows the parent has.
    """

    shard: Shard
    outcomes: np.ndarray
    languages: np.ndarray
    language_names: tuple[str, ...]
    language_scores: np.ndarray
    cluster_sizes: np.ndarray
    text_bytes: np.ndarray
    already_normalized: np.ndarray
    content_hashes: pa.FixedSizeBinaryArray
    duplicates: np.ndarray
    census: Census | None = None
    notes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    reused: np.ndarray | None = None

    @property
    def kept(self) -> np.ndarray:
        """Boolean mask over the shard's rows."""
        return self.outcomes == KEPT

    @property
    def read(self) -> np.ndarray:
        """Mask of the documents whose texts pass 3 reads."""
        return self.kept if self.reused is None else self.kept & ~self.reused

    @property
    def size(self) -> int:
        """Bytes of text that pass 3 has to do with."""
        return int(self.text_bytes[self.kept].sum())

    @property
    def row_groups(self) -> np.ndarray:
        """Token rows of each row group of the shard's token object: a rule of what is stored, not of how it was read.

        A group ends before the row with which its texts would exceed ``ROW_GROUP_BYTES``, and after
        ``ROW_GROUP_ROWS`` rows; a larger document is alone.
        """
        ends = np.cumsum(self.text_bytes[self.kept].astype(np.int64))
        groups, start = [], 0
        while start < len(ends):
            before = int(ends[start - 1]) if start else 0
            stop = int(np.searchsorted(ends, before + ROW_GROUP_BYTES, side="right"))
            stop = max(start + 1, min(stop, start + ROW_GROUP_ROWS))
            groups.append(stop - start)
            start = stop
        return np.array(groups, np.int64)


@dataclasses.dataclass(frozen=True)
class Decided:
    """A shard that waits for pass 3, and what pass 2 has to say of it: 21 bytes a duplicate, 12 a witness.

    The rest of a shard_outcomes, 12 bytes a document, is in the shard's fingerprints and read when its turn comes.

    Attributes:
      size: bytes of text that pass 3 has to do with.
      duplicates, witnesses: as ``decide`` takes them.
    """

    shard: Shard
    size: int
    duplicates: np.ndarray
    witnesses: np.ndarray

    @property
    def name(self) -> str:
        """The shard's."""
        return self.shard.name


class UnbalancedCounts(Exception):
    """Documents in are not kept + dropped + invalid, or a dropped document's witness isn't kept."""


def decide(
    shard: Shard,
    fingerprints: pa.Table,
    duplicates: np.ndarray,
    witnesses: np.ndarray,
    census: Census | None = None,
    notes: Mapping[str, Any] | None = None,
) -> ShardOutcomes:
    """Puts together what pass 1 and pass 2 have found out about a shard.

    Args:
      fingerprints: ``FINGERPRINT_COLUMNS`` of its object.
      duplicates: the shard's documents that go, sorted by id (``transforms.deduplication.deduplicate.DECISIONS``).
      witnesses: the shard's documents that others are dropped for (``transforms.deduplication.deduplicate.WITNESSES``).
      census: of a packed shard.
      notes: what the boxes of pass 1 had to say.

    Raises:
      UnbalancedCounts: the rows don't match, a document is decided twice, or a witness is itself dropped.
    """
    if fingerprints.num_rows != shard.rows:
        raise UnbalancedCounts(f"{_name(shard)} has {shard.rows} rows, its fingerprints {fingerprints.num_rows}")
    outcomes = fingerprints["outcome"].fill_null(0).to_numpy().copy()
    rows = duplicates["document"].astype(np.int64) - shard.key
    if len(rows) and (rows[0] < 0 or rows[-1] >= shard.rows or outcomes[rows].any() or (np.diff(rows) <= 0).any()):
        raise UnbalancedCounts(f"{_name(shard)}: a document is decided twice or not its own")
    outcomes[rows] = np.where(duplicates["exact"] != 0, EXACT_DUPLICATE, NEAR_DUPLICATE)
    outcomes[outcomes == 0] = KEPT
    cluster_sizes = (outcomes == KEPT).astype(np.uint32)
    witness_rows = witnesses["witness"].astype(np.int64) - shard.key
    if len(witness_rows) and not cluster_sizes[witness_rows].all():
        raise UnbalancedCounts(f"{_name(shard)}: documents were dropped for a witness that isn't kept")
    np.add.at(cluster_sizes, witness_rows, witnesses["documents"])
    languages, names = _indices(fingerprints["language"].combine_chunks())
    return ShardOutcomes(
        shard=shard,
        outcomes=outcomes,
        languages=languages,
        language_names=names,
        language_scores=fingerprints["language_score"].fill_null(0).to_numpy(),
        cluster_sizes=cluster_sizes,
        text_bytes=fingerprints["text_bytes"].fill_null(0).to_numpy(),
        already_normalized=fingerprints["already_normalized"].fill_null(False).to_numpy(),
        content_hashes=fingerprints["content_hash"].combine_chunks(),
        duplicates=duplicates,
        census=census,
        notes=notes or {},
    )


def segment_unreadable(run: str, shard: Shard) -> Segment:
    """The segment of a shard that can't be read: no documents, and why, which is so of each of its sources."""
    census = None
    if shard.packed:
        census = Census(np.zeros(shard.sources, np.int64), dict.fromkeys(range(shard.sources), shard.error))
    return _segment(run, shard, state="unreadable", error=shard.error, census=census)


def segment_after_fingerprinting(run: str, shard: Shard, costs: Costs, census: Census | None = None) -> Segment:
    """The segment of a shard after pass 1: how many documents there are, of which none is decided."""
    return _segment(run, shard, state="fingerprinted", costs=costs, census=census)


def segment_of(
    run: str,
    shard_outcomes: ShardOutcomes,
    token_object: str,
    n_tokens: np.ndarray,
    costs: Costs,
    notes: dict[str, Any],
) -> Segment:
    """The segment of a finished shard.

    Args:
      token_object: URI.
      n_tokens: of each kept document, in order.
      notes: what the boxes of pass 3 had to say, such as which tokenizer engine ran.

    Raises:
      UnbalancedCounts: there are not as many token rows as kept documents.
    """
    kept = shard_outcomes.kept
    if len(n_tokens) != np.count_nonzero(kept):
        raise UnbalancedCounts(
            f"{_name(shard_outcomes.shard)}: {np.count_nonzero(kept)} kept, {len(n_tokens)} token rows"
        )
    tokens = np.zeros(len(kept), np.uint32)
    tokens[kept] = n_tokens
    counts = _counts(
        shard_outcomes.outcomes,
        shard_outcomes.languages,
        shard_outcomes.language_names,
        shard_outcomes.text_bytes,
        tokens,
    )
    witness_sources, witness_rows = split_document_id(shard_outcomes.duplicates["witness"].astype(np.int64))
    _, duplicate_rows = split_document_id(shard_outcomes.duplicates["document"].astype(np.int64))
    return _segment(
        run,
        shard_outcomes.shard,
        state="done",
        token_object=token_object,
        outcomes=shard_outcomes.outcomes,
        languages=shard_outcomes.languages,
        language_names=shard_outcomes.language_names,
        duplicate_rows=duplicate_rows.astype(np.uint32),
        witness_sources=witness_sources.astype(np.uint32),
        witness_rows=witness_rows.astype(np.uint32),
        similarities=shard_outcomes.duplicates["similarity"].astype(np.float32),
        counts=counts | notes | {**shard_outcomes.notes},  # pass 1 has read all documents
        costs=costs,
        census=shard_outcomes.census,
    )


def _segment(run: str, shard: Shard, **values: Any) -> Segment:
    if "outcomes" in values:
        pages, codes = np.divmod(values["outcomes"], PAGE)
        values["outcomes"] = codes.astype(np.uint8).tobytes()
        values["pages"] = pages.astype(np.uint8).tobytes() if pages.any() else b""
    costs = costs_as_json(values.pop("costs", {}))
    if shard.end:  # trace reads this part of the source, and nothing else
        part = {"format": shard.format, "begin": shard.begin, "end": shard.end}
        values["counts"] = values.get("counts", {}) | {"part": part}
    return Segment(
        run=run,
        shard=shard.name,
        source=shard.source.number,
        first_row=shard.first_row,
        rows=max(shard.rows, 0),
        costs=costs,
        **values,
    )


def _name(shard: Shard) -> str:
    return f"shard {shard.name} of {shard.source.uri}"


def _indices(labels: pa.DictionaryArray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels as indices into their sorted names, -1 for null: the same whatever order they came in."""
    names = labels.dictionary.to_pylist()
    ranked = sorted(set(names))
    rank = {name: i for i, name in enumerate(ranked)}
    translation = np.array([rank[name] for name in names] + [-1], np.int16)
    return translation[labels.indices.fill_null(-1).to_numpy()], tuple(ranked)


def _counts(
    outcomes: np.ndarray, languages: np.ndarray, names: tuple[str, ...], text_bytes: np.ndarray, tokens: np.ndarray
) -> dict[str, Any]:
    """Documents, bytes of normalized text, and tokens by outcome and language: what the funnel adds up.

    ``{"funnel": [[outcome code, language or null, documents, bytes, tokens], ...]}``, sorted; a cell has the page of
    its code at the end if that isn't 0 (``schemas.outcomes``).
    """
    groups, inverse = np.unique(outcomes.astype(np.int64) << 16 | (languages.astype(np.int64) + 1), return_inverse=True)
    documents = np.bincount(inverse, minlength=len(groups))
    total_bytes = np.bincount(inverse, weights=text_bytes, minlength=len(groups))
    total_tokens = np.bincount(inverse, weights=tokens, minlength=len(groups))
    return {
        "funnel": [
            [
                chr((int(group) >> 16) % PAGE),
                names[(int(group) & 0xFFFF) - 1] if int(group) & 0xFFFF else None,
                int(documents[i]),
                int(total_bytes[i]),
                int(total_tokens[i]),
                *([int(group) >> 16 >> 7] if int(group) >> 16 >= PAGE else []),
            ]
            for i, group in enumerate(groups)
        ]
    }
