"""Only a footer that was looked at is trusted: other columns have no influence, and damage is a reason."""

from __future__ import annotations

import base64
import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.parquet import encryption

from tests.test_readers import OPTIONS, put, put_table, read_source
from transforms.io.readers import ReadOptions, split
from transforms.io.readers import footer_bytes as kernel
from transforms.io.readers.parquet_footer import names_of, read_footer
from transforms.io.token_lists import thrift_compact as thrift

ROW_GROUPS, SCHEMA, KEY_VALUES = 4, 2, 5


class Keys(encryption.KmsClient):
    """Wraps keys in nothing."""

    def wrap_key(self, key_bytes: bytes, master_key_identifier: str) -> bytes:
        return base64.b64encode(key_bytes)

    def unwrap_key(self, wrapped_key: str, master_key_identifier: str) -> bytes:
        return base64.b64decode(wrapped_key)


def encrypted(path: Path, table: pa.Table, column: str, **how: Any) -> None:
    """Writes a file with one column encrypted."""
    factory = encryption.CryptoFactory(lambda _: Keys())
    settings = encryption.EncryptionConfiguration(footer_key="f", column_keys={"c": [column]}, **how)
    properties = factory.file_encryption_properties(encryption.KmsConnectionConfig(), settings)
    with pq.ParquetWriter(path, table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)


def footer_changed(data: bytes, change: Callable[[thrift.Struct], None]) -> bytes:
    """The file with a footer that was changed."""
    size = int.from_bytes(data[-8:-4], "little")
    footer = thrift.decode(data[-8 - size : -8])
    change(footer)
    encoded = thrift.encode(dict(sorted(footer.items())))
    return data[: -8 - size] + encoded + len(encoded).to_bytes(4, "little") + b"PAR1"


TABLE = pa.table({"id": ["a", "b"], "text": ["one", "two"], "other": [1, 2]})
ROWS = [(0, "a", "one", None), (1, "b", "two", None)]


def test_an_encrypted_text_is_a_reason_and_not_the_end_of_the_process(tmp_path: Path) -> None:
    encrypted(tmp_path / "x", TABLE, "text", plaintext_footer=True)
    source = put(tmp_path / "y", (tmp_path / "x").read_bytes())
    (shard,) = split(source, OPTIONS)
    assert "'text' (text_column), row group 0: it is encrypted" in shard.error
    encrypted(tmp_path / "x", TABLE, "text")
    (shard,) = split(put(tmp_path / "y", (tmp_path / "x").read_bytes()), OPTIONS)
    assert "encrypted" in shard.error


def test_another_encrypted_column_costs_nothing_and_encrypted_ids_cost_the_ids(tmp_path: Path) -> None:
    encrypted(tmp_path / "x", TABLE, "other", plaintext_footer=True)
    assert read_source(put(tmp_path / "y", (tmp_path / "x").read_bytes())) == ROWS
    encrypted(tmp_path / "x", TABLE, "id", plaintext_footer=True)
    source = put(tmp_path / "y", (tmp_path / "x").read_bytes())
    assert read_source(source) == [(0, None, "one", None), (1, None, "two", None)]
    with Path(source.uri).open("rb") as file:
        (warning,) = read_footer(source.uri, file, source.size, OPTIONS).warnings
    assert "'id' (id_column) is encrypted" in warning


def test_what_pyarrow_does_not_know_beside_the_text_has_no_influence(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "x")
    data = (tmp_path / "x").read_bytes()

    def unknown_arrow_schema(footer: thrift.Struct) -> None:
        for pair in footer[KEY_VALUES][1][1]:
            if pair[1][1] == b"ARROW:schema":
                pair[2] = (thrift.BINARY, base64.b64encode(b"\xff\xff\xff\xff\x10\0\0\0 a type of tomorrow"))

    def unknown_logical_type(footer: thrift.Struct) -> None:
        footer[SCHEMA][1][1][3][10] = (thrift.STRUCT, {30: (thrift.STRUCT, {})})
        footer[SCHEMA][1][1][3][6] = (thrift.I32, 77)

    def impossible_pages(footer: thrift.Struct) -> None:
        footer[ROW_GROUPS][1][1][0][1][1][1][2][3][1][9] = (thrift.I64, 1 << 60)

    with pytest.raises((OSError, pa.ArrowException)):
        pq.read_table(io.BytesIO(footer_changed(data, unknown_arrow_schema)))
    for change in (unknown_arrow_schema, unknown_logical_type, impossible_pages):
        assert read_source(put(tmp_path / "y", footer_changed(data, change))) == ROWS, change


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        (1, (thrift.I32, 1), "its type isn't that of the schema"),
        (5, (thrift.I64, 3), "another number of values than the row group has rows"),
        (6, (thrift.I64, -1), "its size is negative"),
        (7, (thrift.I64, 1 << 50), "outside the"),
        (7, (thrift.I64, -1), "outside the"),
        (9, (thrift.I64, 1 << 50), "outside the"),
        (9, (thrift.I64, -(1 << 62)), "outside the"),
        (9, (thrift.BINARY, b"4"), "incomplete"),
    ],
)
def test_what_a_chunk_cannot_be_is_a_reason(tmp_path: Path, field: int, value: tuple, reason: str) -> None:
    pq.write_table(TABLE, tmp_path / "x", use_dictionary=False)

    def change(footer: thrift.Struct) -> None:
        footer[ROW_GROUPS][1][1][0][1][1][1][1][3][1][field] = value

    (shard,) = split(put(tmp_path / "y", footer_changed((tmp_path / "x").read_bytes(), change)), OPTIONS)
    assert "row group 0" in shard.error
    assert reason in shard.error


def test_data_in_another_file_is_a_reason(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "x")

    def change(footer: thrift.Struct) -> None:
        chunk = footer[ROW_GROUPS][1][1][0][1][1][1][1]
        footer[ROW_GROUPS][1][1][0][1][1][1][1] = {1: (thrift.BINARY, b"part-0.parquet")} | chunk

    (shard,) = split(put(tmp_path / "y", footer_changed((tmp_path / "x").read_bytes(), change)), OPTIONS)
    assert "another file" in shard.error


WIDE = pa.table(
    {
        "lists": [[1, 2], None, []] * 40,
        "structs": [{"a": 1, "b": {"c": "x", "d": [True]}}] * 120,
        "id": range(120),
        "maps": pa.array([[("k", 1)]] * 120, pa.map_(pa.string(), pa.int8())),
        "text": [None if i % 7 == 0 else f"text {i}" for i in range(120)],
        "flags": [i % 2 == 0 for i in range(120)],
    }
)


@pytest.mark.parametrize("row_group_size", [1, 7, 120])
def test_columns_are_found_among_lists_structs_and_maps(tmp_path: Path, row_group_size: int) -> None:
    source = put_table(tmp_path / "x", WIDE, row_group_size=row_group_size)
    outcome = {None: "null_text"}
    expected = [(i, str(i), text, outcome.get(text)) for i, text in enumerate(WIDE["text"].to_pylist())]
    assert read_source(source) == expected
    assert read_source(source, ReadOptions(shard_bytes=1)) == expected
    with Path(source.uri).open("rb") as file:
        assert names_of(source.uri, file, source.size)[0] == WIDE.schema.names
        footer = read_footer(source.uri, file, source.size, OPTIONS)
    theirs = pq.read_metadata(source.uri)
    groups = [theirs.row_group(i) for i in range(theirs.num_row_groups)]
    texts = [group.column(WIDE.schema.names.index("text") + 3) for group in groups]
    assert [text.path_in_schema for text in texts[:1]] == ["text"]
    assert footer.rows.tolist() == [group.num_rows for group in groups]
    assert footer.compressed.tolist() == [text.total_compressed_size for text in texts]
    assert footer.uncompressed.tolist() == [text.total_uncompressed_size for text in texts]


@pytest.mark.parametrize("kind", [pa.json_(pa.string()), pa.string_view(), pa.large_string(), pa.binary()], ids=str)
def test_texts_of_any_string_like_type_are_read(tmp_path: Path, kind: pa.DataType) -> None:
    storage_type = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    values = pa.array(['{"a": "grün"}', None, "", "b"]).cast(storage_type)
    texts = pa.ExtensionArray.from_storage(kind, values) if storage_type is not kind else values
    source = put_table(tmp_path / "x", pa.table({"text": texts, "id": range(4)}))
    assert [row[1:] for row in read_source(source)] == [
        ("0", '{"a": "grün"}', None),
        ("1", None, "null_text"),
        ("2", None, "empty_text"),
        ("3", "b", None),
    ]


def test_bytes_that_are_no_utf8_are_an_outcome_of_their_row(tmp_path: Path) -> None:
    source = put_table(tmp_path / "x", pa.table({"text": [b"raw", b"\xff\xfe", "grün".encode()]}))
    assert [row[2:] for row in read_source(source)] == [("raw", None), (None, "invalid_utf8"), ("grün", None)]


def test_every_cut_footer_is_a_reason(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "x")
    data = (tmp_path / "x").read_bytes()
    size = int.from_bytes(data[-8:-4], "little")
    for cut in range(1, size, 7):
        damaged = data[: -8 - cut] + (size - cut).to_bytes(4, "little") + b"PAR1"
        (shard,) = split(put(tmp_path / "y", damaged), OPTIONS)
        assert shard.error.startswith("the Parquet footer can't be read"), cut
    for claimed in (0, 1, size + 1, len(data), 2**32 - 1):
        (shard,) = split(put(tmp_path / "y", data[:-8] + claimed.to_bytes(4, "little") + b"PAR1"), OPTIONS)
        assert "footer" in shard.error or "column" in shard.error, claimed


def test_the_kernel_finds_what_the_codec_has_written() -> None:
    chance = random.Random(5)

    def value(kind: int, levels: int) -> Any:
        if kind == thrift.STRUCT:
            return struct(levels - 1)
        if kind == thrift.LIST:
            of = chance.choice([thrift.I32, thrift.BINARY] + [thrift.STRUCT] * (levels > 0))
            return of, [value(of, levels - 1) for _ in range(chance.choice([0, 3, 20]))]
        if kind == thrift.BINARY:
            return chance.randbytes(chance.choice([0, 5, 300]))
        return chance.choice([0, 1, -1, 63, 64, -(2**31), 2**63 - 1, -(2**63)])

    def struct(levels: int) -> thrift.Struct:
        kinds = [thrift.I16, thrift.I32, thrift.I64, thrift.BINARY] + [thrift.LIST, thrift.STRUCT] * (levels > 0)
        ids = sorted(chance.sample(range(1, 32), chance.randint(0, 6)))
        return {i: (kind, value(kind, levels)) for i in ids for kind in [chance.choice(kinds)]}

    for _ in range(300):
        written = struct(4)
        data = np.frombuffer(thrift.encode(written) + b"what comes after", np.uint8)
        found = kernel.fields(data)
        assert {i: found[i, 0] for i in range(1, 32) if found[i, 0]} == {i: kind for i, (kind, _) in written.items()}
        for i, (kind, expected) in written.items():
            if kind in (thrift.I16, thrift.I32, thrift.I64):
                assert kernel.integer(data, found[i, 1]) == expected
            if kind == thrift.BINARY:
                assert bytes(data[found[i, 1] : found[i, 2]]).endswith(expected)


def test_lists_without_an_end_are_refused_at_once() -> None:
    nested = b"\x19" + b"\x19" * 100 + b"\0"
    endless = b"\x19\xfc\xff\xff\xff\xff\x0f\0"
    for data in (
        nested,
        endless,
        b"",
        b"\x15",
        b"\x15\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0",
        b"\x18\x7fshort",
    ):
        assert kernel.fields(np.frombuffer(data, np.uint8))[0, 0] == -1
