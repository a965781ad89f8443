"""Statistics, editors and words against their slow references: every document, and strings over all of Unicode."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.conftest import Corpus
from tests.kernels.edits.test_lines import TEXTS, strings
from tests.kernels.statistics.test_statistics import GRAMS, LINES
from transforms.kernels.deduplication.fingerprinting import offsets_and_data
from transforms.kernels.edits import c4_lines, dclm_lines
from transforms.kernels.edits.personal_data import suspects, without_personal_data
from transforms.kernels.statistics.reference import text_statistics_reference
from transforms.kernels.statistics.repetition import REPETITION, repetition_reference
from transforms.kernels.statistics.text_statistics import STATISTICS, STOP_HASHES, count_texts, terminal_table
from transforms.kernels.statistics.words import classes, tokens, tokens_reference

STRINGS = 100_000
AT_ONCE = 20
LONGEST = 200_000  # characters; the references are slow


def hold_against_references(given_texts: pa.StringArray) -> None:
    """Raises AssertionError where a kernel differs from its reference, or an editor changes its own text again."""
    texts = given_texts.to_pylist()
    offsets, data = offsets_and_data(given_texts)
    counts = np.zeros((len(texts), len(STATISTICS)), np.uint32)
    figures = np.zeros((len(texts), len(REPETITION)), np.uint32)
    count_texts(data, offsets, classes(), terminal_table(), STOP_HASHES, counts, figures)
    kept, kept_offsets, found = c4_lines.kept_lines(data, offsets)
    of_c4 = strings(kept, kept_offsets)
    kept, kept_offsets, removed = dclm_lines.kept_lines(data, offsets)
    of_dclm = strings(kept, kept_offsets)
    signs = suspects(data, offsets)
    for place, text in enumerate(texts):
        assert dict(zip(STATISTICS, counts[place].tolist(), strict=True)) == text_statistics_reference(text)
        assert dict(zip(REPETITION, figures[place].tolist(), strict=True)) == repetition_reference(text)
        assert tokens(text) == tokens_reference(text)
        sentences, lorem, curly = found[place].tolist()
        assert c4_lines.c4_reference(text) == (of_c4[place], sentences, bool(lorem), bool(curly))
        assert c4_lines.c4_reference(of_c4[place]).text == of_c4[place]
        assert dclm_lines.dclm_reference(text) == (of_dclm[place], removed[place])
        assert dclm_lines.dclm_reference(of_dclm[place]) == (of_dclm[place], 0)
        masked, by_kind = without_personal_data(text)
        assert without_personal_data(text, signs=int(signs[place])) == (masked, by_kind)
        assert without_personal_data(masked) == (masked, dict.fromkeys(by_kind, 0))


def test_every_document(corpus: Corpus) -> None:
    documents = 0
    for texts in corpus.clean():
        short = pa.array([text[:LONGEST] for text in texts.to_pylist()])
        hold_against_references(short)
        documents += len(short)
    print(f"{documents} documents: no kernel differs from its reference, and editing twice changes nothing")


@settings(
    max_examples=STRINGS // AT_ONCE, deadline=None, database=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)  # fmt: skip
@given(st.lists(st.one_of(TEXTS, LINES, GRAMS, st.text(max_size=60)), min_size=AT_ONCE, max_size=AT_ONCE))
def test_constructed_strings(texts: list[str]) -> None:
    hold_against_references(pa.array([text.encode(errors="ignore").decode() for text in texts], pa.string()))
