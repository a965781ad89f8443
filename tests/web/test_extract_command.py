"""``extract`` as a user runs it: killed and continued, a page that hangs, and from a token row back to the record."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas import pages
from schemas.shards import Source
from tests import runs, s3_store
from tests.test_readers import source_of
from tests.web.warcs import TEXT, by_record, good, page, record, response
from transforms import extract_pages
from transforms.extract_pages import Extraction, PageObjects, extract_part, split_archive
from transforms.io.readers import ranges, streams
from transforms.io.stage_objects import StageObjects

ENGINE = ("--engine", "tests.web.engines:misbehaving", "--page_seconds", "1")
INFO = record(b"software: test\r\n", "warcinfo", media="application/warc-fields")
MISSING = record(response(b"gone", status="404 Not Found"), url="http://mill.example/404")
HANGS = record(response(page("please spin").encode()), url="http://mill.example/hangs")


def archive(name: str, count: int) -> bytes:
    return by_record(INFO, *(good(f"{name}-{i}") for i in range(count)), MISSING)


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archives")
    (folder / "a.warc.gz").write_bytes(archive("a", 30) + by_record(HANGS) + archive("b", 30))
    (folder / "c.warc.gz").write_bytes(archive("c", 40))
    (folder / "d.warc.gz").write_bytes(b"<html>no archive</html>")
    return folder


def extract(archives: Path, output: Path, status: int, *flags: str) -> str:
    arguments = ("extract", "--input", archives, "--output", output, *ENGINE, "--direct_num_workers", 1, *flags)
    done = subprocess.run(
        runs.command(*arguments), cwd=runs.ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stderr


def digests(output: Path) -> dict[str, str]:
    files = [path for part in ("text", "rest") for path in (output / part).glob("*.parquet")]
    return {str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def extracted(archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("extracted") / "out"
    said = extract(archives, output, 3)
    assert "d.warc.gz: isn't WARC" in said
    return output


def test_every_record_is_counted_once_and_is_where_it_says(archives: Path, extracted: Path) -> None:
    manifest = runs.manifest(extracted)
    assert manifest["records"] == 2 * 32 + 1 + 42
    assert manifest["extracted"] == 100
    assert manifest["without_text"] == {"http_status": 3, "not_a_page": 3, "timeout": 1}
    text, rest = (pq.read_table(extracted / part) for part in ("text", "rest"))
    assert (len(text), len(rest)) == (100, 7)
    assert text.schema.remove_metadata().equals(pages.TEXT)
    (row,) = text.filter(pa.compute.equal(text["url"], "http://mill.example/b-7")).to_pylist()
    assert f"b-7: {TEXT.strip()}" in row["text"]
    assert (row["title"], row["status"], row["charset"], row["mime"]) == ("Mill", 200, "utf-8", "text/html")
    with Path(row[pages.WARC_FILE]).open("rb") as file:
        file.seek(row[pages.WARC_OFFSET])
        member = file.read(row[pages.WARC_LENGTH])
    assert gzip.decompress(member) == good("b-7")


def test_killed_and_continued_it_gives_the_same_bytes(archives: Path, extracted: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    arguments = ("extract", "--input", archives, "--output", output, *ENGINE, "--direct_num_workers", 2)
    running = subprocess.Popen(
        runs.command(*arguments), cwd=runs.ROOT, start_new_session=True, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list(output.glob("text/*.parquet")) and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    extract(archives, output, 3)
    assert digests(output) == digests(extracted)
    said = extract(archives, output, 2, "--page_seconds", "2")
    assert "page_seconds: 1.0 there, 2.0 now" in said


def rows_of(objects: dict[str, bytes], part: str) -> pa.Table:
    """The rows of ``text`` or ``rest`` by their places, without the folder that the archives lie in."""
    found = pa.concat_tables(
        [pq.read_table(pa.BufferReader(data)) for name, data in sorted(objects.items()) if f"{part}/" in name]
    )
    names = [uri.rpartition("/")[2] for uri in found[pages.WARC_FILE].to_pylist()]
    found = found.drop([pages.WARC_FILE]).append_column("archive", pa.array(names, pa.string()))
    return found.sort_by([("archive", "ascending"), (pages.WARC_OFFSET, "ascending")])


def test_from_bucket_to_bucket_killed_and_continued_it_gives_the_same_rows(
    archives: Path, extracted: Path, tmp_path: Path
) -> None:
    with s3_store.store_in(tmp_path) as store:
        for bucket in ("data", "out"):
            store.client.create_bucket(Bucket=bucket)
        for path in archives.iterdir():
            store.put("data", f"in/{path.name}", path.read_bytes())
        arguments = ("extract", "--input", "s3://data/in/", "--output", "s3://out/pages", *ENGINE)
        command = runs.command(*arguments, "--direct_num_workers", 2)
        with subprocess.Popen(
            command, cwd=runs.ROOT, env=store.environment, start_new_session=True, stderr=subprocess.DEVNULL
        ) as running:
            deadline = time.monotonic() + 120
            while not store.keys("out", "pages/text/") and time.monotonic() < deadline and running.poll() is None:
                time.sleep(0.05)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
        done = subprocess.run(
            command, cwd=runs.ROOT, env=store.environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 3, done.stderr
        stored = {key: store.get("out", key) for key in store.keys("out", "pages/") if key.endswith(".parquet")}
        manifest = json.loads(store.get("out", "pages/run.json"))
    local = {str(path.relative_to(extracted)): path.read_bytes() for path in extracted.glob("*/*.parquet")}
    for part in ("text", "rest"):
        assert rows_of(stored, part).equals(rows_of(local, part))
    assert manifest["without_text"] == runs.manifest(extracted)["without_text"]


def test_parts_of_an_archive_hold_the_records_of_the_whole(
    archives: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (ranges, streams):
        monkeypatch.setattr(module, "FETCH_BYTES", 1024)
    monkeypatch.setattr(ranges, "LEAST_PART_BYTES", 1024)
    monkeypatch.setattr(ranges, "TRIED_BYTES", 1)
    source = source_of(archives / "c.warc.gz")

    def made(name: str, shard_bytes: int) -> tuple[int, pa.Table, pa.Table]:
        extraction = Extraction("tests.web.engines:misbehaving", shard_bytes=shard_bytes)
        objects = PageObjects(
            StageObjects(str(tmp_path / name / "text"), "x"), StageObjects(str(tmp_path / name / "rest"), "x")
        )
        parts = list(split_archive(Source(0, source.uri, source.etag, source.size), extraction))
        for part in parts:
            assert list(extract_part(part, objects, extraction)) == [part.name]
        ends = [
            json.loads(pq.read_metadata(path).metadata[pages.PART])
            for path in sorted((tmp_path / name / "text").iterdir())
        ]
        assert [end["end"] for end in ends[:-1]] == [end["begin"] for end in ends[1:]]
        tables = [pq.read_table(tmp_path / name / kind).replace_schema_metadata() for kind in ("text", "rest")]
        return len(parts), *tables

    monkeypatch.setattr(extract_pages, "count", lambda **amounts: None)
    whole, cut = made("whole", 1 << 30), made("cut", 2048)
    assert (whole[0], cut[0] > 3) == (1, True)
    assert cut[1].sort_by(pages.WARC_OFFSET).equals(whole[1])
    assert cut[2].sort_by(pages.WARC_OFFSET).equals(whole[2])


def test_from_a_token_row_back_to_the_record(extracted: Path, tmp_path: Path) -> None:
    output = tmp_path / "tokens"
    runs.run(extracted / "text", output, "--direct_num_workers", 1, "--min_similarity", "1")
    token_object = next((output / "tokens").glob("*.parquet"))
    record_file = tmp_path / "record"
    asked = ("trace", "--output", output, "--object", token_object.name, "--row", 1, "--fetch", record_file)
    found = runs.ask(*asked)
    rows = pq.read_table(found["source_uri"]).to_pylist()
    row = rows[found["source_row"]]
    assert found[pages.WARC_FILE] == row[pages.WARC_FILE]
    assert (found["url"], found[pages.WARC_OFFSET]) == (row["url"], row[pages.WARC_OFFSET])
    assert row["url"].rpartition("/")[2].encode() + b": " in record_file.read_bytes()
    assert record_file.read_bytes().startswith(b"WARC/1.0\r\nWARC-Type: response")
