"""Two checkouts of the project over the same text: same token rows, outcomes, witnesses and totals?

    git worktree add /tmp/before COMMIT
    python -m benchmarks.compare_checkouts /tmp/before . --input texts/ --work /tmp/compared

Each checkout runs over the input with its own code, output and lineage database. Then every row of the token objects,
every row of the view ``lineage`` and the totals of the manifest are compared. Columns that only one of them has are
named and left out. Exit status: 0 the same, 1 not.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

SAMPLE = Path("beam_pipeline") / "sample"
RENAMED = {"books": "counts"}
"""Keys of a manifest by their earlier names."""
TOTALS = ("counts", "tokens", "kept_bytes", "languages", "unreadable", "spelling")
LINEAGE = (
    "source_uri, source_row, outcome, reason, language, witness_uri, witness_row, similarity, "
    "regexp_replace(token_object, '^.*/', '') AS token_object, token_row"
)


@dataclasses.dataclass(frozen=True)
class Checkout:
    """A checkout and its run.

    Attributes:
      code: the folder with the code.
      work: a folder for the output and the lineage.
    """

    code: Path
    work: Path

    def run(self, given: argparse.Namespace, more: list[str]) -> None:
        """Runs the pipeline.

        Raises:
          SystemExit: it failed.
        """
        arguments = ["--input", *given.input, "--output", str(self.work / "out"), "--tokenizer", given.tokenizer]
        self._python("-m", "beam_pipeline", *arguments, *more)

    def _python(self, *arguments: str) -> str:
        """Runs Python with the checkout's code; returns what it prints."""
        environment = os.environ | {"PYTHONPATH": str(self.code), "BEAM_PIPELINE_DATA_DIR": str(self.work / "data")}
        done = subprocess.run(
            [sys.executable, *arguments], cwd=self.code, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode not in (0, 3, 4):
            raise SystemExit(f"{self.code}: {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
        return done.stdout

    def totals(self) -> dict[str, Any]:
        """What the manifest says of the documents, by the names of today."""
        found = json.loads((self.work / "out" / "run.json").read_text(encoding="utf-8"))
        found = {RENAMED.get(name, name): value for name, value in found.items()}
        return {name: found[name] for name in TOTALS if name in found}

    def token_objects(self) -> list[Path]:
        """The token objects, by name."""
        return sorted((self.work / "out" / "tokens").glob("*.parquet"))

    def lineage(self) -> list[list[Any]]:
        """Every document of the run with its outcome and witness, in the order of the sources."""
        plan = json.loads((self.work / "out" / "plan.json").read_text(encoding="utf-8"))
        return [json.loads(line) for line in self._python("-c", _ASK, plan["run"]).splitlines()]


_ASK = f"""
import json, sys, psycopg
from beam_pipeline import embedded_postgres
with psycopg.connect(embedded_postgres.start()) as connection:
    for row in connection.execute(
        "SELECT {LINEAGE} FROM lineage WHERE run = %s ORDER BY source_uri, source_row", (sys.argv[1],)
    ):
        print(json.dumps(row))
"""
"""What a checkout's own Python prints of its lineage: the server runs only while somebody uses it."""


def compare_tokens(before: Checkout, after: Checkout) -> list[str]:
    """What differs in the token objects, one line each."""
    olds, news = before.token_objects(), after.token_objects()
    if [path.name for path in olds] != [path.name for path in news]:
        return [f"token objects: {len(olds)} before, {len(news)} after, or other names"]
    differing, rows, tokens, left_out = [], 0, 0, set[str]()
    for old, new in zip(olds, news, strict=True):
        one, other = pq.read_table(old), pq.read_table(new)
        shared = [name for name in one.column_names if name in other.column_names]
        left_out |= {*one.column_names, *other.column_names} - {*shared}
        rows += len(one)
        tokens += pc.sum(one["n_tokens"]).as_py() or 0
        for name in shared:
            if not _plain(one[name]).equals(_plain(other[name])):
                differing.append(f"{old.name}: column {name} differs")
    print(f"token rows: {rows:,} in {len(olds)} objects, {tokens:,} tokens; columns of one only: {sorted(left_out)}")
    return differing


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Values without their dictionary, whose order is no promise."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def main(arguments: list[str] | None = None) -> int:
    """Runs both and compares; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--input", nargs="+")
    parser.add_argument("--tokenizer", default=str((SAMPLE / "tokenizer.json").absolute()))
    parser.add_argument("--work", type=Path, required=True)
    given, more = parser.parse_known_args(arguments)
    given.input = given.input or [str((SAMPLE / "documents.jsonl").absolute())]
    checkouts = [Checkout(getattr(given, name).resolve(), given.work.resolve() / name) for name in ("before", "after")]
    for checkout in checkouts:
        checkout.work.mkdir(parents=True)
        checkout.run(given, more)
    differing = compare_tokens(*checkouts)
    old, new = (checkout.lineage() for checkout in checkouts)
    witnesses = sum(row[5] is not None for row in old)
    print(f"documents in the lineage: {len(old):,} before, {len(new):,} after, {witnesses:,} with a witness")
    if len(old) != len(new):
        differing.append(f"documents: {len(old)} before, {len(new)} after")
    unlike = [pair for pair in zip(old, new, strict=False) if pair[0] != pair[1]]
    differing += [f"{one[0]}, row {one[1]}: {one[2:]} before, {other[2:]} after" for one, other in unlike[:20]]
    totals = [checkout.totals() for checkout in checkouts]
    for name in totals[0].keys() & totals[1].keys():
        if totals[0][name] != totals[1][name]:
            differing.append(f"{name}: {totals[0][name]} before, {totals[1][name]} after")
    print(f"totals compared: {', '.join(sorted(totals[0].keys() & totals[1].keys()))}")
    print("\n".join(differing) if differing else "the same")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
