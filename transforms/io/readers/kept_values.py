"""Values of kept columns as arrays of their types; what doesn't fit is null and told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from transforms.io.kept_columns import MISSING, KeptColumn, folder_value
from transforms.io.read_options import ReadOptions
from transforms.io.readers.column_types import fitted, fitted_json
from transforms.io.readers.common import Warn


class _Kept:
    """What the kept columns of one source have in common.

    Args:
      uri: of the source; its folders have the values of columns that aren't in the source.
      options: how it is read.
    """

    def __init__(self, uri: str, options: ReadOptions) -> None:
        self._columns = options.columns
        self._folders = [folder_value(uri, column.path) for column in options.columns]
        self._misfits: dict[str, tuple[int, int, pa.DataType]] = {}

    def _count(self, column: KeptColumn, rows: np.ndarray, misfits: pa.Array) -> None:
        if count := misfits.true_count:
            first = int(rows[misfits.index(True).as_py()])
            before, first, _ = self._misfits.get(column.name, (0, first, None))
            self._misfits[column.name] = (before + count, first, column.kind)

    def tell(self, warn: Warn) -> None:
        """After the last row, says which columns had values of another type."""
        for name, (count, first, kind) in self._misfits.items():
            warn(
                f"column {name!r} (keep_columns): {count:,} values aren't {kind} and are null, the first in row "
                f"{first}; keep it as {name}=string to have them all"
            )


class KeptArrays(_Kept):
    """Kept columns of a format that has types of its own."""

    def of(self, rows: np.ndarray, found: Sequence[pa.Array | None]) -> list[pa.Array]:
        """The kept columns of some rows in the types in which they are kept.

        Args:
          rows: their numbers.
          found: the columns as they are read, None for one that the source hasn't.
        """
        arrays = []
        for column, folder, values in zip(self._columns, self._folders, found, strict=True):
            if values is None:
                values = pa.repeat(pa.scalar(folder, pa.string()), len(rows))
            array, misfits = fitted(values, column.kind, column.declared)
            self._count(column, rows, misfits)
            arrays.append(array)
        return arrays


class KeptValues(_Kept):
    """Kept columns of a format whose values are Python objects, as JSON has them."""

    @property
    def paths(self) -> list[str]:
        """What is to be looked up in each row (``transforms.io.kept_columns.lookup``)."""
        return [column.path for column in self._columns]

    def arrays(self, rows: np.ndarray, found: Sequence[Sequence[Any]]) -> list[pa.Array]:
        """The kept columns of some rows.

        Args:
          rows: their numbers.
          found: of each row the values of ``paths``, ``MISSING`` where it hasn't one.
        """
        arrays = []
        for place, (column, folder) in enumerate(zip(self._columns, self._folders, strict=True)):
            values = [folder if of_row[place] is MISSING else of_row[place] for of_row in found]
            array, misfits = fitted_json(values, column.kind, column.declared)
            self._count(column, rows, misfits)
            arrays.append(array)
        return arrays
