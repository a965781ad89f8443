"""``report``: the page of a finished run says what the run says, and shows texts only if it may."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from beam_pipeline import cli
from beam_pipeline.commands.lineage_arguments import locate, opened
from beam_pipeline.finished_runs import finished_run
from beam_pipeline.report import run_documents
from beam_pipeline.report.distributions import ALL, Distribution
from beam_pipeline.report.run_result import DUPLICATES, result_of
from beam_pipeline.trial import result as trial
from tests import browser, runs
from tests.hostile import ATTACKS
from tests.test_report import TAGS, Reader

RECIPE = [
    "text_statistics",
    "tests.example_steps:without_commas",
    {"rule": {"reason": "few_words", "keep": "words >= 30"}},
    {"rule": {"reason": "no_letters", "keep": "letters / max(characters, 1) >= 0.7"}},
    "tests.example_steps:no_questions",
]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with attributes, an edit, duplicates, texts that are markup, and several small sources in one shard."""
    folder = tmp_path_factory.mktemp("ran")
    runs.write_corpus(folder / "texts", files=2, documents=250)
    german = "Der Kahn, der am Morgen ablegt, fährt über den See und kommt am Abend, wenn es dunkel ist, zurück. " * 4
    texts = [f"{attack} {german}{number}" for number, attack in enumerate(ATTACKS)]
    (folder / "texts" / "z.jsonl").write_text(
        "".join(json.dumps({"text": text, "topic": texts[0]}) + "\n" for text in texts)
    )
    (folder / "settings.yaml").write_text(yaml.safe_dump({"recipe": RECIPE, "keep_columns": ["topic"]}))
    runs.run(folder / "texts", folder / "out", "--config", folder / "settings.yaml", "--direct_num_workers", 1)
    return folder / "out"


def made(ran: Path, texts: bool = True) -> tuple[trial.Result, dict[str, Distribution]]:
    dsn, _ = locate(str(ran), None, "")
    with opened(dsn) as lineage:
        result, distributions = result_of(finished_run(str(ran)), lineage, texts)
    return result, {each.name: each for each in distributions}


@pytest.fixture(scope="module")
def found(ran: Path) -> tuple[trial.Result, dict[str, Distribution]]:
    return made(ran)


def test_the_funnel_is_that_of_the_run(ran: Path, found: tuple[trial.Result, dict[str, Distribution]]) -> None:
    counts = runs.manifest(ran)["counts"]
    sums: dict[tuple[str, str], int] = {}
    for row in found[0].funnel.to_pylist():
        sums[row["step"], row["reason"]] = sums.get((row["step"], row["reason"]), 0) + row["documents"]
    assert sums.pop((trial.ALL, "")) == counts["documents"]
    assert sums.pop((trial.KEPT, "")) == counts["kept"]
    invalid = {reason: sums.pop((step, reason)) for step, reason in list(sums) if step == trial.INVALID}
    assert invalid == counts["invalid"]
    assert {reason: number for (_, reason), number in sums.items()} == counts["dropped"]
    assert sums[DUPLICATES, "exact_duplicate"] > 0
    assert ("few_words", "few_words") in sums
    assert ("no_questions", "no_questions") in sums


def test_distributions_are_of_all_documents(ran: Path, found: tuple[trial.Result, dict[str, Distribution]]) -> None:
    stored = pa.concat_tables(
        [pq.read_table(file, columns=["words", "text_bytes"]) for file in (ran / "fingerprints").glob("*.parquet")]
    )
    words = found[1]["words"]
    assert words.documents == words.counts[ALL].sum() == len(stored["words"].drop_null())
    few = pc.sum(pc.less(stored["words"], 30)).as_py()
    [threshold] = words.beyond
    assert threshold.groups[ALL] == (words.documents, few)
    assert found[1]["letters / max(characters, 1)"].beyond
    assert "topic" in found[1]


def test_a_sample_of_few_documents_leaves_the_counts_as_they_are(
    ran: Path, found: tuple[trial.Result, dict[str, Distribution]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_documents, "SAMPLE", 60)
    result, distributions = made(ran)
    assert 0 < len(result.documents) <= 61 < len(found[0].documents)
    assert result.funnel == found[0].funnel
    assert {name: each.documents for name, each in distributions.items()} == {
        name: each.documents for name, each in found[1].items() if name in distributions
    }


def test_texts_are_those_of_the_sources(ran: Path, found: tuple[trial.Result, dict[str, Distribution]]) -> None:
    sources = {str(file): pq.read_table(file)["text"] for file in (ran.parent / "texts").glob("*.parquet")}
    kinds = {(shown.kind, shown.place) for shown in found[0].texts}
    assert kinds >= {("dropped", "closest"), ("kept", "closest_kept"), ("kept", ""), ("edited", ""), ("dropped", "")}
    for shown in found[0].texts:
        if shown.source in sources and shown.after is None:
            text = sources[shown.source][shown.row].as_py()
            assert shown.text in (text, text.replace(",", ""))  # of German documents the editor has taken the commas
    edited = next(shown for shown in found[0].texts if shown.kind == "edited")
    assert edited.after == edited.text.replace(",", "")
    closest = [shown for shown in found[0].texts if shown.reason == "few_words" and shown.place == "closest"]
    assert [figure.value < 30 for shown in closest for figure in shown.figures] == [True] * len(closest)
    german = [shown for shown in found[0].texts if shown.language == "de" and shown.after is None]
    assert german
    assert [
        (shown.kind, shown.reason, shown.place, shown.row, shown.text) for shown in german if "," in shown.text
    ] == []
    clusters = found[0].duplicates.clusters
    assert clusters
    assert all(cluster.size >= len(cluster.texts) >= 2 and min(cluster.similarities) > 0.7 for cluster in clusters)


def test_the_page_of_a_run_in_a_browser(ran: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert cli.main(["report", "--run", str(ran), "--output", str(page)]) == 0
    read = Reader(page.read_text())
    assert read.tags <= TAGS
    assert any("window.pwned" in text for text in read.texts)
    with browser.opened() as chromium:
        chromium.open(page.as_uri())
        assert chromium.named("Runtime.consoleAPICalled", "Log.entryAdded", "Runtime.exceptionThrown") == []
        assert len(chromium.named("Network.requestWillBeSent")) == 1
        assert chromium.ask("typeof window.pwned") == "undefined"
        assert chromium.ask("document.querySelectorAll('figure svg').length") == read.charts > 20


def test_without_texts_nothing_of_them_is_on_the_page(ran: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert cli.main(["report", "--run", str(ran), "--output", str(page), "--no-texts"]) == 0
    text = "".join(Reader(page.read_text()).texts)
    assert "few_words" in text
    for said in ("pwned", "harbour", "Kahn"):
        assert said not in text


def test_a_run_without_tokens_says_that_it_has_none(ran: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(ran, out)
    manifest = json.loads((out / "run.json").read_text())
    manifest["settings"]["tokens"] = False
    (out / "run.json").write_text(json.dumps(manifest))
    assert made(ran)[0].looked.tokens == "counted"
    assert made(out)[0].looked.tokens == "none were made: --no-tokens"


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["report", "--run", str(tmp_path)]) == 2
    assert "there is no finished run" in capsys.readouterr().err
