"""What a comparison of two runs says of objects that differ: which, and what in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.differences import differences

ROWS = {"id": [7, 8, 9], "language": pa.array(["de", "en", None]).dictionary_encode(), "input_ids": [[1], [], [2, 3]]}
ROWS["score"] = pa.array([0.5, float("nan"), None], pa.float32())


def put(output: Path, name: str = "tokens/0000000-00000.parquet", /, *, key: str = "a", **columns: Any) -> None:
    path = output / name
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"row_group_size": columns.pop("row_group_size", 3)}
    pq.write_table(pa.table(ROWS | columns).replace_schema_metadata({"source": key}), path, **options)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({}, None),
        ({"id": [7, 1, 2]}, "id: 2 values, the first in row 1"),
        ({"input_ids": [[1], [], [2, 4]], "key": "b"}, "input_ids: 1 values, the first in row 2; footer: source"),
        ({"language": pa.array(["de", "en", "en"]).dictionary_encode()}, "language: 1 values, the first in row 2"),
        (
            {"text": ["", "", ""]},
            "columns ['id', 'language', 'input_ids', 'score', 'text'] instead of ['id', 'language'",
        ),
        ({"row_group_size": 2}, "the same rows, stored otherwise from byte "),
        ({"id": pa.array([7, 8, 9], pa.int32())}, "id: of type int32 instead of int64"),
    ],
)
def test_what_differs_is_named(tmp_path: Path, other: dict[str, Any], said: str | None) -> None:
    put(tmp_path / "one")
    put(tmp_path / "other", **other)
    found = differences(tmp_path / "one", tmp_path / "other")
    assert list(found) == ([] if said is None else ["tokens/0000000-00000.parquet"])
    assert said is None or next(iter(found.values())).startswith(said)


def test_what_only_one_run_has_differs(tmp_path: Path) -> None:
    put(tmp_path / "one", "tokens/0.parquet")
    put(tmp_path / "other", "fingerprints/1.parquet")
    assert differences(tmp_path / "one", tmp_path / "other") == {
        "fingerprints/1.parquet": "isn't expected", "tokens/0.parquet": "isn't there"
    }  # fmt: skip
    put(tmp_path / "other", "tokens/0.parquet", **{name: values[:2] for name, values in ROWS.items()})
    found = differences(tmp_path / "one", tmp_path / "other")
    assert found["tokens/0.parquet"] == "2 rows instead of 3"
