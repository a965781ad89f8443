"""A run with URLs and personal data: domains are asked by, counts are stored, and no value is anywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests import runs

EMAIL, ADDRESS, IBAN, CARD = (
    "anna.schmidt@uni-koeln.de",
    "91.198.174.192",
    "DE89370400440532013000",
    "4111 1111 1111 1111",
)
RECIPE = """
- urls: {domains: LIST, soft_words: [bet, win]}
- pii: {phone: true}
- text_statistics
"""


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("urls")
    (folder / "list.txt").write_text("bad.com\n")
    (folder / "recipe.yaml").write_text(RECIPE.replace("LIST", str(folder / "list.txt")))
    rows = [
        {"text": f"Write to {EMAIL} or {EMAIL}, or look at {ADDRESS}.", "url": "https://www.good.org/1"},
        {"text": f"My account is {IBAN}, my card {CARD}.", "url": "https://www.good.org/2"},
        {"text": "Nothing is in here that anybody would want to hide.", "url": "https://blog.other.co.uk/"},
        {"text": "A page of a domain that nobody wants to read about.", "url": "http://x.bad.com/a"},
        {"text": "A page whose address has two of the unwanted words.", "url": "http://good.org/bet/win"},
        {"text": "A page that has come without an address, as some do.", "url": None},
    ]
    (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = ("--recipe", folder / "recipe.yaml", "--keep_columns", "url", "--direct_num_workers", 1)
    done = runs.run(folder / "in.jsonl", folder / "out", *flags)
    for value in (EMAIL, ADDRESS, IBAN, CARD):
        assert value not in done.stdout + done.stderr
    return folder / "out"


def test_what_became_of_a_publisher(output: Path) -> None:
    found = {
        (row["domain"], row["reason"]): row["documents"]
        for row in runs.ask("funnel", "--output", output, "--by", "domain")
    }
    assert found == {
        ("good.org", ""): 2, ("other.co.uk", ""): 1, ("bad.com", "url_domain"): 1, ("good.org", "url_soft_words"): 1,
        (None, ""): 1,
    }  # fmt: skip


def test_personal_data_is_counted_and_nowhere_stored(output: Path) -> None:
    [file] = (output / "fingerprints").glob("*.parquet")
    stored = pq.read_table(file)
    assert stored["pii.email"].to_pylist() == [2, 0, 0, None, None, 0]
    assert stored["pii.ip"].to_pylist() == [1, 0, 0, None, None, 0]
    assert stored["pii.iban"].to_pylist() == [0, 1, 0, None, None, 0]
    assert stored["pii.card"].to_pylist() == [0, 1, 0, None, None, 0]
    tokenizer = runs.reference_tokenizer()
    texts = [tokenizer.decode(row["input_ids"], skip_special_tokens=False) for row in runs.tokens(output).to_pylist()]
    assert "email@example.com or email@example.com" in texts[0]
    everything = (
        "".join(texts)
        + str(stored.to_pylist())
        + (output / "plan.json").read_text()
        + (output / "run.json").read_text()
    )
    for value in (EMAIL, ADDRESS, IBAN, CARD):
        assert value not in everything
