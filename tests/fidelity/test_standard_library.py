"""Every file of Python's standard library, and of all kinds what is installed beside it."""

from __future__ import annotations

import pytest

from tests.fidelity import files
from tests.fidelity.kinds import KINDS
from transforms.kernels.text.normalization import Normalization

MUST_SHOW = {
    # A rule, and a kind of file that it must be seen to harm: else the comparison sees nothing.
    "nfc": (Normalization(nfc=True), "Python"),
    "max_blanks": (Normalization(max_blanks=2), "Python"),
    "max_blank_lines": (Normalization(max_blank_lines=1), "Python"),
}


def test_the_standard_library_compiles_to_the_same() -> None:
    paths = [path for path in files.find("Python", [files.STANDARD_LIBRARY]) if "site-packages" not in path.parts]
    tally = files.compare("Python", paths)
    assert tally.different == []
    assert tally.files > 500


@pytest.mark.parametrize("kind", KINDS)
def test_installed_files_mean_the_same(kind: str) -> None:
    tally = files.compare(kind, files.find(kind, [files.SITE_PACKAGES])[:1000])
    assert tally.different == []


@pytest.mark.parametrize("rule", MUST_SHOW)
def test_the_comparison_sees_harm(rule: str) -> None:
    options, kind = MUST_SHOW[rule]
    paths = files.find(kind, [files.STANDARD_LIBRARY / "test"]) or files.find(kind, [files.STANDARD_LIBRARY])
    tally = files.compare(kind, paths[:250] if rule != "nfc" else paths, options)
    assert tally.different
