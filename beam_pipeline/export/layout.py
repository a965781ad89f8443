"""Which pieces go into which file: a shuffle of row groups instead of tokens, and how good it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas import exports
from schemas.exports import SPLITS
from transforms.kernels.export import choosing

_LAYOUT = 5
"""What the hashes are for, beside those of ``choosing``."""


def lay_out(pieces: pa.Table, seed: int, shard_tokens: int) -> tuple[pa.Table, tuple[int, ...]]:
    """Pieces in a random order, cut into files of about the same size.

    Args:
      pieces: ``schemas.exports.PIECES``, of which ``file`` isn't decided yet.
      shard_tokens: of a file, about.

    Returns:
      The pieces with their files, sorted as they are stored; how many files each split has.
    """
    columns = {name: pieces[name].to_numpy() for name in pieces.column_names}
    file = np.zeros(len(pieces), np.int64)
    counts = []
    for split in range(len(SPLITS)):
        mine = np.flatnonzero(columns["split"] == split)
        unit = columns["unit"][mine].astype(np.uint64)
        slot = columns["copy"][mine].astype(np.int64) << 16 | columns["part"][mine]
        keys = choosing.hashes(choosing.hashes(unit, seed, split, _LAYOUT), seed, split, _LAYOUT)
        keys = choosing.hashes(keys ^ slot.astype(np.uint64), seed, split, _LAYOUT)
        order = np.lexsort((slot, unit, keys))
        tokens = columns["tokens"][mine][order].astype(np.int64)
        total = int(tokens.sum())
        files = max(1, -(-total // shard_tokens)) if len(mine) else 0
        middle = np.cumsum(tokens) - tokens + tokens // 2  # a piece is where its middle is
        file[mine[order]] = np.minimum((middle / max(1, total) * files).astype(np.int64), max(0, files - 1))
        used, file[mine] = np.unique(file[mine], return_inverse=True)
        counts.append(len(used))
    columns["file"] = file
    order = np.lexsort((columns["part"], columns["copy"], columns["unit"], file, columns["split"]))
    arrays = [pa.array(columns[field.name][order]).cast(field.type) for field in exports.PIECES]
    return pa.table(arrays, schema=exports.PIECES), tuple(counts)


def mixing(pieces: pa.Table, units: int) -> dict[str, Any]:
    """How far the order is from a uniform permutation of all documents of the training split.

    ``same_row_group`` is the probability that a document's neighbour in a file is of the same row group, exactly what
    it is in expectation over the hashes; ``uniform`` is the same in a uniform permutation. ``row_groups_in_a_file`` is
    the mean over documents. ``variance`` is how much more the share of a kind of documents varies between files than
    between random samples of the same size, if all documents of a row group are of one kind (1: not at all): the worst
    case, which sources that are in one piece come near.
    """
    columns = {name: pieces[name].to_numpy().astype(np.float64) for name in ("file", "unit", "documents", "split")}
    mine = (columns["split"] == choosing.TRAIN) & (columns["documents"] > 0)
    file, unit, documents = (columns[name][mine] for name in ("file", "unit", "documents"))
    if not len(file):
        return {}
    in_both = _sums(file * units + unit, documents)
    of_file, of_unit = _sums(file, documents), _sums(unit, documents)
    total = documents.sum()
    pairs = (of_file * (of_file - 1)).sum()
    together = (in_both * (in_both - 1)).sum()
    uniform = (of_unit * (of_unit - 1)).sum() / max(1.0, total * (total - 1))
    groups = np.bincount(np.unique(np.stack([file, unit]), axis=1)[0].astype(np.int64))
    return {
        "files": len(of_file),
        "row_groups": len(of_unit),
        "row_groups_in_a_file": float((groups[groups > 0] * of_file).sum() / total),
        "same_row_group": float(together / pairs) if pairs else 1.0,
        "uniform": float(uniform),
        "variance": float((in_both**2).sum() / total) if len(of_file) > 1 else 1.0,
        "reads_of_a_row_group": float(len(in_both) / len(of_unit)),
    }


def _sums(keys: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    _, index = np.unique(keys, return_inverse=True)
    return np.bincount(index, values).astype(np.float64)
