"""Small sources in one shard: the same documents, names and fates as in shards of their own."""

from __future__ import annotations

import datetime
import gzip
import json
import random
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_pipeline import embedded_postgres
from beam_pipeline.stale_objects import stale_objects
from schemas.shards import Shard, Source, document_id, places_of
from tests import runs
from tests.test_rededuplicate import decided, dedup
from transforms.io import storage
from transforms.io.deaths import Deaths
from transforms.io.packed_sources import PackedReader
from transforms.io.readers import ReadOptions, UnreadableSource, read, split
from transforms.io.readers.common import BATCH_BYTES
from transforms.io.source_list import MOST_PACKED, packing, read_planned, source_name, sources_between

MIB = 2**20
ALONE = ("--shard_bytes", 1)
"""No source is small then."""


def test_the_rule_of_bytes() -> None:
    small, large = MIB, 2 * MIB
    assert packing([], 128 * MIB) == []
    assert packing([small], 128 * MIB) == [1]
    assert packing([small] * 3, 128 * MIB) == [3, 0, 0]
    assert packing([large, small, large, small, small, 0, large], 128 * MIB) == [1, 1, 1, 3, 0, 0, 1]
    assert packing([small] * 200, 128 * MIB) == [80, *[0] * 79, 80, *[0] * 79, 40, *[0] * 39]
    assert packing([small] * 81, 128 * MIB) == [80, *[0] * 79, 1]
    assert packing([10] * (MOST_PACKED + 2), 128 * MIB) == [MOST_PACKED, *[0] * (MOST_PACKED - 1), 2, 0]
    assert packing([5, 6, 7], 1) == [1, 1, 1]


def test_any_sizes_are_packed_whole_in_order_and_full() -> None:
    generator = random.Random(3)
    for _ in range(200):
        sizes = [int(10 ** generator.uniform(0, 4)) for _ in range(generator.randrange(60))]
        packed = packing(sizes, 64_000)
        at = 0
        while at < len(sizes):
            count = packed[at]
            inside = sizes[at : at + count]
            assert count >= 1
            assert packed[at + 1 : at + count] == [0] * (count - 1)
            if count > 1:
                assert max(inside) < 1000
                assert sum(inside[:-1]) < 40_000
                ended = sum(inside) >= 40_000 or at + count == len(sizes) or sizes[at + count] >= 1000
                assert ended
            at += count
        # What is before a source doesn't change with what is after the next large one.
        assert packing([*sizes, 5000, 7, 7], 64_000)[: len(sizes)] == packed


def lines(*texts: Any) -> bytes:
    return b"".join(json.dumps({"id": f"u-{text}", "text": text}).encode() + b"\n" for text in texts)


def write(folder: Path, files: dict[str, bytes]) -> list[Source]:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    infos = sorted(storage.list_objects(str(folder)), key=lambda info: info.uri)
    return [Source(number + 7, info.uri, info.etag, info.size) for number, info in enumerate(infos)]


def parquet(texts: list[str | None], group: int = 2) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": [str(i) for i in range(len(texts))], "text": texts}), sink, row_group_size=group)
    return sink.getvalue().to_pybytes()


FILES = {
    "a.jsonl": lines("a0", "a1", None, "a3"),
    "b.jsonl": b"",
    "c.parquet": parquet(["c0", "c1", "", "c3", "c4"]),
    "d.jsonl.gz": gzip.compress(lines("d0", "d1"))[:-9],
    "e.jsonl.gz": gzip.compress(lines(*(f"e{i}" for i in range(300)))),
    "f.parquet": parquet(["f0"])[:-6],
    "g.jsonl": b"\n",
    "h.jsonl": lines("h0"),
}


def packed_shard(sources: list[Source]) -> Shard:
    return Shard(sources[0], sources=len(sources), digest="any")


def everything(sources: list[Source], options: ReadOptions) -> list[dict[str, Any]]:
    """Each source by itself, as the readers have it; those that can't be read are left out."""
    found = []
    for source in sources:
        rows = []
        try:
            for shard in split(source, options):
                for batch in read(shard, options):
                    rows += [row | {"source": source.number} for row in batch.to_pylist()]
        except UnreadableSource:
            continue
        found += rows
    return found


def test_what_is_read_is_what_each_source_has(tmp_path: Path) -> None:
    sources, options = write(tmp_path / "in", FILES), ReadOptions(shard_bytes=1)
    shard = packed_shard(sources)
    reader = PackedReader(shard, sources, options)
    batches = list(reader.batches())
    census = reader.census
    assert [batch["row"].to_pylist() for batch, _ in batches] == [list(range(census.rows.sum()))]
    expected = everything(sources, options)
    found = [row for batch, _ in batches for row in batch.to_pylist()]
    numbers, rows = places_of(shard, census, np.arange(len(found)))
    assert [
        row | {"row": at, "source": number}
        for row, at, number in zip(found, rows.tolist(), numbers.tolist(), strict=True)
    ] == expected
    assert set(census.errors) == {3, 5}
    assert "cut short" in census.errors[3]
    assert census.rows.tolist() == [4, 0, 5, 0, 300, 0, 0, 1]
    # Each batch knows its sources.
    [(_, parts)] = batches
    assert [(part.source.number - 7, part.first) for part in parts] == [(0, 0), (2, 4), (4, 9), (7, 309)]


@pytest.mark.parametrize("wanted", [[0], [4, 5, 8], [309], [3, 100, 200, 308], []])
def test_only_what_is_wanted_is_read(tmp_path: Path, wanted: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    sources, options = write(tmp_path / "in", FILES), ReadOptions(shard_bytes=1)
    shard = packed_shard(sources)
    first = PackedReader(shard, sources, options)
    whole = [row for batch, _ in first.batches() for row in batch.to_pylist()]
    keep = np.zeros(len(whole), bool)
    keep[wanted] = True
    opened: list[str] = []
    opens = storage.open_input
    monkeypatch.setattr(storage, "open_input", lambda uri, *pin: opened.append(uri) or opens(uri, *pin))
    again = PackedReader(shard, sources, options, keep, first.census)
    found = [(row, part) for batch, parts in again.batches() for row in batch.to_pylist() for part in [parts]]
    assert [row for row, _ in found] == [whole[at] for at in wanted]
    numbers, _ = places_of(shard, first.census, np.array(wanted, np.int64))
    assert opened == [sources[number - 7].uri for number in dict.fromkeys(numbers.tolist())]


def test_a_small_source_of_much_text_is_read_twice_and_not_held(tmp_path: Path) -> None:
    text = "x" * 1000
    many = 3 * BATCH_BYTES // 1000
    bomb = gzip.compress(lines(*[text] * many))
    sources = write(tmp_path / "in", {"a.jsonl": lines("a0"), "b.gz": bomb, "c.gz": bomb[:-9], "d.jsonl": lines("d0")})
    reader = PackedReader(packed_shard(sources), sources, ReadOptions())
    rows = [batch["row"].to_numpy() for batch, _ in reader.batches()]
    assert (np.concatenate(rows) == np.arange(many + 2)).all()
    assert len(rows) > 3
    assert reader.census.rows.tolist() == [1, many, 0, 1]


def test_a_source_that_changed_is_no_part_of_it(tmp_path: Path) -> None:
    sources = write(tmp_path / "in", {"a.jsonl": lines("a0"), "b.jsonl": lines("b0")})
    (tmp_path / "in" / "b.jsonl").write_bytes(lines("other"))
    with pytest.raises(storage.SourceChanged, match=r"b\.jsonl"):
        list(PackedReader(packed_shard(sources), sources, ReadOptions()).batches())


def test_a_source_that_has_killed_workers_is_set_aside_alone(tmp_path: Path) -> None:
    sources = write(tmp_path / "in", {name: lines(name) for name in "abcd"})
    deaths = tmp_path / "deaths"
    deaths.mkdir()
    note = {"place": "", "at": "now", "source": sources[2].uri, "signal": "SIGSEGV"}
    for number, of in enumerate((sources[2], sources[2], sources[0])):
        (deaths / f"{source_name(of)}.SIGSEGV.{number}.json").write_text(json.dumps(note))
    reader = PackedReader(packed_shard(sources), sources, ReadOptions(), deaths=Deaths(str(deaths), 2))
    assert sum(batch.num_rows for batch, _ in reader.batches()) == 3
    assert list(reader.census.errors) == [2]
    assert "2 workers were killed by SIGSEGV" in reader.census.errors[2]


def test_batches_are_those_of_one_long_source(tmp_path: Path) -> None:
    """So that nothing is lost by files being small: batches are full, however many sources are in one."""
    files = {f"{number:04}.jsonl": lines(*("y" * 4000 for _ in range(100))) for number in range(100)}
    sources = write(tmp_path / "in", files)
    batches = list(PackedReader(packed_shard(sources), sources, ReadOptions()).batches())
    assert [batch.num_rows for batch, _ in batches] == [2096] * 4 + [1616]
    for batch, parts in batches:
        first, last = batch["row"][0].as_py(), batch["row"][-1].as_py()
        assert [part.source.number - 7 for part in parts] == list(range(first // 100, last // 100 + 1))


# Whole runs -----------------------------------------------------------------------------------------------------------


def many_files(folder: Path) -> None:
    """Small files of all kinds between two that aren't small; copies, near-copies and files that can't be read."""
    generator = random.Random(11)
    texts = [" ".join(generator.choices(runs.sample_texts(), k=3)) for _ in range(700)]
    folder.mkdir()
    at = number = 0
    while at < len(texts):
        part = texts[at : at + generator.choice([0, 1, 3, 9, 20])]
        at += len(part)
        copies = generator.choices(texts[:at] or texts, k=2)
        part = [*part, *copies, copies[0] + " One more word or two."]
        data = b"".join(
            json.dumps({"id": f"{number}-{row}", "text": text}).encode() + b"\n" for row, text in enumerate(part)
        )
        name = f"f-{number:04}.jsonl"
        if number % 7 == 2:
            data = gzip.compress(data)
        if number % 7 == 4:
            data = parquet([*part, None, ""])
        if number % 11 == 5:
            data = gzip.compress(data)[:-9]
        if number % 30 == 20:
            data = b"".join(json.dumps({"id": "l", "text": f"{text} {i}"}).encode() + b"\n"
                            for i, text in enumerate(texts[:at] * 8))  # fmt: skip
        (folder / name).write_bytes(data)
        number += 1


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Sources, and what two runs have made of them: packed, and each source by itself."""
    folder = tmp_path_factory.mktemp("packed")
    many_files(folder / "in")
    for name, flags in (("packed", ("--shard_bytes", "4MiB")), ("alone", ALONE)):
        runs.run(folder / "in", folder / name, *flags, "--direct_num_workers", 1, status=3, timeout=900)
    return folder / "in", folder / "packed", folder / "alone"


COLUMNS = "source_uri, source_row, document, outcome, reason, language, witness_uri, witness_row, similarity"


def ask(query: str, *values: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(embedded_postgres.start()) as connection:
        return connection.execute(query, values).fetchall()


def run_of(output: Path) -> uuid.UUID:
    return uuid.UUID(runs.manifest(output)["run"])


def test_the_sources_are_packed(both: tuple[Path, Path, Path]) -> None:
    _, packed, alone = both
    objects = len(list((packed / "tokens").iterdir()))
    assert 2 < objects < len(list((alone / "tokens").iterdir())) / 4
    planned = list(read_planned(str(packed / "sources.parquet")))
    assert sum(isinstance(item, Shard) for item in planned) >= 2
    assert sum(isinstance(item, Source) for item in planned) >= 2
    sources = {path.name.split("-")[0] for path in (packed / "tokens").iterdir()}  # a large one has several shards
    assert len(planned) >= len(sources)  # one that can't be read has none, if it is by itself


def test_the_token_rows_are_the_same(both: tuple[Path, Path, Path]) -> None:
    _, packed, alone = both
    a, b = (runs.tokens(output).to_pylist() for output in (packed, alone))
    assert a == b
    assert all(row["id"] >> 32 < 1000 and row["id"] & 0xFFFFFFFF == row["source_row"] for row in a)
    for file in (packed / "tokens").iterdir():
        ids = pq.read_table(file)["id"].to_pylist()
        assert ids == sorted(ids)


def test_the_counts_are_the_same(both: tuple[Path, Path, Path]) -> None:
    _, packed, alone = both
    a, b = runs.manifest(packed), runs.manifest(alone)
    for name in ("counts", "tokens", "kept_bytes", "languages", "unreadable"):
        assert a[name] == b[name]
    assert len(a["unreadable"]) > 3
    rows = dict(ask("SELECT uri, rows FROM sources WHERE run = %s", run_of(packed)))
    counted = dict(ask("SELECT source_uri, count(*) FROM lineage WHERE run = %s GROUP BY 1", run_of(alone)))
    assert all(count in (None, counted.get(uri, 0)) for uri, count in rows.items())
    broken = ask("SELECT uri, state FROM sources WHERE run = %s AND state <> 'ok' ORDER BY number", run_of(packed))
    told = [(source["uri"], f"unreadable: {source['reason']}") for source in a["unreadable"]]
    assert len(broken) > 2
    assert set(broken) <= set(told)


def test_the_lineage_is_the_same(both: tuple[Path, Path, Path]) -> None:
    _, packed, alone = both
    query = f"SELECT {COLUMNS}, token_row IS NULL FROM lineage WHERE run = %s ORDER BY document"
    a, b = ask(query, run_of(packed)), ask(query, run_of(alone))
    assert a == b
    assert {row[4] for row in a} >= {"exact_duplicate", "near_duplicate", "null_text"}


def test_traces_in_both_directions(both: tuple[Path, Path, Path]) -> None:
    _, packed, _ = both
    run = run_of(packed)
    rows = ask(f"SELECT {COLUMNS}, token_object, token_row FROM lineage WHERE run = %s ORDER BY document", run)
    for row in random.Random(5).sample(rows, 60):
        found = ask(f"SELECT {COLUMNS}, token_object, token_row FROM trace_source(%s, %s, %s)", run, row[0], row[1])
        assert found == [row]
        if row[-2]:
            found = ask(f"SELECT {COLUMNS} FROM trace_output(%s, %s) WHERE run = %s", row[-2], row[-1], run)
            assert found == [row[:-2]]
            stored = pq.read_table(row[-2]).slice(row[-1], 1).to_pylist()[0]
            assert (stored["source"], stored["source_row"], stored["id"]) == row[:3]
    for uri, count in ask("SELECT source_uri, count(*) FROM lineage WHERE run = %s GROUP BY 1", run):
        for beyond in (count, count + 1, 2**32 - 1):
            assert ask("SELECT * FROM trace_source(%s, %s, %s)", run, uri, beyond) == []


def test_duplicates_are_found_from_their_witness(both: tuple[Path, Path, Path]) -> None:
    _, packed, _ = both
    run = run_of(packed)
    query = f"SELECT {COLUMNS} FROM lineage WHERE run = %s AND witness_uri IS NOT NULL ORDER BY document"
    of_witness: dict[tuple[Any, Any], list[tuple[Any, ...]]] = {}
    for row in ask(query, run):
        of_witness.setdefault((row[6], row[7]), []).append(row)
    assert len(of_witness) > 50
    for (uri, row), expected in list(of_witness.items())[::5]:
        found = ask(f"SELECT {COLUMNS} FROM duplicates_of(%s, %s, %s) ORDER BY document", run, uri, row)
        assert found == expected


def test_runs_are_compared_document_by_document(both: tuple[Path, Path, Path]) -> None:
    _, packed, alone = both
    for a, b in ((packed, alone), (alone, packed), (packed, packed)):
        cells = ask("SELECT * FROM compare_runs(%s, %s)", run_of(a), run_of(b))
        assert all(cell[:2] == cell[2:4] for cell in cells)
        assert sum(cell[4] for cell in cells) == runs.manifest(packed)["counts"]["documents"]


def test_the_commands_name_the_source(both: tuple[Path, Path, Path]) -> None:
    _, packed, _ = both
    run = run_of(packed)
    small = [item for item in read_planned(str(packed / "sources.parquet")) if isinstance(item, Shard)][1]
    in_it = sources_between(str(packed / "sources.parquet"), small.source.number, small.sources)
    uris = [source.uri for source in in_it]
    row = next(
        row
        for row in ask(f"SELECT {COLUMNS} FROM lineage WHERE run = %s AND outcome = 'dropped'", run)
        if row[0] in uris[1:] and row[0].endswith("jsonl")
    )
    found = runs.ask("trace", "--output", packed, "--source", row[0], "--row", row[1], "--text")
    stored = [json.loads(line)["text"] for line in _content(row[0]).splitlines()]
    assert found["text"]["source"] == stored[row[1]]
    assert found["shard"] == small.name
    by_id = runs.ask("trace", "--output", packed, "--id", row[2])
    assert by_id["source_uri"] == row[0]
    user_id = json.loads(_content(row[0]).splitlines()[row[1]])["id"]
    assert runs.ask("trace", "--output", packed, "--user-id", user_id)["document"] == row[2]
    broken = runs.manifest(packed)["unreadable"][0]["uri"]
    done = runs.subprocess.run(
        runs.command("trace", "--output", packed, "--source", broken, "--row", 0),
        cwd=runs.ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "unreadable" in done.stderr
    assert runs.ask("status", "--output", packed)["shards"]["waiting"] == 0


def _content(uri: str) -> bytes:
    data = Path(uri).read_bytes()
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


def test_lost_objects_are_made_again_alike(both: tuple[Path, Path, Path]) -> None:
    sources, packed, _ = both
    before = runs.digests(packed)
    objects = sorted((packed / "tokens").iterdir())
    objects[1].unlink()
    (packed / "fingerprints" / objects[-1].name).unlink()
    (packed / "run.json").unlink()
    runs.run(sources, packed, "--shard_bytes", "4MiB", "--direct_num_workers", 2, status=3)
    assert runs.digests(packed) == before


def test_decided_again_and_against_itself(both: tuple[Path, Path, Path], tmp_path: Path) -> None:
    _, packed, alone = both
    tables, counts = [], []
    for output in (packed, alone):
        dedup(output, tmp_path / output.name, "--min_similarity", 0.9)
        rows = list(decided(tmp_path / output.name).values())
        rows.sort(key=lambda row: (row["source"], row["source_row"]))
        tables.append([{key: value for key, value in row.items() if key != "witness_run"} for row in rows])
        against = tmp_path / f"{output.name}-against"
        dedup(output, against, "--against", packed)
        found = json.loads((against / "dedup.json").read_text())
        assert found["dropped_for_an_earlier_run"] > 100
        counts.append(found["counts"])
        twice = tmp_path / f"{output.name}-twice"
        dedup(output, twice, "--against", against)
        counts.append(json.loads((twice / "dedup.json").read_text())["dropped_for_an_earlier_run"])
    assert tables[0] == tables[1]
    assert any(row["witness_source"] for row in tables[0])
    assert counts[:2] == counts[2:]


def test_leftovers_know_the_plan(both: tuple[Path, Path, Path]) -> None:
    _, packed, _ = both
    day = datetime.timedelta(days=1)
    assert list(stale_objects(str(packed), day)) == []
    stray = packed / "tokens" / "0000001-00000.parquet"
    stray.write_bytes(next((packed / "tokens").iterdir()).read_bytes())
    assert [left.uri for left in stale_objects(str(packed), day)] == [str(stray)]
    stray.unlink()


def test_a_trace_reads_one_segment(both: tuple[Path, Path, Path]) -> None:
    """By the index, whatever the number of sources."""
    _, packed, _ = both
    with psycopg.connect(embedded_postgres.start()) as connection:
        connection.execute("SET enable_seqscan = off")
        plan = connection.execute(
            "EXPLAIN SELECT * FROM segment_of(%s, %s)", (run_of(packed), document_id(3, 1))
        ).fetchall()
    text = "\n".join(line for (line,) in plan)
    assert "Index Scan Backward" in text or "Index Scan" in text
    assert "Sort" not in text
