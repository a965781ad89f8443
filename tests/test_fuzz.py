"""The short form of ``make fuzz``: no damaged file kills, stops or surprises the process that reads it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.fuzz import campaign, mutants

MUTANTS = {"parquet": 1500, "lines": 300, "others": 700}


@pytest.mark.parametrize("kind", MUTANTS)
def test_a_damaged_file_is_rows_or_a_reason(tmp_path: Path, kind: str) -> None:
    names = {"parquet": mutants.PARQUET, "lines": mutants.LINES, "others": mutants.OTHERS}[kind]
    done = list(campaign.fuzz(names, MUTANTS[kind], tmp_path, processes=2))
    assert not [str(of_file) for of_file in done if of_file.findings]
    assert sum(of_file.results + of_file.reasons for of_file in done) == MUTANTS[kind]
    assert sum(of_file.results for of_file in done)
    assert sum(of_file.reasons for of_file in done)


def test_a_mutant_is_the_same_bytes_every_time() -> None:
    for name, make in mutants.FILES.items():
        data = make()
        assert make() == data, name
        spots = mutants.hot_spots(data)
        again = [mutants.mutant(data, spots, name, number) for number in range(50)]
        assert again == [mutants.mutant(data, spots, name, number) for number in range(50)], name
        assert len(set(again)) > 40, name


@pytest.mark.parametrize(("body", "what"), [("os.abort()", "SIGABRT"), ("time.sleep(60)", "hangs"), ("1 / 0", "exit")])
def test_a_dead_or_hanging_process_is_a_finding_and_the_next_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, what: str
) -> None:
    (tmp_path / "broken.py").write_text(
        "import os, pathlib, sys, time\n"
        "from tests.fuzz import child\n"
        "well = child.outcome\n"
        "def outcome(source):\n"
        f"    return ({body}) if number(source) == 3 else well(source)\n"
        "def number(source):\n"
        "    progress = pathlib.Path(source.uri).with_name('progress').read_bytes()\n"
        "    return int.from_bytes(progress[:8], 'little')\n"
        "child.outcome = outcome\n"
        "sys.exit(child.main(pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{campaign.ROOT}")
    monkeypatch.setattr(campaign, "CHILD", [sys.executable, "-m", "broken"])
    monkeypatch.setattr(campaign, "HANG_SECONDS", 2.0)
    (done,) = campaign.fuzz(["lines"], 8, tmp_path / "kept")
    (found,) = done.findings
    assert found.number == 3
    assert found.what.startswith(what)
    assert done.results + done.reasons == 7
    data = mutants.FILES["lines"]()
    assert found.path.read_bytes() == mutants.mutant(data, mutants.hot_spots(data), "lines", 3)
