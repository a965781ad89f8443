"""What import-linter can't see of the floors: who sends SQL, and where names of stored objects stand."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = ("schemas", "transforms", "beam_pipeline", "runners")


def sources(*floors: str) -> list[Path]:
    return [path for floor in floors for path in sorted((ROOT / floor).rglob("*.py"))]


def test_only_the_lineage_package_and_transforms_io_send_sql() -> None:
    sends = re.compile(r"\bexecute\(\s*(?:[frb]*[\"']|SQL|exact|ending)")
    found = {path.relative_to(ROOT) for path in sources(*FLOORS) if sends.search(path.read_text())}
    assert found
    assert {path.parts[:2] for path in found} <= {("beam_pipeline", "lineage"), ("transforms", "io")}


@pytest.mark.parametrize(
    "name", ["run.json", "dedup.json", "counts.json", "sources.parquet", "deduplication_audit.parquet"]
)
def test_the_name_of_an_object_stands_in_code_once(name: str) -> None:
    written = re.compile(rf"[\"'/]{re.escape(name)}[\"']")
    assert [path.relative_to(ROOT).as_posix() for path in sources(*FLOORS) if written.search(path.read_text())] == [
        "schemas/run_layout.py"
    ]


def test_footer_keys_stand_in_code_once() -> None:
    written = re.compile(r"b[\"']beam_pipeline\.(settings|etag|error|census|sources|first_row)\b")
    assert [path.relative_to(ROOT).as_posix() for path in sources(*FLOORS) if written.search(path.read_text())] == [
        "schemas/run_layout.py"
    ]
