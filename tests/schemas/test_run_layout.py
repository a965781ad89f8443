"""The stored plan survives being written and read, and what is no plan is refused."""

import pytest

from schemas.run_layout import OWN_NAMES, Deciding, RunLayout, StoredPlan

PLAN = StoredPlan(
    run="5e1f",
    created="2026-11-26T00:00:00+00:00",
    code_version="1",
    settings={"input": ["/in"], "rows": 8},
    deciding=Deciding({"format": 4, "rows": 8}, {"sources_sha256": "ab", "tokenizer_sha256": "cd"}),
    outcomes={"k": ["kept", ""]},
    lineage_dsn="",
)


def test_a_plan_is_read_as_it_was_written() -> None:
    assert StoredPlan.decode(PLAN.encode()) == PLAN


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'{"run": "5e1f"}', PLAN.encode()[:-20]])
def test_what_is_no_plan_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        StoredPlan.decode(data)


def test_hashes_are_of_what_decides_each_pass() -> None:
    other = Deciding(PLAN.deciding.fingerprints, {"sources_sha256": "ab", "tokenizer_sha256": "other"})
    assert other.fingerprints_hash == PLAN.deciding.fingerprints_hash
    assert other.settings_hash != PLAN.deciding.settings_hash


@pytest.mark.parametrize("output", ["/out", "/out/", "s3://bucket/prefix", "s3://bucket/prefix/"])
def test_everything_is_directly_below_the_output_by_an_own_name(output: str) -> None:
    layout = RunLayout(output)
    names = [name for name, value in vars(RunLayout).items() if isinstance(value, property)]
    found = {getattr(layout, name) for name in names}
    of_extractions_and_texts = {"text", "rest"}  # which have no property of their own
    assert {uri.rpartition("/")[2] for uri in found} == OWN_NAMES - of_extractions_and_texts
    assert {uri.rpartition("/")[0] for uri in found} == {output.rstrip("/")}
