"""Which documents are exported and how often: groups, budgets, epochs, hold-out; documents left out afterwards."""

from __future__ import annotations

import collections
import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from beam_pipeline.export import plan as planning
from beam_pipeline.export import removals
from beam_pipeline.export.runs import NotExportable
from beam_pipeline.export.settings import ExportSettings
from schemas.errors import ToldError
from tests import exports, runs
from transforms.kernels.deduplication.options import MinHash
from transforms.kernels.deduplication.plain_shingles import shingle_hashes

LANGUAGES = ("de", "en", "fr", "fy")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3,000 documents, each recognized by its first token, in four languages and with cluster sizes."""
    generator = np.random.default_rng(5)
    lengths = generator.integers(1, 200, 3000)
    documents = [[n, *([n % 500] * (length - 1))] for n, length in enumerate(lengths)]
    languages = [LANGUAGES[n] for n in generator.choice(4, 3000, p=[0.5, 0.3, 0.15, 0.05])]
    sizes = [int(size) for size in generator.choice([1, 2, 4, 50, 500, 5000], 3000)]
    folder = tmp_path_factory.mktemp("made") / "run"
    return exports.make_run(folder, documents, languages=languages, cluster_sizes=sizes, row_group=100)


def rows(run: Path) -> list[dict[str, Any]]:
    columns = ["input_ids", "language", "cluster_size"]
    paths = sorted((run / "tokens").iterdir())
    return [row for path in paths for row in pq.read_table(path, columns=columns).to_pylist()]


def taken(output: Path, split: str = "train") -> collections.Counter[int]:
    """How often each document is in an export, by its first token."""
    return collections.Counter(sequence[0] for sequence in exports.sequences(output, split))


def test_budgets_are_met_to_the_document_and_nest(made: Path, tmp_path: Path) -> None:
    documents = {row["input_ids"][0]: row for row in rows(made)}
    before: collections.Counter[int] = collections.Counter()
    for number, budget in enumerate((3_000, 60_000, 150_000, 151_000, 400_000)):
        output = tmp_path / str(number)
        mixture = {"by": "language", "groups": {"de": {"tokens": budget}, "f?": {"epochs": 1}}}
        exports.export(output, made, mixture=mixture, shard_tokens=50_000)
        found = taken(output)
        german = {document: count for document, count in found.items() if documents[document]["language"] == "de"}
        tokens = sum(len(documents[document]["input_ids"]) * count for document, count in german.items())
        assert budget - 200 < tokens <= budget
        assert all(count <= found[document] for document, count in before.items())
        assert len({count // 1 for count in german.values()}) <= 2  # nobody is taken twice more than another
        others = {document for document in found if documents[document]["language"] != "de"}
        assert others == {d for d, row in documents.items() if row["language"] in ("fr", "fy")}
        said = {row["group"]: row for row in exports.manifest(output)["mixture"]}
        assert said["de"]["taken"]["tokens"] == tokens and said[None]["available"]["documents"] > 0
        before = collections.Counter(german)


def test_shares_and_epochs(made: Path, tmp_path: Path) -> None:
    documents = {row["input_ids"][0]: row for row in rows(made)}
    groups = {"de": {"share": 0.25}, "en": {"share": 0.75}, "fr": {"epochs": 2.5}, "fy": {"epochs": 0}}
    exports.export(tmp_path, made, mixture={"by": "language", "tokens": 40_000, "groups": groups})
    found = taken(tmp_path)
    tokens: collections.Counter[str] = collections.Counter()
    for document, count in found.items():
        tokens[documents[document]["language"]] += len(documents[document]["input_ids"]) * count
    assert 10_000 - 200 < tokens["de"] <= 10_000 and 30_000 - 200 < tokens["en"] <= 30_000
    french = [found[document] for document, row in documents.items() if row["language"] == "fr"]
    assert set(french) == {2, 3} and 2.3 < sum(french) / len(french) < 2.7
    assert "fy" not in tokens


def test_documents_count_by_the_size_of_their_cluster(made: Path, tmp_path: Path) -> None:
    times = {1: 1, 2: 2, 3: 3, 5: 5, 100: 8, 1000: 1}
    exports.export(tmp_path / "once", made, mixture={"cluster_size": times})
    found = taken(tmp_path / "once")
    expected = {1: 1, 2: 2, 4: 3, 50: 5, 500: 8, 5000: 1}
    assert all(found[row["input_ids"][0]] == expected[row["cluster_size"]] for row in rows(made))
    exports.export(tmp_path / "budget", made, mixture={"cluster_size": times, "groups": {"*": {"tokens": 100_000}}})
    small = taken(tmp_path / "budget")
    tokens = sum(len(row["input_ids"]) * small[row["input_ids"][0]] for row in rows(made))
    assert 100_000 - 200 < tokens <= 100_000
    sums: collections.Counter[int] = collections.Counter()
    for row in rows(made):
        sums[row["cluster_size"]] += small[row["input_ids"][0]]
    assert sums[500] > 4 * sums[1] > 0  # 8 times as often, but for chance


def test_copies_of_a_document_are_spread_over_files_and_parts_read_more(made: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"shard_tokens": 30_000, "mixture": {"groups": {"*": {"epochs": 2}}}}
    exports.export(tmp_path / "a", made, **settings)
    assert set(taken(tmp_path / "a").values()) == {2} and len(taken(tmp_path / "a")) == 3000
    exports.export(tmp_path / "b", made, parts=4, **settings)
    assert taken(tmp_path / "b") == taken(tmp_path / "a")
    whole, parted = (exports.manifest(tmp_path / name)["mixing"] for name in "ab")
    assert parted["same_row_group"] < 0.6 * whole["same_row_group"]
    assert 3 < parted["reads_of_a_row_group"] / whole["reads_of_a_row_group"] <= 4


def test_the_stated_mixing_is_what_is_found(made: Path, tmp_path: Path) -> None:
    """Neighbours of the same row group, counted over many seeds, are as many as the plan says."""
    group_of = {row["input_ids"][0]: number // 100 for number, row in enumerate(rows(made))}
    said, found, neighbours = 0.0, 0, 0
    for seed in range(5):
        output = tmp_path / str(seed)
        exports.export(output, made, shard_tokens=60_000, seed=seed, parts=2)
        mixing = exports.manifest(output)["mixing"]
        said += mixing["same_row_group"] / 5
        assert mixing["uniform"] == pytest.approx(99 / 2999)
        for path in sorted((output / "train").iterdir()):
            groups = [group_of[ids[0]] for ids in pq.read_table(path)["input_ids"].to_pylist()]
            found += sum(a == b for a, b in itertools.pairwise(groups))
            neighbours += len(groups) - 1
    assert found / neighbours == pytest.approx(said, rel=0.1)


def test_conditions(made: Path, tmp_path: Path) -> None:
    exports.export(tmp_path, made, where="language in ['fr', 'fy'] and n_tokens > 100")
    assert set(taken(tmp_path)) == {
        row["input_ids"][0] for row in rows(made) if row["language"] in ("fr", "fy") and len(row["input_ids"]) > 100
    }
    with pytest.raises(NotExportable, match="no document is left"):
        exports.export(tmp_path / "none", made, where="n_tokens > 1000000")


def test_held_out_documents_are_not_in_training_and_nest(made: Path, tmp_path: Path) -> None:
    mixture = {"groups": {"*": {"epochs": 3}}}
    exports.export(tmp_path / "small", made, "arrow", holdout=0.05, mixture=mixture)
    exports.export(tmp_path / "large", made, "arrow", holdout=0.1, mixture=mixture)
    small, large = (taken(tmp_path / name, "holdout") for name in ("small", "large"))
    assert set(small.values()) == {1} and set(small) < set(large)
    assert 0.04 < len(small) / 3000 < 0.06
    assert not set(large) & set(taken(tmp_path / "large"))
    assert set(taken(tmp_path / "large").values()) == {3}
    assert len(large) + len(taken(tmp_path / "large")) == 3000
    with pytest.raises(NotExportable, match="not held against each other"):
        other = shutil.copytree(made, tmp_path / "other")
        exports.export(tmp_path / "both", [made, other], holdout=0.1)


def test_no_held_out_document_has_a_near_duplicate_in_training(finished: Path, tmp_path: Path) -> None:
    """On a real run, whose corpus has a near-copy for every tenth document: by the texts that the tokens decode to."""
    exports.export(tmp_path, finished, "parquet", holdout=0.2)
    tokenizer = runs.reference_tokenizer()
    held, training = (
        [set(shingle_hashes(tokenizer.decode(list(ids)), MinHash()).tolist()) for ids in sequences]
        for sequences in (exports.sequences(tmp_path, "holdout"), exports.sequences(tmp_path))
    )
    assert len(held) > 200
    having: dict[int, list[int]] = collections.defaultdict(list)
    for number, shingles in enumerate(training):
        for shingle in shingles:
            having[shingle].append(number)
    for shingles in held:
        shared = collections.Counter(number for shingle in shingles for number in having[shingle])
        assert all(count < 0.8 * len(shingles | training[number]) for number, count in shared.most_common(20))


def test_leaving_documents_out_rewrites_only_their_files_and_is_a_full_export_without_them(
    made: Path, tmp_path: Path
) -> None:
    documents = rows(made)
    gone = [5, 1700, 2999]
    names = [f"/source/{number // 1500}\t{number % 1500}" for number in gone]
    (tmp_path / "list").write_text("# wanted gone\n" + "\n".join(names[:2]) + f"\n\n{1 << 32 | 1499}\n")
    settings: dict[str, Any] = {"shard_tokens": 20_000, "parts": 2, "mixture": {"groups": {"*": {"tokens": 200_000}}}}
    for format in ("mds", "megatron"):
        output = tmp_path / format
        exports.export(output, made, format, **settings)
        before = {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.is_file()}
        had = taken(output)
        exports.export(output, made, format, without=str(tmp_path / "list"), **settings)
        assert taken(output) == collections.Counter({d: n for d, n in had.items() if d not in gone})
        exports.export(tmp_path / f"{format}-full", made, format, without=str(tmp_path / "list"), **settings)
        same = ("train", "provenance", "README.md", "croissant.json", "removed.parquet")
        assert exports.digests(output, *same) == exports.digests(tmp_path / f"{format}-full", *same)
        indices = [path for path in before if path.parent.name == "provenance"]
        written = [path for path in indices if path.stat().st_mtime_ns != before[path]]
        held = sum(had[document] for document in gone)
        assert 0 < len(written) <= held < len(indices)
        # What is gone stays gone.
        exports.export(output, made, format, **settings)
        assert exports.digests(output, *same) == exports.digests(tmp_path / f"{format}-full", *same)
    assert all(documents[number]["input_ids"][0] == number for number in gone)


def test_a_row_of_a_source_is_left_out_of_every_run_that_has_read_it(made: Path, tmp_path: Path) -> None:
    other = exports.make_run(
        tmp_path / "other", [[7, n] for n in range(20)], run="00000000-0000-0000-0000-000000000002"
    )
    (tmp_path / "list").write_text("/source/0\t3\n")
    plan = exports.export(tmp_path / "out", [made, other], without=str(tmp_path / "list"))
    assert removals.read_removals(str(tmp_path / "list"), plan.runs).to_pydict() == {
        "run": [0, 1], "document": [3, 3]
    }  # fmt: skip
    left = exports.sequences(tmp_path / "out")
    assert len(left) == 3000 + 20 - 2
    assert [7, 3] not in [list(tokens) for tokens in left]


def test_a_list_that_names_nothing_is_refused(made: Path, tmp_path: Path) -> None:
    for line, message in (
        ("x\ty", "line 1: 'x"), ("/source/9\t3", "no run of the export has '/source/9'"),
        (f"/source/0\t{1 << 32}", "line 1: 4294967296 is no row"), (f"{1 << 64}", "line 1: .* is no id"),
    ):  # fmt: skip
        (tmp_path / "list").write_text(line)
        with pytest.raises(NotExportable, match=message):
            exports.export(tmp_path / "out", made, without=str(tmp_path / "list"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mixture": {"groups": {"a": {"epochs": 1, "tokens": 5}}}}, "one of epochs, tokens and share"),
        ({"mixture": {"groups": {"a": {"share": 0.5}}}}, "give the tokens of the whole"),
        ({"mixture": {"tokens": 5, "groups": {"a": {"share": 0.8}, "b": {"share": 0.3}}, "by": "x"}}, "more than 1"),
        ({"mixture": {"groups": {"a": {"epochs": 1}, "b": {"epochs": 1}}}}, "names the column"),
        ({"format": "csv"}, "no such format"),
        ({"packing": "concatenate"}, "needs --sequence_length"),
        ({"format": "megatron", "boundaries": "cu_seqlens"}, "no place for cu_seqlens"),
        ({"format": "numpy", "packing": "best-fit", "sequence_length": 5}, "needs --pad"),
        ({"where": "language =="}, "isn't an expression"),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ExportSettings(**{"run": ["r"], "output": "o", "format": "mds"} | settings)


def test_a_budget_of_nothing_is_refused(made: Path, tmp_path: Path) -> None:
    mixture = {"by": "language", "groups": {"xx": {"tokens": 5}}}
    with pytest.raises(NotExportable, match="language 'xx' has no tokens"):
        exports.export(tmp_path / "out", made, mixture=mixture)
    with pytest.raises(ToldError, match="no column 'topic'"):
        exports.export(tmp_path / "out", made, mixture={"by": "topic"})


def test_the_plan_is_what_is_written(made: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"holdout": 0.1, "mixture": {"groups": {"*": {"tokens": 99_999}}}}
    drafted = planning.draft(ExportSettings(run=[str(made)], output=str(tmp_path / "no"), format="mds", **settings))
    assert not (tmp_path / "no").exists()
    exports.export(tmp_path / "yes", made, "mds", **settings)
    done = exports.manifest(tmp_path / "yes")
    assert [done[name] for name in ("mixture", "holdout", "mixing")] == [
        drafted.contents[name] for name in ("mixture", "holdout", "mixing")
    ]
    assert done["splits"]["train"]["tokens"] == done["mixture"][0]["taken"]["tokens"]
    told = drafted.contents["estimate"]
    stored = sum(split["bytes"] for split in done["splits"].values())
    assert told["stored_bytes"] <= stored < 1.2 * told["stored_bytes"] and told["cost"]["requests"] > 0
    assert done["splits"]["holdout"]["tokens"] == done["holdout"]["tokens"]
