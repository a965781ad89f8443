"""Large clusters of every shape: right answers in linear time."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from schemas.shards import Shard
from tests.scale.shapes import Shaped, Values, bytes_of, own_bands, places
from tests.test_deduplicate import run
from transforms.deduplication.deduplicate import Deduplication, decisions
from transforms.kernels.deduplication.blocks import mix

ROWS = 50_000


def write(folder: Path, documents: int, content: Values, signature: Values, bands: Values) -> list[Shard]:
    """Fingerprint objects of documents that are made from their numbers."""
    return Shaped(documents, content, signature, bands, ROWS).write(folder)


def dropped(folder: Path, shards: list[Shard], name: str) -> dict[int, int]:
    """Document number -> number of its witness, by a measured pass 2."""
    started = time.perf_counter()
    found = run(shards, folder, Deduplication(partitions=8))
    seconds, documents = time.perf_counter() - started, sum(shard.rows for shard in shards)
    answer = {}
    for blocks in found.values():
        for pair in decisions(blocks)[["document", "witness"]].tolist():
            document, witness = ((identifier >> 32) * ROWS + (identifier & 0xFFFFFFFF) for identifier in pair)
            answer[document] = witness
    Console().print(f"{name}: {documents:,} documents, {len(answer):,} dropped, {documents / seconds:,.0f} documents/s")
    assert documents / seconds > 5_000  # all pairs of a bucket would take hours
    return answer


def test_a_million_identical_documents(tmp_path: Path) -> None:
    shards = write(
        tmp_path, 1_000_000, lambda n: np.zeros(len(n), np.uint64), lambda n: bytes_of(places(n * 0)),
        lambda n: own_bands(n * 0),
    )  # fmt: skip
    assert dropped(tmp_path, shards, "one text") == dict.fromkeys(range(1, 1_000_000), 0)


@pytest.mark.parametrize(("changed", "alike"), [(128, False), (16, True)])
def test_a_bucket_from_one_template(tmp_path: Path, changed: int, alike: bool) -> None:
    def signature(numbers: np.ndarray) -> np.ndarray:
        values = bytes_of(places(numbers * 0))
        values[:, :changed] = bytes_of(places(numbers + 1))[:, :changed]
        return values

    shards = write(tmp_path, 200_000, lambda n: n.astype(np.uint64), signature, lambda n: own_bands(n * 0))
    answer = dropped(tmp_path, shards, f"one template, {1 - changed / 256:.0%} alike")
    # A star and a clique at once: all are like the first, and like each other; or none is.
    assert answer == (dict.fromkeys(range(1, 200_000), 0) if alike else {})


def test_a_chain(tmp_path: Path) -> None:
    def signature(numbers: np.ndarray) -> np.ndarray:
        byte = np.arange(256)[None, :]
        return bytes_of((numbers[:, None] + byte) // 8 * 256 + byte)  # neighbours share 7/8, the next but one 6/8

    def bands(numbers: np.ndarray) -> np.ndarray:
        values = own_bands(numbers)
        values[:, 0], values[:, 1] = mix(numbers // 2), mix((numbers + 1) // 2 + 2**40)
        return values

    shards = write(tmp_path, 400_000, lambda n: n.astype(np.uint64), signature, bands)
    answer = dropped(tmp_path, shards, "a chain")
    assert answer.keys() == set(range(1, 400_000, 2))
    assert all(abs(document - witness) == 1 for document, witness in answer.items())


def test_cliques(tmp_path: Path) -> None:
    # A document and its 49 likes are a shard apart or more.
    def clique(numbers: np.ndarray) -> np.ndarray:
        return numbers % 20_000

    shards = write(
        tmp_path, 1_000_000, lambda n: n.astype(np.uint64), lambda n: bytes_of(places(clique(n))),
        lambda n: own_bands(clique(n)),
    )  # fmt: skip
    answer = dropped(tmp_path, shards, "cliques of 50")
    assert answer == {document: document % 20_000 for document in range(20_000, 1_000_000)}
