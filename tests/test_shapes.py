"""At least 25 forms of files as real producers write them, with what must come out of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.shapes import SHAPES, Shape
from tests.test_kept_columns import kept


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_shape_gives_what_it_must(shape: Shape, tmp_path: Path) -> None:
    shape.write(tmp_path)
    paths = sorted(path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size)
    table = kept(paths, *shape.keep, text=shape.text, identifier=shape.id)
    table.validate(full=True)
    found = {name: table[name].to_pylist() for name in shape.expected}
    assert found == shape.expected
    assert not any(table["outcome"].to_pylist())


def test_there_are_enough() -> None:
    assert len(SHAPES) >= 25
    assert len({shape.name for shape in SHAPES}) == len(SHAPES)
