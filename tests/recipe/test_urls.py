"""The family ``urls``: lists as files, compressed, and in UT1's layout; the domain as an attribute."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pytest

from tests.recipe.test_families import planned
from transforms.io.pinned_files import PinnedFileChanged
from transforms.recipe.spec import PlannedRecipe
from transforms.recipe.steps import apply_step

URLS = [
    "https://www.bad.com/a", "https://x.adult.org/", "http://fine.org/page", "http://fine.org/other", "https://ok.net/casino",
    "https://ok.net/bet-win", "https://ok.net/free-money-now", None, "https://blog.ok.net/",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def judged(recipe: PlannedRecipe) -> pa.RecordBatch:
    data = pa.record_batch(
        {
            "text": pa.array(["A text."] * len(URLS)),
            "id": pa.nulls(len(URLS), pa.string()),
            "outcome": pa.nulls(len(URLS), pa.uint8()),
            "language": pa.array(["en"] * len(URLS)).dictionary_encode(),
            "language_score": pa.array([0.9] * len(URLS), pa.float32()),
            "url": pa.array(URLS, pa.string()),
        }
    )
    for spec in recipe.steps:
        step = spec.load()
        step.setup()
        data = apply_step(data, step, recipe.outcomes)
    return data


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    (tmp_path / "domains.txt").write_text("# bad ones\nbad.com\n\n")
    (tmp_path / "ut1" / "adult").mkdir(parents=True)
    (tmp_path / "ut1" / "adult" / "domains.gz").write_bytes(gzip.compress(b"adult.org\n"))
    (tmp_path / "ut1" / "adult" / "urls").write_text("fine.org/page\n")
    (tmp_path / "hard.txt").write_text("casino\n# not this\n")
    return tmp_path


def test_lists_words_and_the_domain(lists: Path) -> None:
    arguments = {
        "domains": str(lists / "domains.txt"), "ut1": [str(lists / "ut1")], "hard_words": str(lists / "hard.txt"),
        "soft_words": ["bet", "win"], "substrings": ["free money"],
    }  # fmt: skip
    recipe = planned({"urls": arguments})
    assert [spec.label for spec in recipe.steps] == ["url_matches", "urls"]
    data = judged(recipe)
    found = [None if code is None else recipe.outcomes.table[code][1] for code in data["outcome"].to_pylist()]
    assert found == [
        "url_domain", "url_domain", "url_url", None, "url_hard_word", "url_soft_words", "url_substring", None, None
    ]  # fmt: skip
    assert data["domain"].to_pylist() == [
        "bad.com", "adult.org", "fine.org", "fine.org", "ok.net", "ok.net", "ok.net", None, "ok.net"
    ]  # fmt: skip
    assert len(list(lists.glob("beam-pipeline-lists-*/*.npy"))) == 1
    assert recipe.read_in["urls"]["hard_words"] == ["casino"]


def test_a_list_that_changes_under_a_run_is_refused(lists: Path) -> None:
    recipe = planned({"urls": {"domains": [str(lists / "domains.txt")]}})
    (lists / "domains.txt").write_text("other.com\n")
    with pytest.raises(PinnedFileChanged, match=r"domains.txt is not the list"):
        judged(recipe)


def test_the_domain_alone() -> None:
    assert judged(planned("url_matches"))["domain"][0].as_py() == "bad.com"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"domains": "nothing.txt"}, "nothing.txt"),
        ({"ut1": ["."]}, "no file in this folder"),
        ({"domains": [3]}, "domains must be a string or a list of strings"),
        ({"min_soft_words": 0}, "min_soft_words must be at least 1"),
        ({"hard": ["a"]}, "doesn't take|unexpected"),
    ],
)
def test_what_cannot_be_used(
    arguments: dict[str, object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        planned({"urls": arguments})


def test_without_the_column_the_error_says_what_to_do() -> None:
    recipe = planned({"url_matches": {"column": "address"}})
    with pytest.raises(ValueError, match="no column 'address': name it in keep_columns"):
        judged(recipe)
