"""Steps of a recipe: how they are named and loaded, and what becomes of their answers."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pydantic
import pytest
import yaml

from schemas.outcomes import EMPTY_TEXT, Outcomes
from transforms.recipe.built_in import Rule
from transforms.recipe.per_document import per_document
from transforms.recipe.spec import StepSpec, load
from transforms.recipe.steps import Step, StepFailed, apply_step

OUTCOMES = Outcomes.with_filters(["bad", "worse", "short", "trim_left_nothing", "too_loud", "too_quiet"])


def documents() -> pa.RecordBatch:
    """Four documents, the second not active."""
    return pa.record_batch(
        {
            "text": pa.array(["one", None, "three", "four"]),
            "outcome": pa.array([None, EMPTY_TEXT, None, None], pa.uint8()),
            "language": pa.array(["en", None, "de", "en"]).dictionary_encode(),
            "language_score": pa.array([0.9, None, 0.4, 0.2], pa.float32()),
            "metadata.source": pa.array(["a", "b", "c", "d"]),
        }
    )


class Answers:
    """A step that gives a prepared answer and remembers what it was shown."""

    def __init__(self, answer: Any, **declared: Any) -> None:
        self.answer, self.shown = answer, []
        self.__dict__ |= declared

    def __call__(self, shown: pa.RecordBatch) -> Any:
        assert not {"outcome", "row", "already_normalized", "text_bytes"} & {*shown.schema.names}
        self.shown.append(shown["text"].to_pylist())
        return self.answer


def outcome(reason: str) -> int:
    return OUTCOMES.code(reason)


@pytest.mark.parametrize(
    "answer",
    [pa.array([True, False, None]), np.array([True, False, True]), pa.array([None, "bad", None]), [None, "bad", None],
     pa.chunked_array([[None], ["bad", None]], pa.string()), pa.array([None, "bad", None]).dictionary_encode()],
)  # fmt: skip
def test_a_filter_sets_the_outcome_and_takes_the_text(answer: Any) -> None:
    function = Answers(answer, reasons=("bad", "worse"))
    result = apply_step(documents(), Step.of(function, "judge"), OUTCOMES)
    assert function.shown == [["one", "three", "four"]]
    assert result["text"].to_pylist() == ["one", None, None, "four"]
    assert result["outcome"].to_pylist() == [None, EMPTY_TEXT, outcome("bad"), None]


def test_an_annotator_adds_columns_and_drops_nothing() -> None:
    answer = {"words": [1, 2, 3], "share": np.array([0.5, 0.25, 1.0])}
    function = Answers(answer, columns={"words": pa.uint16(), "share": pa.float32()})
    result = apply_step(documents(), Step.of(function, "count"), OUTCOMES)
    assert result["words"].to_pylist() == [1, None, 2, 3]
    assert result["share"].to_pylist() == [0.5, None, 0.25, 1.0]
    assert result["words"].type == pa.uint16()
    assert result["text"].to_pylist() == documents()["text"].to_pylist()
    named = Step.of(function, "n", named=True)
    assert list(named.columns) == ["n.words", "n.share"]
    assert apply_step(documents(), named, OUTCOMES)["n.share"].to_pylist() == [0.5, None, 0.25, 1.0]
    one = Step.of(Answers({"score": [1, 2, 3]}, columns={"score": pa.float32()}), "edu", named=True)
    assert apply_step(documents(), one, OUTCOMES)["edu"].to_pylist() == [1, None, 2, 3]


def test_an_editor_changes_texts_and_what_is_left_empty_goes() -> None:
    function = Answers(["o", "three!", ""], edits=True)
    result = apply_step(documents(), Step.of(function, "trim"), OUTCOMES)
    assert result["text"].to_pylist() == ["o", None, "three!", None]
    assert result["outcome"].to_pylist() == [None, EMPTY_TEXT, None, outcome("trim_left_nothing")]
    assert result["trim.removed"].to_pylist() == [2, None, 0, 4]
    assert result["trim.added"].to_pylist() == [0, None, 1, 0]
    assert result["trim.replaced"].to_pylist() == [0, None, 0, 0]


def test_what_is_dropped_is_annotated_on_request() -> None:
    judge = Step.of(Answers([None, "bad", None], reasons=("bad",)), "judge")
    dropped = apply_step(documents(), judge, OUTCOMES, annotate_all=True)
    assert dropped["text"].to_pylist() == ["one", None, "three", "four"]
    shown = Answers({"n": [1, 2, 3]}, columns={"n": pa.int8()})
    annotated = apply_step(dropped, Step.of(shown, "count"), OUTCOMES, annotate_all=True)
    assert shown.shown == [["one", "three", "four"]]
    again = Answers([True, True], reasons=("worse",))
    apply_step(annotated, Step.of(again, "again"), OUTCOMES, annotate_all=True)
    assert again.shown == [["one", "four"]]


def test_nothing_is_asked_when_nothing_is_in_play() -> None:
    gone = documents().slice(1, 1)
    function = Answers(None, columns={"n": pa.int8()})
    assert apply_step(gone, Step.of(function, "count"), OUTCOMES)["n"].to_pylist() == [None]
    assert function.shown == []


@pytest.mark.parametrize(
    ("answer", "declared", "message"),
    [
        (pa.array([True]), {"reasons": ("bad",)}, "shown 3 documents .* returned 1"),
        (None, {"reasons": ("bad",)}, "returned NoneType$"),
        (True, {"reasons": ("bad",)}, r"returned bool; a function .* `def f\(text: str\) -> bool`"),
        (pa.array([1, 2, 3]), {"reasons": ("bad",)}, "Booleans .* not int64"),
        (
            pa.array(["odd", None, None]),
            {"reasons": ("bad",)},
            "'odd', which its `reasons` don't declare; they are bad",
        ),
        ({"m": [1, 2, 3]}, {"columns": {"n": pa.int8()}}, "exactly the columns"),
        ({"n": [1, 2]}, {"columns": {"n": pa.int8()}}, "returned 2"),
        ({"n": [1, 2, 300]}, {"columns": {"n": pa.int8()}}, "isn't int8"),
        ({"n": ["x", "y", "z"]}, {"columns": {"n": pa.float32()}}, "isn't float"),
        ([1.0, 2.0, 3.0], {"columns": {"n": pa.float32()}}, "mapping"),
        ([1, 2, 3], {"edits": True}, "must return strings"),
        (["x"], {"edits": True}, "one text a document, but returned 1"),
    ],
)
def test_wrong_answers_are_refused(answer: Any, declared: dict[str, Any], message: str) -> None:
    with pytest.raises(StepFailed, match=message):
        apply_step(documents(), Step.of(Answers(answer, **declared), "trim"), OUTCOMES)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    found = types.ModuleType("researcher")

    def short(text: str) -> bool:
        return len(text) > 3

    def loud(text: str, language: str, metadata_source: str = "") -> Literal["too_loud", "too_quiet"] | None:
        return "too_loud" if language == "de" else "too_quiet" if metadata_source == "d" else None

    def letters(text: str) -> float:
        return float(len(text))

    def trim(text: str) -> str:
        return text.removesuffix("ree").replace("four", "")

    def of_batch(documents: pa.RecordBatch) -> pa.Array:
        return pa.array([True] * len(documents))

    for function in (short, loud, letters, trim, of_batch):
        setattr(found, function.__name__, function)
    monkeypatch.setitem(sys.modules, "researcher", found)
    return found


def test_functions_on_a_text(module: types.ModuleType) -> None:
    recipe = yaml.safe_load(
        """
        - {use: "researcher:letters", name: size}
        - researcher:trim
        - researcher:loud
        - researcher:short
        - rule: {reason: worse, keep: "size > 3 or language == 'en'"}
        - researcher:of_batch
        """
    )
    steps = load([StepSpec.model_validate(step) for step in recipe], ["metadata.source"])
    assert [(step.label, step.kind, step.per_document) for step in steps] == [
        ("size", "annotator", True), ("trim", "editor", True), ("loud", "filter", True), ("short", "filter", True),
        ("worse", "filter", False), ("of_batch", "filter", False),
    ]  # fmt: skip
    data = documents()
    for step in steps:
        data = apply_step(data, step, OUTCOMES)
    assert data["size"].to_pylist() == [3, None, 5, 4]
    assert data["outcome"].to_pylist() == [
        outcome("short"), EMPTY_TEXT, outcome("too_loud"), outcome("trim_left_nothing")
    ]  # fmt: skip


def test_the_decorator_says_what_an_annotation_does_not() -> None:
    @per_document(reasons=["bad"])
    def judge(text: str) -> str | None:
        return ["bad"][0] if "x" in text else None

    @per_document(kind="annotator", type=pa.string())
    def first(text: str) -> str:
        return text[:1]

    def computed(text: str) -> str | None:
        return text

    assert Step.of(judge, "judge").reasons == ("bad",)
    assert judge("x") == "bad"
    assert apply_step(documents(), Step.of(first, "first"), OUTCOMES)["first"].to_pylist() == ["o", None, "t", "f"]
    with pytest.raises(ValueError, match="say which reasons"):
        per_document(computed)
    with pytest.raises(ValueError, match="what it returns says what it is"):
        per_document(lambda text: text)


def test_an_answer_of_another_type_is_named_and_numpy_booleans_are_booleans() -> None:
    def length(text: str) -> bool:
        return len(text)  # type: ignore[return-value]

    def score(text: str) -> float:
        return text  # type: ignore[return-value]

    def is_long(text: str) -> bool:
        return np.float64(len(text)) > 3  # type: ignore[return-value]

    batch = pa.RecordBatch.from_pydict({"text": ["four", "two"]})
    with pytest.raises(TypeError, match=r"it returned 4 \(int\) where True, False or a reason is expected"):
        per_document(length)(batch)
    with pytest.raises(TypeError, match=r"it returned 'four' \(str\) where float is expected"):
        per_document(score)(batch)
    assert per_document(is_long)(batch).to_pylist() == [True, False]


def test_an_argument_without_a_column_is_named() -> None:
    @per_document
    def of_url(text: str, url: str) -> bool:
        return bool(url)

    with pytest.raises(ValueError, match="argument 'url', but there is no such column"):
        apply_step(documents(), Step.of(of_url, "of_url"), OUTCOMES)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("lenght", "did you mean length"),
        ("nothing:here", "can't be imported .* PYTHONPATH"),
        ("researcher:shord", "can't be imported .*; did you mean short?"),
        ("researcher:__name__.uper", "can't be imported .*; did you mean upper?"),
        ({"languages": {"min_scores": {"de": 5}}}, "min_scores: must be 0 to 1, not 5 for 'de'"),
        ({"length": {"minimun": 3}}, "doesn't take"),
        ({"rule": {"keep": "a ="}}, "isn't an expression"),
        ({"use": "researcher:short", "word": 1}, "takes no arguments"),
    ],
)
def test_what_cannot_be_loaded(given: Any, message: str, module: types.ModuleType) -> None:
    with pytest.raises(ValueError, match=message):
        StepSpec.model_validate(given).load()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def broken(text: str) -> bool\n    return True\n", r"SyntaxError: expected ':' \(mistaken.py, line 1\)"),
        ("\nbroken = nobody\n", r"NameError: name 'nobody' is not defined \(mistaken.py, line 2\)"),
    ],
)
def test_a_module_with_a_mistake_is_named_with_its_line(
    code: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mistaken.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=f"recipe: mistaken:broken can't be imported: {message}"):
        StepSpec.model_validate("mistaken:broken").load()
    assert "mistaken" not in sys.modules


def test_what_is_no_step() -> None:
    with pytest.raises(pydantic.ValidationError, match="a name or"):
        StepSpec.model_validate({"a": {}, "b": {}})
    with pytest.raises(ValueError, match="declares columns and reasons"):
        Step.of(Answers(None, columns={"n": pa.int8()}, reasons=("bad",)), "both")
    with pytest.raises(ValueError, match="can't be called 'text'"):
        Step.of(Answers(None, columns={"text": pa.string()}), "text")


def test_steps_are_held_against_each_other(module: types.ModuleType) -> None:
    twice = [StepSpec(use="researcher:short"), StepSpec(use="researcher:short")]
    with pytest.raises(ValueError, match="two steps are called short"):
        load(twice)
    with pytest.raises(ValueError, match="reason 'worse' of b is already that of a"):
        load([StepSpec(use="rule", name=name, arguments={"keep": "True", "reason": "worse"}) for name in "ab"])
    with pytest.raises(ValueError, match="column 'size' of size is already that of the pipeline or keep_columns"):
        load([StepSpec(use="researcher:letters", name="size")], ["size"])


def test_a_rule_drops_what_is_null() -> None:
    data = pa.record_batch({"text": ["a", "b"], "outcome": pa.nulls(2, pa.uint8()), "edu": pa.array([None, 0.9])})
    step = Step.of(Rule("edu > 0.5", "worse"), "rule")
    assert apply_step(data, step, OUTCOMES)["outcome"].to_pylist() == [outcome("worse"), None]
