"""How many documents of a whole are duplicates, judged by those within a random share of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.kernels.deduplication.candidates import fixed_bytes, verify
from transforms.kernels.deduplication.options import Deduplication
from transforms.kernels.deduplication.sketches import Sketches


def duplicate_share(fingerprints: Sequence[pa.RecordBatch], options: Deduplication, share: float) -> float:
    """The expected share of the documents that are dropped as duplicates of earlier ones, in [0, 0.99].

    A group of two is whole within a random share f of the documents with probability f**2, so one that is seen stands
    for 1 / f**2 of them. A group of which j > 2 are seen has about j / f members. With k groups of two seen, the
    standard error is about 1 / sqrt(k) of the figure; groups of three to 1 / f documents are overrated.

    Args:
      fingerprints: batches with content_hash and, if near-duplicates are looked for, signature, shingles and bands
        (``schemas.columns.fingerprints``).
      options: what duplicates are.
      share: f, documents in the sample by documents.
    """
    documents = sum(batch.num_rows for batch in fingerprints)
    if not documents or not 0 < share <= 1:
        return 0.0
    groups = _exact_groups(fingerprints)
    if options.near_duplicates:
        groups = np.concatenate([groups, _near_groups(fingerprints, options)])
    if share == 1:
        dropped = float((groups - 1).sum())
    else:
        dropped = float(np.where(groups == 2, share**-2, groups / share - 1).sum())
    return min(0.99, dropped * share / documents)


def _column(fingerprints: Sequence[pa.RecordBatch], name: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The bytes of a column, a row each, and the rows of the sample that have any."""
    values, rows = fixed_bytes(pa.concat_arrays([batch[name] for batch in fingerprints]))
    return values, rows


def _exact_groups(fingerprints: Sequence[pa.RecordBatch]) -> npt.NDArray[np.int64]:
    """Sizes, from 2, of the groups of equal texts."""
    hashes, _ = _column(fingerprints, "content_hash")
    _, sizes = np.unique(hashes, axis=0, return_counts=True)
    return sizes[sizes > 1].astype(np.int64)


def _near_groups(fingerprints: Sequence[pa.RecordBatch], options: Deduplication) -> npt.NDArray[np.int64]:
    """Sizes, from 2, of a document and its similar neighbours in some band, exact duplicates left out."""
    pairs, _ = near_pairs(fingerprints, options)
    _, sizes = np.unique(pairs[:, 1], return_counts=True)
    return sizes.astype(np.int64) + 1


def near_pairs(
    fingerprints: Sequence[pa.RecordBatch], options: Deduplication
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Verified pairs of neighbours in some band, of the first documents with each text.

    Args:
      fingerprints: batches with content_hash, signature, shingles and bands.

    Returns:
      int64 (n, 2): rows of the earlier and the later document of each pair, sorted; float32 (n,): their similarity.
    """
    bands, rows = _column(fingerprints, "bands")
    hashes, hashed = _column(fingerprints, "content_hash")
    _, first = np.unique(hashes[np.searchsorted(hashed, rows)], axis=0, return_index=True)
    first.sort()
    pairs = set()
    for band in np.ascontiguousarray(bands[first]).view("<u8").T:
        order = np.argsort(band, kind="stable")
        same = np.flatnonzero(band[order][1:] == band[order][:-1])
        pairs |= set(zip(order[same].tolist(), order[same + 1].tolist(), strict=True))
    if not pairs:
        return np.zeros((0, 2), np.int64), np.zeros(0, np.float32)
    ends = np.array(sorted(pairs))
    arrays = (pa.concat_arrays([batch[name] for batch in fingerprints]) for name in ("signature", "shingles"))
    sketches = Sketches.of_columns(*arrays)
    ends_rows = rows[first][ends].astype(np.int64)
    verified, similarity = verify(sketches, ends_rows[:, 0], sketches, ends_rows[:, 1], options)
    return ends_rows[verified], similarity[verified]
