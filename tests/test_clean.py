"""``clean`` finds what dead runs leave, and nothing that a run needs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from beam_pipeline.cli import main
from tests import runs


def clean(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 0) -> str:
    assert main(["clean", *map(str, arguments)]) == status
    captured = capsys.readouterr()
    return captured.out + captured.err


def test_a_finished_run_has_nothing_left_over(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nothing is left over" in clean(capsys, finished, "--older_than", 0)


def test_leftovers_are_listed_and_removed(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out"
    shutil.copytree(finished, output)
    tokens, fingerprints = output / "tokens", output / "fingerprints"
    some = sorted(tokens.iterdir())[0]
    left = {
        tokens / ".0123.unfinished": "never committed",
        tokens / "0000009-00000.parquet": "no shard that begins with source 9",
        tokens / "notes.txt": "no shard's",
        fingerprints / "0000000-00077.parquet": "other settings made it",
        fingerprints / "0000001-00055.parquet": "is cut short or damaged",
        tokens / "0000001-00088.parquet": "another version of its source",
    }
    for path in left:
        path.write_bytes(b"half" if path.name.startswith(("0000001-00055", ".", "notes")) else some.read_bytes())
    said = clean(capsys, output, "--older_than", 0)
    for path, reason in left.items():
        assert f"{path}: " in said
        assert reason in said
        assert path.exists()
    assert f"{len(left)} stale objects" in said
    assert ".unfinished" not in clean(capsys, output), "a young one may be a living run's"
    clean(capsys, output, "--older_than", 0, "--delete")
    assert not any(path.exists() for path in left)
    assert runs.digests(output) == runs.digests(finished)


def test_folders_of_the_user_beside_a_run_are_left_alone(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    shutil.copytree(finished, output)
    monkeypatch.chdir(tmp_path)
    mine = [output / "jsonl" / "mine.jsonl.gz", output / "jsonl" / "deeper" / "0000009-00000.jsonl.zst"]
    left = output / "jsonl" / "0000009-00000.jsonl.zst"
    for path in (*mine, left):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    assert f"{left}: the plan has no shard" in clean(capsys, "out", "--delete")
    assert not left.exists() and all(path.exists() for path in mine)


def test_a_place_that_cannot_be_served_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "ftp:// isn't supported" in clean(capsys, "ftp://bucket/out", status=2)


def test_the_command_is_there() -> None:
    done = subprocess.run(runs.command("clean", "--help"), cwd=runs.ROOT, capture_output=True, text=True, check=True)
    assert "--delete" in done.stdout
