"""``check-port``: right ports pass, and what is wrong with the others is shown, for every kind of step."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_pipeline import cli
from beam_pipeline.planned_sources import sources_of
from beam_pipeline.port_answers import NotComparable
from beam_pipeline.port_check import SHOWN, PortCheck, check_port
from tests import runs
from transforms.recipe.spec import StepSpec

TEXTS = [
    "The ferry leaves at seven, from the old harbour.",
    "Who leaves, and when?",
    "Der Kahn, der am Morgen ablegt, fährt über den See und kommt am Abend, wenn es dunkel ist, wieder zurück.",
    "one\ntwo words\nthree words here\nThis is the only line with some more words in it.",
    "港に着いたのは七時でした。 それから 私たちは 町の 中を 長い間 歩いて 宿を 探しました。",
    "T",
    "Eight words are in this line of text.",
    "Ünder the bridge the water is still, and nobody has crossed it since the spring.",
]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some texts whose answers are known, and those of the sample."""
    folder = tmp_path_factory.mktemp("texts")
    pq.write_table(pa.table({"text": TEXTS + runs.sample_texts()}), folder / "a.parquet", row_group_size=5)
    (folder / "b.jsonl").write_text("".join(json.dumps({"id": f"b{n}", "text": t}) + "\n" for n, t in enumerate(TEXTS)))
    return folder


def checked(texts: Path, slow: str, fast: str, before: tuple[str, ...] = (), **options: object) -> PortCheck:
    """``fast`` may have arguments: ``name: value`` behind it."""
    name, _, argument = fast.partition(" ")
    key, _, value = argument.partition("=")
    port = StepSpec(use=name, arguments={key: json.loads(value)} if key else {})
    steps = [StepSpec(use=use) for use in before]
    return check_port(StepSpec(use=slow), port, sources_of([str(texts)]), before=steps, **options)  # type: ignore[arg-type]


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> None:
    """examples/port can be imported."""
    monkeypatch.syspath_prepend(str(runs.ROOT / "examples" / "port"))


@pytest.mark.usefixtures("example")
def test_the_numba_form_of_the_example_is_its_slow_form(texts: Path) -> None:
    found = checked(texts, "short_lines:short_lines", "short_lines_numba:ShortLines")
    assert found.documents == 2 * len(TEXTS) + len(runs.sample_texts())
    assert (found.different, found.differences, found.kind) == (0, [], "filter")
    assert found.slow_seconds > 0 < found.fast_seconds


@pytest.mark.usefixtures("example")
@pytest.mark.parametrize("wrong", ["fewest_words=3", "fewest_words=5", "sentence_words=9"])
def test_a_threshold_that_is_off_by_one_is_caught(texts: Path, wrong: str) -> None:
    found = checked(texts, "short_lines:short_lines", f"short_lines_numba:ShortLines {wrong}")
    assert 0 < found.different < found.documents
    assert len(found.differences) == min(SHOWN, found.different)
    assert all(one.slow != one.fast and one.column == "reason" for one in found.differences)


@pytest.mark.usefixtures("example")
def test_the_example_says_what_it_says_it_does() -> None:
    from short_lines import short_lines

    prose = "This is a line with more than eight words in it."
    assert short_lines(prose) is None
    assert short_lines(f"{prose}\na b c") is None, "half of the lines"
    assert short_lines(f"{prose}\na b c\n  \n\na  b c ") == "short_lines", "blank lines don't count, words are counted"
    assert short_lines(prose.rstrip(".")) == "no_sentence"
    assert short_lines("七 八 九 十 百 千 万 億 兆。  ") is None


def test_numbers_may_be_apart_by_the_tolerance_only(texts: Path) -> None:
    slow, fast = "tests.example_steps:vowels", "tests.port_steps:Vowels"
    assert checked(texts, slow, fast, tolerance=1e-6).different == 0
    wrong = checked(texts, slow, f"{fast} more=0.001", tolerance=1e-6)
    assert wrong.different == wrong.documents
    assert wrong.differences[0].column == "vowels"
    assert checked(texts, slow, f"{fast} more=0.001", tolerance=0.01).different == 0


def test_editors_are_compared_by_their_texts(texts: Path) -> None:
    slow, fast = "tests.example_steps:without_commas", "tests.port_steps:WithoutCommas"
    assert checked(texts, slow, fast).different == 0
    found = checked(texts / "b.jsonl", slow, f"{fast} everywhere=true")
    assert found.different == sum("," in text and not text.startswith("Der") for text in TEXTS)
    first = found.differences[0]
    assert (first.column, first.source, first.row, first.id) == ("text", str(texts / "b.jsonl"), 0, "b0")
    assert (first.slow, first.fast) == (TEXTS[0], TEXTS[0].replace(",", ""))


def test_a_filter_with_one_reason_may_call_it_otherwise(texts: Path) -> None:
    found = checked(texts, "tests.example_steps:no_questions", "tests.port_steps:no_question_mark")
    assert found.different == 0
    other = checked(texts, "tests.example_steps:no_questions", "tests.port_steps:begins_with_t")
    assert {(one.slow, one.fast) for one in other.differences} <= {("kept", "dropped"), ("dropped", "kept")}
    assert other.different


def test_a_port_that_forgets_the_offset_of_a_slice_is_caught(texts: Path) -> None:
    found = checked(texts, "tests.port_steps:begins_with_t", "tests.port_steps:first_bytes")
    assert found.different
    assert {one.column for one in found.differences} == {"reason, when the batch is cut elsewhere"}


def test_a_port_that_raises_is_reported_for_each_document_and_the_others_are_compared(texts: Path) -> None:
    found = checked(texts, "tests.example_steps:no_questions", "tests.port_steps:raises_on_harbours")
    harbours = sum("harbour" in text for text in TEXTS * 2 + runs.sample_texts())
    assert found.different == harbours > 0
    assert {one.fast for one in found.differences} == {"KeyError('harbour')"}


def test_steps_before_give_their_attributes(texts: Path) -> None:
    steps = ("tests.port_steps:above_average", "tests.port_steps:AboveAverage")
    found = checked(texts, *steps, before=("tests.example_steps:vowels",))
    assert (found.different, found.documents > len(TEXTS)) == (0, True)


@pytest.mark.parametrize(
    ("slow", "fast", "named"),
    [
        ("tests.example_steps:vowels", "tests.port_steps:no_question_mark", "an annotator"),
        ("tests.example_steps:ManyReasons", "tests.port_steps:no_question_mark", "reason_0"),
        ("tests.example_steps:vowels", "text_statistics", "characters"),
    ],
)
def test_what_can_not_be_one_step_is_refused(texts: Path, slow: str, fast: str, named: str) -> None:
    with pytest.raises(NotComparable, match=named):
        checked(texts, slow, fast)


def test_a_part_is_the_same_every_time(texts: Path) -> None:
    slow, fast = "tests.example_steps:no_questions", "tests.port_steps:begins_with_t"
    some = [checked(texts, slow, fast, documents=20) for _ in range(2)]
    assert some[0].differences == some[1].differences
    assert 20 <= some[0].documents < checked(texts, slow, fast).documents


def test_the_command(texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slow = "tests.example_steps:no_questions"
    asked = ["check-port", slow, "tests.port_steps:no_question_mark", "--input", str(texts)]
    assert cli.main(asked) == 0
    assert "The two filters answer alike on all of" in capsys.readouterr().out
    assert cli.main(["check-port", slow, "tests.port_steps:begins_with_t", "--input", str(texts), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["different"] >= len(found["differences"]) > 0
    assert found["slow_mb_per_second"] > 0 < found["times_faster"]
    assert cli.main(["check-port", slow, "{use: [", "--input", str(texts)]) == 2
    assert "isn't a step as a recipe names it" in capsys.readouterr().err
    assert cli.main(["check-port", slow, "no_such", "--input", str(texts)]) == 2
    assert cli.main(["check-port", slow, slow, "--input", str(texts / "nothing")]) == 2
