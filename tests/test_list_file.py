"""Files of token lists: pyarrow reads back what was written, and sees what it would have written itself."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import columns
from transforms.io.token_lists import list_file, list_pages, thrift_compact
from transforms.io.token_lists.list_file import ListFileWriter

OPTIONS = {"compression": "zstd", "compression_level": 1, "use_dictionary": ["language", "source"]}


def batch(lists: pa.Array, with_text: bool = True) -> pa.RecordBatch:
    rows = len(lists)
    number = np.arange(rows)
    schema = columns.tokens(lists.type.value_type, with_text).with_metadata({"made by": "a test"})
    values = {
        "input_ids": lists,
        "n_tokens": pa.array(number, pa.uint32()),
        "id": pa.array(number + (1 << 40), pa.uint64()),
        "language": pa.array(
            [None if i % 3 == 0 else f"l{i % 5}" for i in range(rows)], pa.string()
        ).dictionary_encode(),
        "language_score": pa.array(number / 7, pa.float32()),
        "cluster_size": pa.array(number % 2, pa.uint32()),
        "source": pa.array(["a source"] * rows, pa.string()).dictionary_encode(),
        "user_id": pa.array([f"mine {i}" if i % 4 else None for i in range(rows)]),
        "source_row": pa.array(number, pa.uint32()),
        "text": pa.array([f"text {i} ä" for i in range(rows)]),
    }
    return pa.RecordBatch.from_arrays(
        [values[name].cast(schema.field(name).type) for name in schema.names], schema=schema
    )


def written(batches: list[pa.RecordBatch], by_pyarrow: bool = False) -> bytes:
    file = io.BytesIO()
    schema = batches[0].schema
    writer = (
        pq.ParquetWriter(file, schema, **OPTIONS)
        if by_pyarrow
        else ListFileWriter(file, schema, "input_ids", **OPTIONS)
    )
    for each in batches:
        writer.write_batch(each, row_group_size=max(1, each.num_rows))
    writer.close()
    return file.getvalue()


def check(batches: list[pa.RecordBatch]) -> pq.FileMetaData:
    """Compares with pyarrow's file; returns the footer."""
    ours, theirs = (io.BytesIO(written(batches, by_pyarrow)) for by_pyarrow in (False, True))
    table = pq.read_table(ours)
    table.validate(full=True)
    assert table.equals(pa.Table.from_batches(batches))
    assert table.schema.equals(pq.read_schema(theirs), check_metadata=True)
    found, expected = pq.read_metadata(ours), pq.read_metadata(theirs)
    assert found.schema.equals(expected.schema)
    assert found.num_rows == expected.num_rows
    for number in range(found.num_row_groups):
        group, like = found.row_group(number), expected.row_group(number)
        assert group.num_rows == like.num_rows
        for column in range(group.num_columns):
            chunk, as_theirs = group.column(column), like.column(column)
            assert (chunk.path_in_schema, chunk.num_values) == (as_theirs.path_in_schema, as_theirs.num_values)
            if column:
                assert chunk.statistics == as_theirs.statistics
                assert chunk.total_compressed_size == as_theirs.total_compressed_size
        # One column alone, and one row group: the offsets are right.
        for name in table.schema.names:
            alone = pq.ParquetFile(ours).read_row_group(number, columns=[name])
            assert alone.equals(pa.Table.from_batches([batches[number]]).select([name]))
    return found


LISTS = st.lists(
    st.one_of(
        st.none(),
        st.lists(st.one_of(st.integers(0, 3), st.integers(0, 65535)), max_size=40),
        st.tuples(st.integers(0, 65535), st.integers(1, 200)).map(lambda of: [of[0]] * of[1]),
    ),
    min_size=1,
    max_size=30,
)


@settings(deadline=None)
@given(
    groups=st.lists(LISTS, min_size=1, max_size=3), limit=st.sampled_from([1, 7, 8, 64, 1 << 16]), wide=st.booleans()
)
def test_any_lists_come_back(groups: list[list[list[int] | None]], limit: int, wide: bool) -> None:
    kind = pa.list_(pa.uint32() if wide else pa.uint16())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(list_pages, "PAGE_LEVELS", limit)  # documents are cut, pages end within and between them
        patch.setattr(list_pages, "DICTIONARY_WORTH", 0.001)
        check([batch(pa.array(lists, kind), with_text=False) for lists in groups])


@pytest.mark.parametrize(("kind", "top"), [(pa.uint16(), 50_257), (pa.uint16(), 65_536), (pa.uint32(), 1 << 32)])
def test_batches_of_a_real_size(kind: pa.DataType, top: int) -> None:
    random = np.random.default_rng(1)
    lengths = np.concatenate([[0, 300_000, 0, 0], random.geometric(0.001, 1000)])
    ids = pa.array((random.random(lengths.sum()) ** 4 * top).astype(str(kind)))
    lists = pa.ListArray.from_arrays(pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32()), ids)
    # A slice has offsets that don't begin with 0.
    footer = check([batch(lists), batch(lists[1:]), batch(lists[5:900])])
    chunk = footer.row_group(0).column(0)
    assert chunk.has_dictionary_page == (kind == pa.uint16())
    assert ("RLE_DICTIONARY" in chunk.encodings) == (kind == pa.uint16())


def test_few_tokens_get_no_dictionary() -> None:
    footer = check([batch(pa.array([[1, 60_000], []], pa.list_(pa.uint16())))])
    assert not footer.row_group(0).column(0).has_dictionary_page


def test_a_file_without_rows() -> None:
    empty = batch(pa.array([], pa.list_(pa.uint16())))
    file = io.BytesIO(written([empty]))
    assert pq.read_table(file).equals(pa.Table.from_batches([empty]))
    assert pq.read_schema(file).metadata[b"made by"] == b"a test"


def test_the_list_column_may_stand_anywhere_or_alone() -> None:
    lists = pa.array([[1, 2], None, []], pa.list_(pa.uint16()))
    number = pa.array([1, 2, 3])
    for names in (["input_ids"], ["number", "input_ids"], ["input_ids", "number"]):
        rows = pa.RecordBatch.from_pydict({name: {"input_ids": lists, "number": number}[name] for name in names})
        assert pq.read_table(io.BytesIO(written([rows, rows]))).equals(pa.Table.from_batches([rows, rows]))


def test_footers_come_back_from_the_thrift_codec() -> None:
    data = written([batch(pa.array([[i] * i for i in range(50)], pa.list_(pa.uint16())))] * 20, by_pyarrow=True)
    footer, begin = list_file._footer(data)
    assert thrift_compact.encode(footer) == data[begin:-8]


def test_a_type_that_parquet_does_not_use_is_an_error() -> None:
    with pytest.raises(ValueError, match="Thrift type 11 "):
        thrift_compact.decode(b"\x1b\x00")
    with pytest.raises(ValueError, match="Thrift type 11 "):
        thrift_compact.encode({1: (11, {})})
    with pytest.raises(IndexError):
        thrift_compact.decode(b"\x18\x05abc")
