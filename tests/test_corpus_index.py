"""The index of a corpus: what is found in it, against what plain comparisons find."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.fingerprint_index import FingerprintIndex, IndexedRun, Segment, bits_for
from schemas.shards import Shard
from tests import s3
from tests.deduplication_worlds import SIGNATURE_SIZE, Document, random_world, write_shards
from transforms.deduplication.earlier_duplicates import decide_shard, look_up, sought_keys
from transforms.deduplication.index_kept import keys_of_shard, merge_parts, write_parts
from transforms.deduplication.stored_fingerprints import StoredFingerprints, StoredRun, earlier_duplicates
from transforms.io import storage
from transforms.io.block_files import NOWHERE
from transforms.io.index_parts import BANDS, MOST_OF_A_KEY, Part, write_part
from transforms.io.own_objects import DamagedObject
from transforms.io.storage import s3_client
from transforms.kernels.deduplication import key_filter
from transforms.kernels.deduplication.options import Deduplication

OPTIONS = Deduplication(min_similarity=0.8, band_bins=3)


def random_keys(seed: int, count: int, bits: int = 0, prefix: int = 0) -> np.ndarray:
    keys = np.random.default_rng(seed).integers(0, 2**64, count, np.uint64)
    return keys >> np.uint64(bits) | np.uint64(prefix) << np.uint64(64 - bits) if bits else keys


@pytest.mark.parametrize("bits", [0, 5, 16])
def test_the_filter_forgets_no_key_and_passes_few_others(bits: int) -> None:
    keys, others = random_keys(1, 50_000, bits, 3), random_keys(2, 200_000, bits, 3)
    made = key_filter.filter_of(keys, bits)
    assert made.nbytes * 8 < 10.1 * len(keys)
    assert key_filter.may_have(keys, made, key_filter.blocks_of(keys, bits, len(made))).all()
    assert key_filter.may_have(others, made, key_filter.blocks_of(others, bits, len(made))).mean() < 0.02
    ordered = key_filter.blocks_of(np.sort(keys), bits, len(made))
    assert (np.diff(ordered) >= 0).all()
    assert (ordered[0], ordered[-1]) == (0, len(made) - 1)


def part_with(uri: str, counts: dict[int, int], seed: int) -> np.ndarray:
    """Writes a part of 30,000 keys that stand alone and some that stand often, as ``counts`` says."""
    keys = np.concatenate([random_keys(seed, 30_000, 4, 9), *(np.full(n, key, np.uint64) for key, n in counts.items())])
    records = np.empty(len(keys), BANDS)
    records["key"], records["address"] = keys, np.random.default_rng(seed).permutation(len(keys))
    records = records[np.lexsort((records["address"], records["key"]))]
    write_part(uri, records, 4)
    return records


def expected(records: np.ndarray, keys: np.ndarray) -> list[tuple[int, int]]:
    """(Which key, address), said plainly."""
    by_key: dict[int, list[int]] = defaultdict(list)
    for key, address in records.tolist():
        by_key[key].append(address)
    found = []
    for at, key in enumerate(keys.tolist()):
        addresses = sorted(by_key.get(key, ()))
        ends = addresses if len(addresses) <= 2 * MOST_OF_A_KEY else addresses[:8] + addresses[-8:]
        found += [(at, address) for address in ends]
    return found


COUNTS = {9 << 60 | 7: 3, 9 << 60 | 12345 << 40: 256, 9 << 60 | 999 << 48: 5_000, (10 << 60) - 1: 600, 9 << 60: 17}


@pytest.mark.parametrize("seed", range(3))
def test_a_part_finds_the_first_and_last_records_of_each_key(tmp_path: Path, seed: int) -> None:
    records = part_with(str(tmp_path / "part"), COUNTS, seed)
    some = np.random.default_rng(seed).choice(records["key"], 500)
    keys = np.unique(np.concatenate([some, random_keys(seed + 100, 3_000, 4, 9), np.array([*COUNTS], np.uint64)]))
    with Part(str(tmp_path / "part"), BANDS) as part:
        at, found = part.find(keys)
        assert (found["key"] == keys[at]).all()
        assert list(zip(at.tolist(), found["address"].tolist(), strict=True)) == expected(records, keys)
        assert part.find(keys[:0])[0].tolist() == []
        assert (part.all() == records).all()


@pytest.fixture
def bucket(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with s3.serve(tmp_path_factory.mktemp("s3") / "buckets") as endpoint:
        for name, value in s3.environment(endpoint).items():
            monkeypatch.setenv(name, value)
        s3_client.close()
        s3_client.client().create_bucket(Bucket="corpus")
        yield "s3://corpus"
        s3_client.close()


def test_on_s3_a_part_finds_the_same_and_reads_a_part_of_it(bucket: str) -> None:
    uri = f"{bucket}/index/part"
    records = part_with(uri, COUNTS | {9 << 60 | 5 << 50: 200_000}, 5)  # 3.8 MB, most of one key
    some = records["key"][records["key"] < 9 << 60 | 1 << 57]
    keys = np.unique(np.concatenate([some[::100], np.array([9 << 60 | 5 << 50], np.uint64)]))
    requests = storage.current()
    before = dataclasses.replace(requests)
    with Part(uri, BANDS) as part:
        at, found = part.find(keys)
    assert list(zip(at.tolist(), found["address"].tolist(), strict=True)) == expected(records, keys)
    spent = requests.since(before)
    assert 0 < spent.bytes_read < records.nbytes / 2
    assert spent.get < 20


def test_an_empty_part_and_one_that_is_cut(tmp_path: Path) -> None:
    write_part(str(tmp_path / "empty"), np.empty(0, BANDS), 0)
    with Part(str(tmp_path / "empty"), BANDS) as part:
        assert len(part.find(random_keys(1, 10))[0]) == 0
    part_with(str(tmp_path / "part"), {}, 1)
    whole = (tmp_path / "part").read_bytes()
    for length in (0, 20, 1000, len(whole) - 1):
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(DamagedObject, match="cut: is cut short or damaged"):
            Part(str(tmp_path / "cut"), BANDS)


@dataclasses.dataclass
class Corpus:
    """An index of made-up runs, made and asked by the functions of the boxes."""

    folder: Path
    index: FingerprintIndex
    kept: dict[int, Document]

    @classmethod
    def of(cls, folder: Path) -> Corpus:
        return cls(folder, FingerprintIndex(str(folder / "index"), {"signature_size": SIGNATURE_SIZE}), {})

    def add(self, contents: list[list[Document]], kept: list[np.ndarray], options: Deduplication, bits: int) -> None:
        """A run that has kept some documents of each shard."""
        number = len(self.index.runs) + 1
        run = self.folder / f"run-{number}"
        first_source = sum(run.sources for run in self.index.runs)
        stored = StoredRun(str(run / "fingerprints"), first_source, kept_uri=str(run / "kept"))
        shards = write_shards(run / "fingerprints", contents)
        (run / "kept").mkdir()
        segment = Segment(f"{number:06}", sum(int(mask.sum()) for mask in kept), bits)
        blocks: dict[int, list[bytes]] = {part: [] for part in range(1 << bits)}
        for at, (shard, mask) in enumerate(zip(shards, kept, strict=True)):
            pq.write_table(
                pa.table({"outcome": np.where(mask, "kept", "dropped")}), run / "kept" / f"{shard.name}.parquet"
            )
            there = dataclasses.replace(
                shard, source=dataclasses.replace(shard.source, number=shard.source.number + first_source)
            )
            uri = f"{self.index.uri}/sketches/{number:06}/{at:07}"
            address = self.index.objects + at
            if shard.rows:
                for part, block in keys_of_shard(there, StoredFingerprints((stored,)), options, bits, address, uri):
                    blocks[part].append(block)
            self.kept |= {there.key + row: contents[at][row] for row in np.flatnonzero(mask).tolist()}
        for part, of_part in blocks.items():
            assert list(write_parts(part, of_part, self.index.uri, segment)) == []
        sources = 1 + max(shard.source.number for shard in shards)
        indexed = IndexedRun(number, "", first_source, sources, self.index.objects, len(shards), segment.documents)
        self.index = dataclasses.replace(
            self.index, runs=(*self.index.runs, indexed), segments=(*self.index.segments, segment)
        )

    def merge(self, bits: int) -> None:
        """All segments into one."""
        merged = Segment(f"merged-{bits}", self.index.documents, bits)
        for part in range(1 << bits):
            merge_parts(part, self.index.uri, merged, self.index.segments)
        self.index = dataclasses.replace(self.index, segments=(merged,))

    def duplicates(
        self, name: str, contents: list[list[Document]], options: Deduplication, bits: int
    ) -> dict[int, tuple[int, float, bool]]:
        """What a new run drops: by id (witness, similarity, exact)."""
        fingerprints = StoredFingerprints.of(str(self.folder / name))
        shards = [shard for shard in write_shards(self.folder / name, contents) if shard.rows]
        sought = grouped(block for shard in shards for block in sought_keys(shard, fingerprints, options, bits))
        found = grouped(answer for part, blocks in sought.items() for answer in look_up(part, blocks, self.index, bits))
        dropped = {}
        for shard in shards:
            uri = str(self.folder / name / "earlier")
            item: tuple[int, tuple[Iterable[Shard], Iterable[bytes]]] = (shard.key, ([shard], found.get(shard.key, [])))
            assert list(decide_shard(item, fingerprints, options, self.index, uri, NOWHERE)) == [shard]
            for row, witness, similarity, exact in earlier_duplicates(uri, shard).tolist():
                dropped[shard.key + row] = (witness, similarity, exact)
        return dropped


def grouped(keyed: Iterable[tuple[int, bytes]]) -> dict[int, list[bytes]]:
    groups: dict[int, list[bytes]] = defaultdict(list)
    for key, block in keyed:
        groups[key].append(block)
    return groups


def reference(
    kept: dict[int, Document], shards: list[Shard], contents: list[list[Document]], options: Deduplication
) -> dict[int, tuple[int, float, bool]]:
    """Said plainly: the first kept document with the same text, or the most similar that shares a bucket."""
    scope = options.duplicates_within == "language"
    answer = {}
    for shard, documents in zip(shards, contents, strict=True):
        for row, new in enumerate(documents):
            there = {id_: old for id_, old in kept.items() if not scope or old.language == new.language}
            same = sorted(id_ for id_, old in there.items() if new.content is not None and old.content == new.content)
            if same:
                answer[shard.key + row] = (same[0], 1.0, True)
                continue
            best: list[tuple[float, int]] = []
            for bucket in new.bands or () if new.content is not None else ():
                of_bucket = sorted(id_ for id_, old in there.items() if bucket in (old.bands or ()))
                for id_ in of_bucket[:MOST_OF_A_KEY] + of_bucket[-MOST_OF_A_KEY:]:
                    pairs = zip(there[id_].signature or b"", new.signature or b"", strict=True)
                    equal = sum(x == y for x, y in pairs) / SIGNATURE_SIZE
                    similarity = np.float32(max(0.0, (equal - 1 / 256) / (1 - 1 / 256)))
                    if similarity >= options.min_similarity - 1e-6:
                        best.append((-float(similarity), id_))
            if best:
                answer[shard.key + row] = (min(best)[1], -min(best)[0], False)
    return answer


@pytest.mark.parametrize("within", ["global", "language"])
@pytest.mark.parametrize("seed", range(2))
def test_what_is_like_a_kept_document_of_any_run_goes(tmp_path: Path, seed: int, within: str) -> None:
    options = dataclasses.replace(OPTIONS, duplicates_within=within)
    world = random_world(seed, 400, 12)
    corpus, random = Corpus.of(tmp_path), np.random.default_rng(seed)
    for number, bits in enumerate([0, 2, 1]):
        of_run = world[4 * number : 4 * number + 4]
        active = [np.array([document.content is not None for document in shard], np.bool_) for shard in of_run]
        corpus.add(of_run, [mask & (random.random(len(mask)) < 0.3) for mask in active], options, bits)
    new = random_world(seed, 400, 3)  # the same texts in another order
    shards = write_shards(tmp_path / "plan", new)
    answer = reference(corpus.kept, shards, new, options)
    assert sum(exact for _, _, exact in answer.values()) > 20
    assert sum(not exact for _, _, exact in answer.values()) > 20
    for bits in (2, 4):
        found = corpus.duplicates(f"new-{bits}", new, options, bits)
        assert {key: (witness, exact) for key, (witness, _, exact) in found.items()} == {
            key: (witness, exact) for key, (witness, _, exact) in answer.items()
        }
        assert all(found[key][1] == pytest.approx(similarity) for key, (_, similarity, _) in answer.items())
    # However its segments are merged, the index says the same, and its objects have the same bytes.
    before = corpus.duplicates("before", new, options, 3)
    for bits in (1, 3, 0):
        corpus.merge(bits)
        assert corpus.duplicates(f"merged-{bits}", new, options, 3) == before


def test_levels_and_parts_follow_the_documents() -> None:
    assert [Segment("", documents, 0).level for documents in (0, 1, 7, 8, 63, 64, 8**5)] == [0, 0, 0, 1, 1, 2, 5]
    assert [bits_for(documents, 14) for documents in (0, 1, 299_593, 299_594, 10**7, 6 * 10**9)] == [0, 0, 0, 1, 6, 15]
    index = FingerprintIndex("s3://b/index", {"signature_size": 256}, (IndexedRun(1, "r", 0, 2, 0, 3, 9),))
    assert FingerprintIndex.decode(index.encode(), "s3://b/index") == index
    assert index.words == 320
    with pytest.raises(ValueError, match="isn't an index"):
        FingerprintIndex.decode(b"{}", "")
