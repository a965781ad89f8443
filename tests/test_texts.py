"""The texts and the ids behind a finished run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from beam_pipeline import embedded_postgres
from beam_pipeline.commands import trace, why
from beam_pipeline.lineage.texts import TextGone, texts_of
from beam_pipeline.lineage.user_ids import find_by_user_id, rows_with_id
from tests import runs
from tests.test_lineage_commands import ask, call
from transforms.io.lineage import Lineage
from transforms.kernels.text.normalization import normalize_reference


@pytest.fixture
def lineage() -> Iterator[Lineage]:
    with Lineage(embedded_postgres.start()) as opened:
        yield opened


def documents(lineage: Lineage, finished: Path, condition: str) -> list[dict[str, Any]]:
    names = "run, source_uri, source_row, document, outcome, reason, witness_uri, witness_row, token_object, token_row"
    found = lineage.read(
        lambda connection: connection.execute(
            f"SELECT {names} FROM lineage WHERE run = %s AND {condition} ORDER BY document".encode(),
            (runs.manifest(finished)["run"],),
        ).fetchall()
    )
    return [dict(zip(names.split(", "), row, strict=True)) for row in found]


def text_at(uri: str, row: int) -> str | None:
    return pq.read_table(uri, columns=["text"])["text"][row].as_py()


def test_the_tokens_of_a_kept_document_decode_to_its_normalized_text(lineage: Lineage, finished: Path) -> None:
    for found in documents(lineage, finished, "outcome = 'kept'")[::150]:
        texts = texts_of(lineage, found)
        assert texts["source"] == text_at(found["source_uri"], found["source_row"])
        assert texts["decoded"] == normalize_reference(texts["source"]) + "<|endoftext|>"  # as the tokens have it
        assert texts["input_ids"] == pq.read_table(found["token_object"])["input_ids"][found["token_row"]].as_py()


def test_a_duplicate_stands_beside_what_it_was_dropped_for(lineage: Lineage, finished: Path) -> None:
    found = documents(lineage, finished, "reason = 'exact_duplicate'")[-1]
    texts = texts_of(lineage, found)
    assert set(texts) == {"source", "witness"}
    assert normalize_reference(texts["source"]) == normalize_reference(texts["witness"])
    [null] = documents(lineage, finished, "reason = 'null_text'")[:1]
    assert texts_of(lineage, null) == {"source": None}


def test_a_tokenizer_that_changed_is_named(lineage: Lineage, finished: Path, tmp_path: Path) -> None:
    plan = json.loads((finished / "plan.json").read_text())
    plan["deciding"]["tokens"]["tokenizer_sha256"] = "0" * 64
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(TextGone, match=r"tokenizer\.json is not the file .*without --text"):
        texts_of(lineage, documents(lineage, finished, "outcome = 'kept'")[0], str(tmp_path))


def test_documents_are_found_by_the_users_id(lineage: Lineage, finished: Path, corpus: Path) -> None:
    run = runs.manifest(finished)["run"]
    everything = documents(lineage, finished, "true")
    for found in [everything[0], *everything[::199], everything[-1]]:
        number, row = found["source_uri"][-len("0.parquet")], found["source_row"]
        assert find_by_user_id(lineage, run, f"{number}/{row}") == [found["document"]]
    assert find_by_user_id(lineage, run, "9/0") == []
    assert find_by_user_id(lineage, run, "'; DROP TABLE runs; --") == []


def test_ids_may_be_null_or_repeated(tmp_path: Path) -> None:
    import pyarrow as pa

    ids = pa.array(["b", None, "a", "b", None, None, None, None, "ü", "b"])
    pq.write_table(pa.table({"id": ids, "outcome": range(10)}), tmp_path / "x.parquet", row_group_size=4)
    assert rows_with_id(str(tmp_path / "x.parquet"), "b") == [0, 3, 9]
    assert rows_with_id(str(tmp_path / "x.parquet"), "ü") == [8]
    assert rows_with_id(str(tmp_path / "x.parquet"), "") == []


def test_the_commands_show_it(lineage: Lineage, finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = documents(lineage, finished, "reason = 'near_duplicate'")[0]
    user_id = f"{found['source_uri'][-len('0.parquet')]}/{found['source_row']}"
    answer = ask(trace, capsys, "--output", finished, "--user-id", user_id, "--text")
    assert answer["document"] == found["document"]
    assert answer["text"]["witness"] == text_at(found["witness_uri"], found["witness_row"])
    answer = ask(why, capsys, "--output", finished, "--user-id", user_id)
    assert answer["setting"] == {"min_similarity": 0.8}
    assert answer["witness"]["outcome"] == "kept"
    returned, out, _ = call(trace, capsys, "--output", finished, "--id", answer["witness"]["document"], "--text")
    assert returned == 0
    assert "decoded" in out
    returned, _, err = call(trace, capsys, "--output", finished, "--user-id", "nobody")
    assert returned == 1
    assert "no document that run" in err
