"""The command line as a whole: what `--help` lists is there, and all that is there is listed."""

from __future__ import annotations

import pkgutil
import subprocess

import pytest

from beam_pipeline import cli, commands
from tests import runs

SHARED = {
    "decided_again",
    "terminal",
    "trial_tables",
    "corpus_arguments",
    "documents",
    "lineage_arguments",
    "export_questions",
    "told_products",
}
"""Modules of `beam_pipeline.commands` that hold what several commands need."""


def test_every_command_is_listed() -> None:
    modules = {module.name for module in pkgutil.iter_modules(commands.__path__)} - SHARED
    assert {name.replace("-", "_") for name in cli.COMMANDS} == modules


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    assert f"python -m beam_pipeline {command}" in capsys.readouterr().out


def test_an_unknown_command_is_wrong_usage() -> None:
    done = subprocess.run(runs.command("tracer"), cwd=runs.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == cli.WRONG_USAGE
    assert "there is no command 'tracer'" in done.stderr


@pytest.mark.parametrize("flag", ["--plan", "--explain-dedup"])
def test_what_answers_for_one_run_takes_no_corpus(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--corpus", "/nowhere", "--input", "/nowhere", flag]) == 2
    assert f"{flag}: answers for --output" in " ".join(capsys.readouterr().err.split())
