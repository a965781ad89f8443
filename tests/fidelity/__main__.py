"""What each rule of normalization changes, alone: ``python -m tests.fidelity CORPUS FOLDER...`` prints Markdown.

CORPUS is a folder of Parquet with a column ``text``; of it documents and bytes are counted. In the folders and in the
standard library, files of every kind that change, and in brackets those that mean something else then.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tests.fidelity import files
from tests.fidelity.kinds import KINDS
from transforms.kernels.text.normalization import DEFAULT, EVERYTHING, Normalization, normalize
from transforms.kernels.text.options import DROPPABLE

NOTHING = {"drop": (), "line_ends": "keep"}
RULES = {f"drop {name}": Normalization((name,), line_ends="keep") for name in DROPPABLE} | {
    "trim": Normalization(**NOTHING, trim=True),
    "line_ends uniform": Normalization((), line_ends="uniform"),
    "line_ends all": Normalization((), line_ends="all"),
    "nfc": Normalization(**NOTHING, nfc=True),
    "strip_lines": Normalization(**NOTHING, strip_lines=True),
    "max_blanks 16": Normalization(**NOTHING, max_blanks=16),
    "max_blanks 100": Normalization(**NOTHING, max_blanks=100),
    "max_blank_lines 1": Normalization(**NOTHING, max_blank_lines=1),
    "the defaults": DEFAULT,
    "every rule": EVERYTHING,
}


def batches(corpus: Path) -> Iterator[pa.StringArray]:
    """The texts of the corpus."""
    for file in sorted(corpus.glob("*.parquet")):
        for batch in pq.ParquetFile(file).iter_batches(2000, columns=["text"]):
            yield batch["text"].drop_null()


def main(corpus: Path, folders: list[Path]) -> None:
    """Prints a row for each rule."""
    folders = [*folders, files.STANDARD_LIBRARY]
    paths = {kind: files.find(kind, folders) for kind in KINDS}
    some = list(batches(corpus))
    documents, size = sum(map(len, some)), sum(pc.sum(pc.binary_length(text)).as_py() for text in some)
    counts = {kind: files.compare(kind, found).files for kind, found in paths.items()}
    print("| rule alone | documents | bytes |", " | ".join(KINDS), "|")
    print("|---|" + "--:|" * (2 + len(KINDS)))
    print(f"| of | {documents:,} | {size:,} |", " | ".join(f"{count:,}" for count in counts.values()), "|")
    for name, options in RULES.items():
        changed = less = 0
        for text in some:
            after = normalize(text, options)
            changed += pc.sum(pc.not_equal(text, after)).as_py() or 0
            less += pc.sum(pc.binary_length(text)).as_py() - pc.sum(pc.binary_length(after)).as_py()
        row = [f"{changed:,}", f"{-less:,}"]
        for kind, found in paths.items():
            tally = files.compare(kind, found, options)
            row.append(f"{tally.changed:,} ({len(tally.different):,})" if tally.changed else "0")
        print(f"| {name} |", " | ".join(row), "|", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(folder) for folder in sys.argv[2:]])
