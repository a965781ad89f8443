"""The published rules: speed beside datatrove on the same documents, time by shape of document, and lists of URLs.

    python -m benchmarks.rules --peer DATATROVE_PYTHON [--input FOLDER] [--tokenizer FILE]

Four families together (gopher_quality, gopher_repetition, fineweb, c4), CPU seconds of one thread, the best of three.
Then whole runs with and without them.
"""

from __future__ import annotations

import argparse
import functools
import json
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks import inputs
from benchmarks.whole_run import START_UP_DOCUMENTS, Bench
from transforms.io import url_lists
from transforms.kernels.deduplication.fingerprinting import offsets_and_data
from transforms.kernels.urls.lists import Words, judge
from transforms.recipe.spec import PlannedRecipe, StepSpec

FAMILIES = ("gopher_quality", "gopher_repetition", "fineweb", "c4")
PEER_BYTES = 1_500_000
SHAPE_BYTES = 10_000_000
DOMAINS = 5_000_000
URLS = 2_000_000
SAMPLE = Path(__file__).parents[1] / "beam_pipeline" / "sample"


def documents(texts: pa.Array) -> pa.RecordBatch:
    """Documents as steps get them, in English."""
    return pa.RecordBatch.from_pydict(
        {
            "id": pa.nulls(len(texts), pa.string()),
            "text": texts.cast(pa.string()),
            "language": pa.DictionaryArray.from_arrays(np.zeros(len(texts), np.int32), pa.array(["en"])),
            "language_score": pa.array(np.ones(len(texts), np.float32)),
        }
    )


class Families:
    """All four, as a recipe has them: the annotators they need, then the rules."""

    def __init__(self) -> None:
        recipe = PlannedRecipe.of([StepSpec(use=family) for family in FAMILIES])
        self._steps = [spec.load() for spec in recipe.steps]

    def __call__(self, data: pa.RecordBatch) -> list[pa.Array]:
        """The reasons of each family."""
        reasons = []
        for step in self._steps:
            answer = step.function(data)
            if step.kind == "annotator":
                for name, values in answer.items():
                    data = data.append_column(name, values)
            else:
                reasons.append(answer)
        return reasons


def seconds(work: Callable[[], object], times: int = 3) -> float:
    """CPU seconds of this thread, the best of some."""
    best = float("inf")
    for _ in range(times):
        begin = time.thread_time()
        work()
        best = min(best, time.thread_time() - begin)
    return best


def batches(table: pa.Table) -> list[pa.RecordBatch]:
    """Batches of at most 16 MiB, as in a run."""
    texts = table["text"].combine_chunks()
    rows = max(1, int(len(texts) * 16 * 2**20 / max(inputs.text_bytes(table), 1)))
    return [documents(texts.slice(place, rows)) for place in range(0, len(texts), rows)]


def speed(families: Families, table: pa.Table) -> float:
    """MB of text a CPU second."""
    prepared = batches(table)
    return inputs.text_bytes(table) / 1e6 / seconds(lambda: [families(batch) for batch in prepared])


def beside_the_peer(families: Families, table: pa.Table, peer: Path) -> None:
    """Both on the same documents, one after the other."""
    some = inputs.evenly_spread(table, PEER_BYTES)
    ours = speed(families, some)
    with tempfile.TemporaryDirectory() as folder:
        inputs.write(some, Path(folder) / "some.parquet")
        script = Path(__file__).with_name("datatrove_rules.py")
        done = subprocess.run([peer, script, f"{folder}/some.parquet"], capture_output=True, text=True, check=True)
    theirs = inputs.text_bytes(some) / 1e6 / float(done.stdout.split()[-1])
    print(f"{inputs.text_bytes(some) / 1e6:.1f} MB of it: ours {ours:.1f} MB/s, datatrove 0.10.1 {theirs:.2f} MB/s, "
          f"{ours / theirs:.0f} times")  # fmt: skip


def whole_runs(table: pa.Table, tokenizer: Path, rounds: int = 3) -> None:
    """Runs without rules, with all families, and with what they measure alone, in turn: CPU seconds beyond start-up.

    Families drop documents, which then needn't be tokenized. With the statistics alone every document stays.
    """
    recipes = {
        "without rules": [],
        "with all families": [*FAMILIES],
        "with their statistics, dropping nothing": [{"text_statistics": {"repetition": True}}, "c4_statistics"],
    }
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        inputs.write(table.slice(0, START_UP_DOCUMENTS), work / "few" / "part-0.parquet")
        inputs.write(table, work / "all" / "part-0.parquet")
        bench = Bench(work, tokenizer, None)
        flags = {}
        for number, (name, recipe) in enumerate(recipes.items()):
            (work / f"{number}.yaml").write_text(json.dumps({"recipe": recipe}))
            flags[name] = ["--config", str(work / f"{number}.yaml")]
            bench.ours(work / "few", flags=flags[name])  # compiles
        spent: dict[str, list[float]] = {name: [] for name in recipes}
        for _ in range(rounds):
            for name in recipes:
                few, every = (bench.ours(work / part, flags=flags[name]) for part in ("few", "all"))
                spent[name].append(every.cost.cpu - few.cost.cpu)
    least = {name: min(found) for name, found in spent.items()}  # disturbances only add
    for name, cpu in least.items():
        rate = inputs.text_bytes(table) / 1e6 / cpu
        print(f"whole run {name}: {rate:.1f} MB/s, {least['without rules'] / cpu:.0%} of one without rules")


def shapes(families: Families) -> None:
    """Seconds for 10 MB and 100 MB of one document: ten times as long, whatever its shape."""
    words = " ".join(f"word{number % 9973}" for number in range(1000)) + ".\n"
    made: dict[str, Callable[[int], str]] = {
        "prose": lambda size: words * (size // len(words)),
        "one line": lambda size: words.replace("\n", " ") * (size // len(words)),
        "lines of nine characters": lambda size: "\n".join(f"{number:09}" for number in range(size // 10)),
        "one word repeated": lambda size: "word " * (size // 5),
        "one character": lambda size: "a" * size,
        "brackets and dots": lambda size: "[1].[[ ...]" * (size // 11),
    }
    for name, make in made.items():
        times = []
        for size in (SHAPE_BYTES, 10 * SHAPE_BYTES):
            data = documents(pa.array([make(size)]))
            times.append(seconds(functools.partial(families, data), times=1))
        print(
            f"one document, {name}: 10 MB {times[0]:.2f} s, 100 MB {times[1]:.2f} s ({times[1] / times[0]:.1f} times)"
        )


def url_lists_of_millions() -> None:
    """Memory of 5 million domains, and URLs a second."""
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        path = Path(folder) / "domains"
        with path.open("w") as file:
            file.writelines(f"site{number * 7919 % 99_999_989}.example{number % 50}.com\n" for number in range(DOMAINS))
        pins = url_lists.pin({"domains": [str(path)]}, [])
        begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        table = url_lists.table(pins)
        made, peak = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        urls = pa.array(
            [f"https://www.site{number}.example{number % 60}.com/a/page-{number}.html" for number in range(URLS)]
        )
        offsets, data = offsets_and_data(urls)
        words = Words.of(["casino"], ["bet", "win"], ["freemoney", "xxxtube"], 2)
        judge(data, offsets, table, words, (True, False, False))
        taken = seconds(functools.partial(judge, data, offsets, table, words, (True, False, False)))
        print(
            f"{DOMAINS:,} domains: table of {table.nbytes / 1e6:.0f} MB for the machine, made in {made:.1f} s with "
            f"{peak / 1024:.0f} MB at the peak; {URLS / taken / 1e6:.2f} M URLs/s"
        )
    tempfile.tempdir = None


def main() -> None:
    """Prints it all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, help="the interpreter of datatrove's environment")
    parser.add_argument("--input", type=Path, help="a folder of Parquet; generated text if it isn't given")
    parser.add_argument("--tokenizer", type=Path, default=SAMPLE / "tokenizer.json", help="of the whole runs")
    args = parser.parse_args()
    families = Families()
    with tempfile.TemporaryDirectory() as folder:
        if args.input is None:
            inputs.generate(Path(folder), 20_000_000)
        table = inputs.read(args.input or Path(folder))
    families(batches(table)[0].slice(0, 5))
    whole_runs(table, args.tokenizer)
    print(f"all of {inputs.text_bytes(table) / 1e6:.0f} MB: {speed(families, table):.1f} MB/s a core")
    english = [text for text in table["text"].to_pylist() if text.count(" the ") > len(text) / 200]
    if english:
        only = pa.table({"id": list(map(str, range(len(english)))), "text": english})
        print(f"English, {inputs.text_bytes(only) / 1e6:.0f} MB: {speed(families, only):.1f} MB/s a core")
        table = only
    if args.peer:
        beside_the_peer(families, table, args.peer)
    shapes(families)
    url_lists_of_millions()


if __name__ == "__main__":
    main()
