from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.conftest import Corpus
from tests.kernels.test_normalization import OPTIONS, TEXTS
from transforms.kernels.text.normalization import DEFAULT, EVERYTHING, Normalization, normalize, normalize_reference

STRINGS = 100_000
AT_ONCE = 20


@pytest.mark.parametrize("options", [DEFAULT, EVERYTHING], ids=["default", "everything"])
def test_every_document(corpus: Corpus, options: Normalization) -> None:
    documents = changed = 0
    for texts in corpus.raw():
        normalized = normalize(texts, options)
        strings = normalized.to_pylist()
        raw = texts.to_pylist()
        assert strings == [normalize_reference(text, options) for text in raw]
        assert normalize(normalized, options).equals(normalized)
        documents += len(raw)
        changed += sum(before != after for before, after in zip(raw, strings, strict=True))
    print(f"{documents} documents: none differs from the reference, {changed} were changed, none when repeated")


@settings(
    max_examples=STRINGS // AT_ONCE, deadline=None, database=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(st.lists(TEXTS, min_size=AT_ONCE, max_size=AT_ONCE), OPTIONS)
def test_constructed_strings(texts: list[str], options: Normalization) -> None:
    normalized = normalize(pa.array(texts, pa.string()), options)
    assert normalized.to_pylist() == [normalize_reference(text, options) for text in texts]
    assert normalize(normalized, options).equals(normalized)
