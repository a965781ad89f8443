"""What passes 1 and 2 found out becomes one outcome a document, or an error: counts always add up."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from schemas.outcomes import EMPTY_TEXT, EXACT_DUPLICATE, KEPT, NEAR_DUPLICATE
from schemas.shards import Shard, Source
from transforms.costs import Cost
from transforms.kernels.deduplication.blocks import DECISIONS, WITNESSES
from transforms.shard_outcomes import ShardOutcomes, UnbalancedCounts, decide, segment_after_fingerprinting, segment_of

RUN = "00000000-0000-0000-0000-000000000001"
SHARD = Shard(Source(2, "/two", "etag", 1), first_row=100, rows=5)


def fingerprints() -> pa.Table:
    """Five documents: the second was empty."""
    return pa.table(
        {
            "outcome": pa.array([None, EMPTY_TEXT, None, None, None], pa.uint8()),
            "language": pa.array(["en", None, "de", "en", "und"]).dictionary_encode(),
            "language_score": pa.array([0.9, None, 0.8, 0.7, 0.0], pa.float32()),
            "text_bytes": pa.array([10, None, 30, 40, 50], pa.uint32()),
            "already_normalized": pa.array([True, None, False, True, True]),
            "content_hash": pa.array([bytes([row] * 16) for row in range(5)], pa.binary(16)),
        }
    )


def decided(*rows: tuple[int, int, float, int]) -> np.ndarray:
    return np.array([(SHARD.key + row, witness, *rest) for row, witness, *rest in rows], DECISIONS.records)


def witnessed(*rows: tuple[int, int]) -> np.ndarray:
    return np.array([(SHARD.key + row, count) for row, count in rows], WITNESSES.records)


def shard_outcomes() -> ShardOutcomes:
    duplicates = decided((2, SHARD.key, 1.0, 1), (3, 7, 0.875, 0))
    return decide(SHARD, fingerprints(), duplicates, witnessed((0, 4)))


def test_every_document_has_one_outcome() -> None:
    result = shard_outcomes()
    assert result.outcomes.tolist() == [KEPT, EMPTY_TEXT, EXACT_DUPLICATE, NEAR_DUPLICATE, KEPT]
    assert result.kept.tolist() == [True, False, False, False, True]
    assert result.cluster_sizes.tolist() == [5, 0, 0, 0, 1]
    assert [result.language_names[i] if i >= 0 else None for i in result.languages] == ["en", None, "de", "en", "und"]


def test_the_segment_has_the_duplicates_and_the_funnel() -> None:
    segment = segment_of(RUN, shard_outcomes(), "/out/tokens/x.parquet", np.array([3, 9], np.uint32), {}, {})
    assert segment.outcomes == bytes([KEPT, EMPTY_TEXT, EXACT_DUPLICATE, NEAR_DUPLICATE, KEPT])
    assert segment.duplicate_rows.tolist() == [102, 103]
    assert segment.witness_sources.tolist() == [2, 0]
    assert segment.witness_rows.tolist() == [100, 7]
    assert segment.similarities.tolist() == [1.0, 0.875]
    assert ["k", "en", 1, 10, 3] in segment.counts["funnel"]
    assert ["k", "und", 1, 50, 9] in segment.counts["funnel"]
    assert ["e", None, 1, 0, 0] in segment.counts["funnel"]
    assert sum(cell[2] for cell in segment.counts["funnel"]) == SHARD.rows


def test_after_pass_one_no_document_is_decided() -> None:
    segment = segment_after_fingerprinting(RUN, SHARD, {"Fingerprint": Cost(1.0, 0.5)})
    assert (segment.state, segment.rows, segment.outcomes) == ("fingerprinted", SHARD.rows, b"")
    assert "Fingerprint" in segment.costs


@pytest.mark.parametrize(
    ("duplicates", "witnesses", "message"),
    [
        (decided((1, 7, 0.9, 0)), witnessed(), "decided twice"),
        (decided((2, 7, 0.9, 0), (2, 8, 0.9, 0)), witnessed(), "decided twice"),
        (decided((5, 7, 0.9, 0)), witnessed(), "not its own"),
        (decided((2, 7, 0.9, 0)), witnessed((2, 1)), "isn't kept"),
        (decided(), witnessed((1, 1)), "isn't kept"),
    ],
)
def test_decisions_that_contradict_are_refused(duplicates: np.ndarray, witnesses: np.ndarray, message: str) -> None:
    with pytest.raises(UnbalancedCounts, match=message):
        decide(SHARD, fingerprints(), duplicates, witnesses)


def test_fingerprints_of_other_rows_are_refused() -> None:
    with pytest.raises(UnbalancedCounts, match="has 5 rows, its fingerprints 4"):
        decide(SHARD, fingerprints().slice(0, 4), decided(), witnessed())


def test_token_rows_are_the_kept_documents() -> None:
    with pytest.raises(UnbalancedCounts, match="2 kept, 3 token rows"):
        segment_of(RUN, shard_outcomes(), "/out/tokens/x.parquet", np.ones(3, np.uint32), {}, {})
