"""The example in Rust, built by ``make port-example``, beside its other two forms; prints their speeds."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from beam_pipeline.planned_sources import sources_of
from beam_pipeline.port_check import PortCheck, check_port
from tests import runs
from transforms.recipe.spec import StepSpec

FORMS = {"numba": "short_lines_numba:ShortLines", "Rust": "short_lines_rust:ShortLines"}


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """CORPUS, or generated text."""
    if os.environ.get("CORPUS"):
        return os.environ["CORPUS"].split()
    folder = tmp_path_factory.mktemp("texts")
    runs.write_corpus(folder, files=2, documents=5000)
    return [str(folder)]


def checked(texts: list[str], form: str, **arguments: int) -> PortCheck:
    sys.path.insert(0, str(Path(runs.ROOT, "examples", "port")))
    port = StepSpec(use=FORMS[form], arguments=arguments)
    return check_port(StepSpec(use="short_lines:short_lines"), port, sources_of(texts))


@pytest.mark.parametrize("form", FORMS)
def test_the_forms_are_equal(texts: list[str], form: str) -> None:
    found = checked(texts, form)
    speeds = found.as_json()
    print(f"\n{found.documents:,} documents, {found.text_bytes / 1e6:.1f} MB of text", end=": ")
    print(f"Python {speeds['slow_mb_per_second']:.0f} MB/s, {form} {speeds['fast_mb_per_second']:.0f} MB/s", end=", ")
    print(f"{found.times_faster:.1f} times as fast")
    assert found.documents > 5000
    assert found.different == 0, found.differences


@pytest.mark.parametrize("form", FORMS)
def test_a_wrong_threshold_is_caught(texts: list[str], form: str) -> None:
    assert checked(texts, form, fewest_words=5).different or checked(texts, form, sentence_words=9).different
