"""WET to tokens in one run, and from a token row back to the bytes of the record."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow.parquet as pq
import zstandard

from schemas import pages
from tests import runs
from tests.web.warcs import TEXT, record

INFO = record(b"software: test\r\n", "warcinfo", media="application/warc-fields")
PACKED = {
    "plain.wet": lambda made: b"".join(made),
    "by-record.wet.gz": lambda made: b"".join(map(gzip.compress, made)),
    "one-member.wet.gz": lambda made: gzip.compress(b"".join(made)),
    "by-record.wet.zst": lambda made: b"".join(map(zstandard.compress, made)),
}


def conversion(name: str) -> bytes:
    text = f"{name}: {TEXT.replace('mill', name)}"
    return record(text.encode(), "conversion", f"http://mill.example/{name}", media="text/plain")


def test_from_wet_to_tokens_and_back(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    stored: dict[str, list[bytes]] = {}
    for name, pack in PACKED.items():
        stored[name] = [INFO, *(conversion(f"{name}-{number}") for number in range(20))]
        (tmp_path / "in" / name).write_bytes(pack(stored[name]))
    output = tmp_path / "out"
    runs.run(tmp_path / "in", output, "--direct_num_workers", 1, "--min_similarity", "1")
    (token_object,) = (output / "tokens").glob("*.parquet")
    tokens = pq.read_table(token_object)
    assert len(tokens) == 20 * len(PACKED)
    assert runs.manifest(output)["counts"]["invalid"] == {"not_a_page": len(PACKED)}
    places = list(zip(tokens["source"].to_pylist(), tokens["source_row"].to_pylist(), strict=True))
    for name in PACKED:
        record_file = tmp_path / f"{name}.record"
        row = places.index((str(tmp_path / "in" / name), 8))
        asked = ("trace", "--output", output, "--object", token_object.name, "--row", row, "--fetch", record_file)
        found = runs.ask(*asked)
        assert found["url"] == f"http://mill.example/{name}-7"
        assert found[pages.WARC_FILE] == str(tmp_path / "in" / name)
        assert record_file.read_bytes() == stored[name][8].removesuffix(b"\r\n\r\n")
