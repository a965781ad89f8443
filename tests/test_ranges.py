"""Large JSON Lines in parts: every line is in one, rows are numbered over all, a wrong guess changes nothing."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zstandard

from schemas.shards import Shard, Source
from tests.test_readers import put, rows_of
from transforms.io.readers import ReadOptions, UnreadableSource, count, numbered, ranges, read, split
from transforms.io.readers import streams as streams_of_bytes

SMALL = 64
"""Bytes of a piece of plain text in these tests."""
Cut = Callable[[bytes, list[int]], bytes]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is MiBs is some bytes here, so that every case occurs in small files."""
    for module in (ranges, streams_of_bytes):
        monkeypatch.setattr(module, "FETCH_BYTES", SMALL)
    monkeypatch.setattr(ranges, "LEAST_PART_BYTES", SMALL)
    monkeypatch.setattr(ranges, "TRIED_BYTES", 1)


def plain(data: bytes, cuts: list[int]) -> bytes:
    return data


def members(compress: Callable[[bytes], bytes]) -> Cut:
    """Cut anywhere, in the midst of lines too, as pigz, pzstd and split do."""

    def made(data: bytes, cuts: list[int]) -> bytes:
        ends = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
        return b"".join(compress(data[a:b]) for a, b in itertools.pairwise(ends) if a < b)

    return made


KINDS: dict[str, Cut] = {"plain": plain, "gzip": members(gzip.compress), "zstd": members(zstandard.compress)}


def counted(source: Source, options: ReadOptions) -> list[Shard]:
    shards = split(source, options)
    return shards if shards[0].counted else numbered(count(shard, options) for shard in reversed(shards))


def lines(chance: random.Random, number: int) -> bytes:
    letters = "äx字"
    kinds = [
        lambda: json.dumps({"id": 7, "text": chance.choice(letters) * chance.randrange(1, 120)}).encode(),
        lambda: b"",
        lambda: b"  \t",
        lambda: b"{broken",
        lambda: b'{"text": "' + b"long" * chance.randrange(200) + b'"}',
    ]
    ends = chance.choice([b"\n", b"\r\n"])
    data = ends.join(chance.choice(kinds)() for _ in range(number))
    return chance.choice([b"", b"\xef\xbb\xbf"]) + b'{"text": "first"}\n' + data + chance.choice([b"", b"\n", b"\n\n"])


@pytest.mark.parametrize("kind", KINDS)
def test_parts_hold_every_line_once_and_number_it_as_the_whole_does(tmp_path: Path, kind: str) -> None:
    """Members end anywhere: what is read in parts is what is read as one."""
    chance = random.Random(kind)
    in_parts = 0
    for number in range(120):
        data = lines(chance, chance.randrange(60))
        cuts = [chance.randrange(1 << 20) for _ in range(chance.randrange(12))]
        source = put(tmp_path / "x", KINDS[kind](data, cuts))
        whole = rows_of(read(Shard(source, format="json lines"), ReadOptions()))
        options = ReadOptions(shard_bytes=chance.choice([1, 200, 700]))
        shards = counted(source, options)
        assert [row for shard in shards for row in rows_of(read(shard, options))] == whole, number
        assert [shard.part for shard in shards] == list(range(len(shards)))
        in_parts += len(shards) > 1
        mask = np.array([chance.random() < 0.3 for _ in whole], bool)
        wanted = [row for row in whole if mask[row[0]]]
        kept = [
            row
            for shard in shards
            for row in rows_of(read(shard, options, mask[shard.first_row :][: shard.rows] if shard.rows >= 0 else mask))
        ]
        assert kept == wanted
    assert in_parts > 50


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_with_too_many_rows_is_cut_again(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transforms.io.readers.jsonl.SHARD_ROWS", 10)
    data = b'{"text": "abcdef"}\n' * 100
    source = put(tmp_path / "x", KINDS[kind](data, list(range(0, 1900, 60))))
    shards = counted(source, ReadOptions(shard_bytes=700))
    assert max(shard.rows for shard in shards) <= 10
    assert sum(shard.rows for shard in shards) == 100
    assert [shard.first_row for shard in shards] == list(itertools.accumulate([0] + [s.rows for s in shards[:-1]]))


def test_a_member_within_a_member_is_no_boundary(tmp_path: Path) -> None:
    """A stored block holds the bytes of another gzip file: a guess from the middle takes them for a member."""
    inner = gzip.compress(b'{"text": "inner"}\n' * 3)
    text = json.dumps({"text": "x" * 40}).encode() + b"\n"
    outer = gzip.compress(text * 8 + inner.replace(b"\n", b"") + b"\n" + text * 30, compresslevel=0)
    source = put(tmp_path / "x", outer)
    options = ReadOptions(shard_bytes=800)
    assert not split(source, options)[0].counted
    (shard,) = counted(source, options)
    assert shard.whole
    whole = rows_of(read(Shard(source, format="json lines"), options))
    assert rows_of(read(shard, options)) == whole
    assert len(whole) == 39


def test_a_stream_in_one_piece_is_one_shard_with_a_warning_that_says_what_to_do(tmp_path: Path) -> None:
    data = b"".join(json.dumps({"text": random.Random(i).randbytes(40).hex()}).encode() + b"\n" for i in range(200))
    source = put(tmp_path / "x", gzip.compress(data))
    options = ReadOptions(shard_bytes=1000)
    (shard,) = counted(source, options)
    warnings: list[str] = []
    assert len(rows_of(read(shard, options, warn=warnings.append))) == 200
    assert "one stream of gzip" in warnings[0]
    assert "bgzip" in warnings[0]
    assert list(read(shard, ReadOptions(), warn=warnings.append))
    assert len(warnings) == 1  # a small one isn't worth a word


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_damage_anywhere_has_the_same_end_as_in_one_piece(tmp_path: Path, kind: str) -> None:
    data = KINDS[kind](b'{"text": "abcdef"}\n' * 300, list(range(0, 5700, 190)))
    options = ReadOptions(shard_bytes=400)
    unreadable = 0
    for place in [*range(17, len(data), 17), None]:
        damaged = bytearray(data)
        if place is None:
            del damaged[-5:]
        else:
            damaged[place] ^= 0xFF
        source = put(tmp_path / "x", bytes(damaged))
        shards = counted(source, options)
        try:
            whole = rows_of(read(Shard(source, format="json lines"), options, warn=str))
        except UnreadableSource as error:
            unreadable += 1
            with pytest.raises(UnreadableSource, match=re.escape(error.reason.split(" before")[0].split(" at")[0])):
                list(itertools.chain.from_iterable(read(shard, options, warn=str) for shard in shards))
        else:
            if not shards[0].error:
                assert [row for shard in shards for row in rows_of(read(shard, options, warn=str))] == whole
    assert unreadable > 20
