"""The same command again goes on from whatever it finds: cut objects, links, a moved output, another command's plan."""

from __future__ import annotations

import concurrent.futures
import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from beam_pipeline import final_check, plan
from beam_pipeline.planned_sources import PlanError, list_sources
from beam_pipeline.sample import tokenizer_path
from beam_pipeline.settings import Settings
from tests import runs
from transforms.io import storage

FLAGS = ("--shard_bytes", "20KiB", "--direct_num_workers", 1)


def settings(source: Path | str, output: Path | str, **others: Any) -> Settings:
    return Settings(input=[str(source)], output=str(output), tokenizer=str(tokenizer_path()), **others)


def listed(source: Path | str, output: Path | str) -> list[str]:
    return [found.uri for found in list_sources(settings(source, output))]


# What is a source. ---------------------------------------------


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A folder with one source."""
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "a.jsonl").write_text('{"text": "some text"}\n')
    return folder


def write_like_a_run(output: Path) -> None:
    for name in ("tokens/0000000-00000.parquet", "plan.json", "sources.parquet"):
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        (output / name).write_text("{}")


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_an_output_inside_the_input_is_no_source_by_whichever_link(text: Path, tmp_path: Path, scheme: str) -> None:
    (tmp_path / "link").symlink_to(text)
    write_like_a_run(text / "out")
    for source in (text, tmp_path / "link"):
        for output in (text / "out", tmp_path / "link" / "out"):
            assert listed(f"{scheme}{source}", f"{scheme}{output}") == [f"{source}/a.jsonl"]
    (tmp_path / "elsewhere").mkdir()
    write_like_a_run(tmp_path / "elsewhere")
    (text / "results").symlink_to(tmp_path / "elsewhere")
    shutil.rmtree(text / "out")
    assert listed(text, tmp_path / "elsewhere") == [f"{text}/a.jsonl"]
    assert listed(f"{text}/**", tmp_path / "elsewhere") == [f"{text}/a.jsonl"]


def test_an_input_inside_the_output_is_read_but_not_what_the_run_writes(text: Path, tmp_path: Path) -> None:
    write_like_a_run(tmp_path)
    (text / "0000000-00000.parquet").write_text("of a run that writes text")
    assert listed(text, tmp_path) == [f"{text}/a.jsonl"]
    with pytest.raises(PlanError, match="nothing to read"):
        listed(tmp_path / "tokens", tmp_path)


def test_the_output_of_another_run_is_not_taken_for_text(text: Path, tmp_path: Path) -> None:
    write_like_a_run(text / "earlier")
    with pytest.raises(PlanError, match=f"{text}/earlier is the output of a run"):
        listed(text, tmp_path / "out")


# Two commands at the same instant. ---------------------------------------------


def test_one_of_many_creates_an_object(tmp_path: Path) -> None:
    start = threading.Barrier(8)

    def attempt(number: int) -> bool:
        start.wait()
        return storage.create(str(tmp_path / "new" / "object"), b"%d" % number)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        won = list(pool.map(attempt, range(8)))
    assert sum(won) == 1
    assert (tmp_path / "new" / "object").read_bytes() == b"%d" % won.index(True)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["object"]


@pytest.mark.parametrize("attempt", range(5))
def test_of_two_commands_over_one_output_one_is_refused(text: Path, tmp_path: Path, attempt: int) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "b.jsonl").write_text('{"text": "other text"}\n')
    output = tmp_path / "out"
    wanted = [settings(text, output), settings(other, output, min_similarity=0.9)]
    start = threading.Barrier(2)

    def command(number: int) -> plan.Plan | PlanError:
        start.wait()
        try:
            return plan.make_plan(wanted[number], "")
        except PlanError as error:
            return error

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(command, range(2)))
    [made] = [end for end in ends if isinstance(end, plan.Plan)]
    [refused] = [end for end in ends if isinstance(end, PlanError)]
    assert "min_similarity" in str(refused)
    assert "  source" in str(refused)
    stored = json.loads((output / "plan.json").read_text())
    assert stored["run"] == made.run
    assert stored["deciding"] == made.deciding.as_json()
    assert plan.is_listed(made.layout.sources, made.deciding.sources_sha256)


def test_of_the_same_command_twice_both_have_the_same_run(text: Path, tmp_path: Path) -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda _: plan.make_plan(settings(text, tmp_path / "out"), ""), range(2)))
    assert made[0].run == made[1].run
    assert sorted(one.resumed for one in made) == [False, True]


# After a run. ---------------------------------------------


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A source, and the output of a run over it, which has since been moved."""
    folder = tmp_path_factory.mktemp("again")
    runs.write_corpus(folder / "in", files=2, documents=200)
    runs.run(folder / "in", folder / "first", *FLAGS)
    (folder / "first").rename(folder / "moved")
    return folder / "in", folder / "moved"


def test_a_moved_output_is_read_where_it_is(done: tuple[Path, Path]) -> None:
    source, output = done
    token_object = sorted((output / "tokens").iterdir())[1]
    stored = pq.read_table(token_object).slice(2, 1).to_pylist()[0]
    by_row = runs.ask("trace", "--output", output, "--object", token_object, "--row", 2, "--text")
    assert (by_row["source_uri"], by_row["source_row"]) == (stored["source"], stored["source_row"])
    assert by_row["token_object"] == str(token_object)
    assert by_row["text"]["input_ids"] == stored["input_ids"]
    user_id = pq.read_table(stored["source"])["id"][stored["source_row"]].as_py()
    assert runs.ask("trace", "--output", output, "--user-id", user_id)["document"] == stored["id"]
    assert runs.ask("status", "--output", output)["state"] == "done"
    assert source.exists()


@pytest.fixture
def copied(done: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    shutil.copytree(done[1], tmp_path / "out")
    return done[0], tmp_path / "out"


def test_what_is_cut_short_is_named_and_made_again(copied: tuple[Path, Path]) -> None:
    source, output = copied
    before = runs.digests(output)
    tokens, fingerprints = (sorted((output / part).iterdir()) for part in ("tokens", "fingerprints"))
    cut = [tokens[0], tokens[1], fingerprints[1], fingerprints[2], output / "sources.parquet"]
    for path in cut[::2]:
        path.write_bytes(path.read_bytes()[:-7])
    tokens[1].write_bytes(b"")
    middle = bytearray(fingerprints[2].read_bytes())
    middle[40:400] = bytes(360)  # its footer is whole
    fingerprints[2].write_bytes(middle)
    (output / "run.json").unlink()
    said = runs.run(source, output, *FLAGS).stderr
    for path in cut:
        assert f"{path}: is cut short or damaged" in said
    assert runs.digests(output) == before
    assert runs.manifest(output)["counts"]["documents"] == 400


def test_a_plan_that_is_cut_short_is_named_and_made_again(copied: tuple[Path, Path]) -> None:
    source, output = copied
    before = runs.digests(output)
    path = output / "plan.json"
    path.write_bytes(path.read_bytes()[:100])
    said = runs.run(source, output, *FLAGS).stderr
    assert f"{path}: is cut short or damaged" in said
    assert runs.digests(output) == before


def test_tokens_of_a_former_plan_are_refused(copied: tuple[Path, Path]) -> None:
    source, output = copied
    (output / "plan.json").unlink()
    before = runs.digests(output)
    said = runs.run(source, output, *FLAGS, "--min_similarity", 0.9, status=2).stderr
    assert f"{output}/tokens/" in said
    assert "of another run or of other settings" in said
    assert f"Remove {output}/tokens" in said
    assert runs.digests(output) == before
    assert not (output / "plan.json").exists()
    shutil.rmtree(output / "tokens")
    runs.run(source, output, *FLAGS, "--min_similarity", 0.9)


def test_the_last_look_finds_what_is_not_of_the_plan(copied: tuple[Path, Path]) -> None:
    source, output = copied
    made = plan.make_plan(settings(source, output, shard_bytes="20KiB"), "")
    assert made.resumed
    tokens = [storage.join(made.tokens.uri, path.name) for path in sorted((output / "tokens").iterdir())]
    assert final_check.faults(made, tokens) == []
    assert final_check.beside(made, tokens) == []
    fingerprint = output / "fingerprints" / Path(tokens[0]).name
    shutil.copy(tokens[0], fingerprint)
    Path(tokens[1]).write_bytes(b"PAR1")
    Path(tokens[2]).unlink()
    assert sorted(
        said.partition("/")[0] + said.rpartition(".parquet")[2] for said in final_check.faults(made, tokens)
    ) == [
        "fingerprint object  was made by other settings than this run's",
        "token object  isn't there",
        "token object : is cut short or damaged (Parquet file size is 4 bytes, smaller than the minimum file footer "
        "(8 bytes)); it is made again",
    ]
    (output / "tokens" / "0000009-00000.parquet").write_bytes(b"")
    assert final_check.beside(made, tokens) == [f"{output}/tokens/0000009-00000.parquet"]
    stored = json.loads((output / "plan.json").read_text()) | {"run": "another"}
    (output / "plan.json").write_text(json.dumps(stored))
    [said] = final_check.faults(made, tokens)
    assert "another command works over this output" in said
