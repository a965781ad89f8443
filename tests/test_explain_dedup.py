from __future__ import annotations

import math

import numpy as np
import pytest

from beam_pipeline import cli, explain_dedup
from transforms.deduplication.deduplicate import Deduplication
from transforms.kernels.deduplication.fingerprinting import estimate_similarity, s_curve, verification_curve
from transforms.kernels.deduplication.options import MinHash


@pytest.mark.parametrize(("size", "similarity"), [(16, 0.7), (64, 0.8), (256, 0.78)])
def test_the_verification_curve_is_what_the_estimate_does(size, similarity):
    random = np.random.default_rng(size)
    a = random.integers(0, 256, (20_000, size), np.uint8)
    b = np.where(random.random(a.shape) < similarity, a, random.integers(0, 256, a.shape, np.uint8))
    reached = np.mean(estimate_similarity(a, b) >= np.float32(0.8) - 1e-6)
    expected = verification_curve(MinHash(signature_size=size), 0.8, similarity)
    assert abs(reached - expected) < 5 * math.sqrt(expected * (1 - expected) / len(a))


def test_the_verification_curve_is_certain_at_its_ends():
    assert verification_curve(MinHash(), 0.8, 1.0) == 1
    assert verification_curve(MinHash(), 1.0, 1.0) == 1
    assert verification_curve(MinHash(), 0.8, 0.0) < 1e-100


def test_the_curve_is_found_times_verified():
    minhash = MinHash(bands=20, rows=5)
    for similarity, found, verified, both in explain_dedup.curve(minhash, Deduplication(min_similarity=0.6)):
        assert found == s_curve(minhash, similarity)
        assert both == found * verified


def test_the_flag_needs_nothing_but_its_settings(capsys):
    assert cli.main(["--explain-dedup", "--bands", "20", "--rows", "5", "--min_similarity", "0.7"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "20 bands of 5 rows" in shown
    assert f"{1 - (1 - 0.5**5) ** 20:.1%}" in shown


def test_wrong_settings_are_refused(capsys):
    assert cli.main(["--explain-dedup", "--bands", "0"]) == 2
    assert "bands" in capsys.readouterr().err
