"""Expressions of rules: what they compute, what they refuse, and that nothing else can be done with them."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.recipe.expressions import Expression, ExpressionError

DATA = pa.record_batch(
    {
        "edu": pa.array([0.1, 0.35, 0.9, None], pa.float32()),
        "half": pa.array(np.array([0.1, 0.35, 0.9, 1.0], np.float16)),
        "words": pa.array([10, 100, 200, 255], pa.uint8()),
        "language": pa.array(["en", "de", None, "fr"]).dictionary_encode(),
        "metadata.source": pa.array(["web", "book", "web", ""], pa.large_string()),
        "good": pa.array([True, False, None, True]),
    }
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("edu >= 0.35", [False, True, True, None]),
        ("half >= 0.35", [False, True, True, True]),
        ("0.35 <= edu", [False, True, True, None]),
        ("edu >= 0.35 or language != 'en'", [False, True, True, True]),
        ("edu >= 0.35 and language != 'en'", [False, True, None, None]),
        ("not good", [False, True, None, False]),
        ("50 <= words <= 200", [False, True, True, False]),
        ("words + words > 255", [False, False, True, True]),  # uint8 would wrap
        ("words / 3 > 33", [False, True, True, True]),
        ("-words < -100", [False, False, True, True]),
        ("1 / (words - 10) > 1", [True, False, False, False]),  # infinity
        ("language in ['de', 'fr']", [False, True, None, True]),
        ("language not in ['de', 'fr']", [True, False, None, False]),
        ("words in [10, 255]", [True, False, False, True]),
        ("language in []", [False, False, None, False]),
        ("edu is None", [False, False, False, True]),
        ("edu is not None and good", [True, False, None, False]),
        ("edu >= (0.05 if language == 'en' else 0.5)", [True, False, None, None]),
        ("starts_with(metadata.source, 'w')", [True, False, True, False]),
        ("length(metadata.source) == 4", [False, True, False, False]),
        ("coalesce(edu, 1.0) > 0.5", [False, False, True, True]),
        ("max(edu, words / 255) > 0.5", [False, False, True, True]),
        ("lower(language) == 'de'", [False, True, None, False]),
        ("True", [True] * 4),
        ("good == None", [None] * 4),
    ],
)
def test_what_is_computed(text: str, wanted: list[bool | None]) -> None:
    assert Expression.parse(text).evaluate(DATA).to_pylist() == wanted
    assert Expression.parse(text).evaluate(pa.Table.from_batches([DATA] * 2)).to_pylist() == wanted * 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("edu >=", "isn't an expression"),
        ("", "isn't an expression"),
        ("edu = 1", "isn't an expression"),
        ("ed >= 1", "did you mean 'edu'"),
        ("meta.source == 'x'", "there is no column 'meta.source'"),
        ("language > 3", "don't go together"),
        ("edu and good", "a condition is wanted here, but this is float"),
        ("language + 1 > 0", "a number is wanted here, but this is string"),
        ("words in ['a', 1]", "either strings or numbers"),
        ("words in words", "needs a list of constants"),
        ("words is 3", "compare with None only"),
        ("__import__('os')", "there is no function"),
        ("edu.__class__.__bases__[0]", "isn't allowed"),
        ("(lambda: 1)()", "isn't allowed"),
        ("[x for x in (1,)]", "isn't allowed"),
        ("good := True", "isn't an expression"),
        ("(good := True)", "write == to compare"),
        ("length(language, 1) > 0", "takes 1 arguments, not 2"),
        ("f'{edu}' == ''", "isn't allowed"),
        ("words ** 9 > 1", "isn't allowed"),
        ("(" * 300 + "1" + ")" * 300, "isn't an expression"),
        ("not " * 150 + "good", "nested"),
        ("words > " + "1" * 10_000, "at most"),
        ("words > 99999999999999999999", "don't go together"),
    ],
)
def test_what_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message.replace("(", r"\(")):
        Expression.parse(text).check_condition(DATA.schema)


def test_the_caret_stands_below_the_fault() -> None:
    with pytest.raises(ExpressionError) as caught:
        Expression.parse("good and wordz > 3").check_condition(DATA.schema)
    first, line, caret = str(caught.value).split("\n")
    assert line[caret.index("^") :].startswith("wordz")
    assert "metadata.source" in first


def test_what_isnt_a_condition_is_refused() -> None:
    with pytest.raises(ExpressionError, match="not a Boolean"):
        Expression.parse("words + 1").check_condition(DATA.schema)


NUMBERS = st.one_of(st.none(), st.floats(-1e6, 1e6, width=32), st.just(math.nan))


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=20), st.floats(-1e6, 1e6, width=32))
def test_like_python_with_nulls_as_in_sql(rows: list[tuple[float | None, float | None]], bound: float) -> None:
    data = pa.record_batch({"a": pa.array([a for a, _ in rows], pa.float32()), "b": pa.array([b for _, b in rows])})
    found = Expression.parse(f"a >= {bound!r} and not b < a").evaluate(data.cast(
        pa.schema([("a", pa.float32()), ("b", pa.float64())])
    )).to_pylist()  # fmt: skip
    for (a, b), value in zip(rows, found, strict=True):
        left = None if a is None else a >= bound
        right = None if a is None or b is None else not b < a
        wanted = False if left is False or right is False else None if left is None or right is None else True
        assert value is wanted
